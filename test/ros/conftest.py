"""Fixtures of the tests that run the node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.ros.fastdds import profile_environment

if TYPE_CHECKING:
    from node_runner import RemoteNode
    from rig import Rig

os.environ.update(profile_environment(os.environ))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints with random weights: head and encoder together, the same for one focal length, a wrong one, and
    two heads without encoder: DepthCLIP for the same encoder (``words``) and for another one (``strange_words``)."""
    torch.set_num_threads(1)  # networks this small wait for each other's threads longer than they compute
    folder = tmp_path_factory.mktemp("weights")
    metadata = CheckpointMetadata(method="space_clip", encoder=TINY)
    paths = {name: str(folder / f"{name}.safetensors") for name in ("plain", "canonical", "stranger")}
    save_checkpoint(Path(paths["plain"]), metadata, tiny_head(), tiny_encoder())
    save_checkpoint(Path(paths["canonical"]), replace(metadata, canonical_focal_px=100.0), tiny_head(), tiny_encoder())
    stranger = replace(metadata, encoder_identity=tiny_encoder(seed=9).identity())
    save_checkpoint(Path(paths["stranger"]), stranger, tiny_head())
    config = DepthClipConfig.for_encoder(tiny_encoder())
    head = DepthClipHead.from_prompts(config, torch.randn(7, 24, generator=torch.Generator().manual_seed(2)))
    for name, seed in (("words", 0), ("strange_words", 9)):
        paths[name] = str(folder / f"{name}.safetensors")
        known = replace(metadata, encoder_identity=tiny_encoder(seed).identity())
        save_checkpoint(Path(paths[name]), known, head)
    return paths


@pytest.fixture
def process_domain_id(ros_domain_id: int) -> int:
    """A DDS domain for one node process at a time, that hears no node of this process."""
    return 1 + (ros_domain_id + 24) % 100


@pytest.fixture(scope="session")
def node_process(ros_domain_id: int, weights: dict[str, str], tmp_path_factory: Any) -> Iterator[RemoteNode]:
    """An active depth node in a process of its own, and a peer to talk to it; in a domain of their own."""
    from node_runner import running_node

    log = tmp_path_factory.mktemp("node") / "log.txt"
    domain_id = 1 + (ros_domain_id + 49) % 100
    with running_node(domain_id, log, weights=f"[{weights['plain']}]", device="cpu") as remote:
        yield remote


@pytest.fixture
def remote(node_process: RemoteNode) -> RemoteNode:
    """The active depth node's peer, that has heard nothing yet."""
    node_process.forget()
    return node_process


@pytest.fixture
def make_rig(ros_context: Any, weights: dict[str, str]) -> Iterator[Callable[..., Rig]]:
    """Starts depth nodes (parameters with ``__`` for a dot) that are stopped after the test."""
    from rig import Rig

    rigs: list[Rig] = []

    def make(**parameters: Any) -> Rig:
        rigs.append(Rig(ros_context, weights[parameters.pop("network", "plain")], **parameters))
        return rigs[-1]

    yield make
    while rigs:
        rigs.pop().close()
