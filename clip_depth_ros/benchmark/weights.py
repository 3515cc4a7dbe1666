"""The networks that are measured: one's own weights, the demo's, random ones at full size, or tiny ones."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch import nn

from clip_depth_ros.benchmark.reference import PlainNetwork
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.depth.loading import load_network
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve

_METHOD = "space_clip"
_TINY = EncoderConfig(
    name="tiny",
    vision={"image_size": 64, "patch_size": 16, "width": 32, "layers": 12, "head_width": 16},
    embed_dim=24,
    activation="quick_gelu",
)
_MEAN, _DEVIATION = 2.0, 0.5  # metres
_UNCLIPPED = 100.0  # metres at which the last ReLU takes nothing away
_TINY_HEAD = SpaceClipConfig(width=32, channels=(16, 12, 8, 8), film_hidden=16)


@dataclass(frozen=True)
class Weights:
    """An encoder and heads in fp32 on the CPU, of which every way to run them gets copies.

    Attributes:
        name: what they are, for people.
        encoder: the encoder.
        heads: the heads by name, the main one first.
        input_size: (height, width) pixels of the encoder's input.
        normalisation: see :class:`EstimatorConfig`.
    """

    name: str
    encoder: SharedEncoder
    heads: dict[str, DepthHead]
    input_size: tuple[int, int]
    normalisation: str = ""

    @property
    def main(self) -> str:
        """The main head's name."""
        return next(iter(self.heads))

    @property
    def normalised(self) -> EncoderConfig:
        """The encoder's configuration with the mean and deviation of the input."""
        return self.encoder.config.normalised(self.normalisation)

    def copies(self) -> tuple[SharedEncoder, dict[str, DepthHead]]:
        """Returns an encoder and heads of the same weights, to be changed at will."""
        return copy.deepcopy(self.encoder), copy.deepcopy(self.heads)

    def reference(self, device: torch.device) -> PlainNetwork:
        """Returns the main head behind transformers' encoder, plain and in fp32.

        Raises:
            BadInput: they cannot be written so.
        """
        return PlainNetwork(self.encoder, self.heads[self.main], self.normalised, self.input_size).to(device)

    def only_main(self) -> Weights:
        """Returns the weights without the other heads."""
        return replace(self, heads={self.main: self.heads[self.main]})


def load_weights(arguments: argparse.Namespace) -> Weights:
    """Returns what ``--tiny``, ``--model`` or ``--config`` asks for.

    Raises:
        BadInput: no such model, or a file that cannot be used.
    """
    if arguments.tiny:
        encoder, head = tiny_network()
        return Weights("a tiny network", encoder, {_METHOD: head}, _TINY.image_size)
    if arguments.config and not arguments.model:
        config = EstimatorConfig.from_yaml(arguments.config)
        network = load_network(config)
        own = network.encoder.config.image_size
        size = config.encoder_input_size if any(config.encoder_input_size) else own
        encoder = network.encoder.float()
        heads = {name: head.float().eval() for name, head in network.heads.items()}
        name = f"{encoder.config.name} with {', '.join(heads)} ({arguments.config})"
        return Weights(name, encoder, heads, (size[0], size[1]), config.encoder_normalisation)
    torch.manual_seed(0)
    encoder = SharedEncoder.from_open_clip(arguments.model)
    name = f"{arguments.model} with {_METHOD}, random weights"
    return Weights(name, encoder, {_METHOD: _random_head(encoder)}, encoder.config.image_size)


def tiny_network() -> tuple[SharedEncoder, SpaceClipHead]:
    """Returns a CLIP ViT of 12 blocks, 32 wide, for 64x64 pixels, and a small decoder, with random weights."""
    torch.manual_seed(0)
    encoder = SharedEncoder(_TINY)
    return encoder, varied(SpaceClipHead(_TINY_HEAD), encoder)


def _random_head(encoder: SharedEncoder) -> SpaceClipHead:
    if encoder.depth % 12:
        raise BadInput(
            f"--model {encoder.config.name} has {encoder.depth} blocks: SPACE-CLIP reads encoders of 12, 24 or so."
        )
    step = encoder.depth // 12  # on deeper towers the same fractions of the depth are read
    config = SpaceClipConfig(
        width=encoder.width,
        semantic_layers=(12 * step, 9 * step, 6 * step, 3 * step),
        structural_layers=(2 * step, step, 0),
    )
    return varied(SpaceClipHead(config), encoder)


@torch.no_grad()
def varied(head: SpaceClipHead, encoder: SharedEncoder) -> SpaceClipHead:
    """Returns the head with random batch norms and a last layer that gives 2 m on average, with a deviation of 0.5 m.

    A fresh one gives 0 m everywhere, and where depth hardly varies an error relative to it says nothing.
    """
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, values in module.state_dict().items():
                if values.is_floating_point():
                    nn.init.uniform_(values, *((0.5, 1.5) if name in ("weight", "running_var") else (-0.3, 0.3)))
    head.requires_grad_(False).eval()
    last = head.depth_head[-2]
    weight, bias = last.get_parameter("weight"), last.get_parameter("bias")
    bias.fill_(_UNCLIPPED)
    side = encoder.config.image_size
    pixels = Preprocess(encoder.config)(torch.from_numpy(picture(side))[None])
    found = head(encoder(pixels, head.layers, pooled=head.needs_pooled), side).depth
    scale = _DEVIATION / float(found.std())
    weight.mul_(scale)
    bias.fill_(_MEAN - scale * (float(found.mean()) - _UNCLIPPED))
    return head


@contextmanager
def node_config(arguments: argparse.Namespace) -> Iterator[Path]:
    """Yields the parameter file of the node: that of ``--config``, or with ``--tiny`` one of a network made for it.

    Raises:
        BadInput: the file is not there.
    """
    if not arguments.tiny:
        path = resolve(arguments.config)
        if not path.is_file():
            raise BadInput(f"{path} does not exist: give a ROS parameter file with --config.")
        yield path
        return
    with TemporaryDirectory() as name:
        encoder, head = tiny_network()
        weights = Path(name) / "tiny.safetensors"
        save_checkpoint(weights, CheckpointMetadata(_METHOD, _TINY), head, encoder)
        path = Path(name) / "tiny.yaml"
        path.write_text(f'/**:\n  ros__parameters:\n    weights: ["{weights}"]\n    heads: ["{_METHOD}"]\n')
        yield path


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Returns a smooth random picture with some noise, uint8 RGB ``(H, W, 3)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 8, 3)).astype(np.float32) * 255
    smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
