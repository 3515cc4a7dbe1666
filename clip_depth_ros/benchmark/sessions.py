"""The node under test as a process of its own, with a client beside it that measures."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clip_depth_ros.benchmark.weights import node_config
from clip_depth_ros.depth.loading import pick_device
from clip_depth_ros.replay.node_command import node_command, node_environment, own_domain_id, signals_as_exceptions
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.sizes import parse_size

if TYPE_CHECKING:
    from clip_depth_ros.benchmark.client import Client


@contextmanager
def node_session(
    arguments: argparse.Namespace, cameras: Sequence[str], topics: Sequence[str]
) -> Iterator[tuple[NodeProcess, Client, float]]:
    """Starts a node and a client in a DDS domain of their own, and ends both.

    Args:
        arguments: the options of a part that runs the node.
        cameras: names of the cameras, one empty name for a camera without.
        topics: what the client subscribes to.

    Yields:
        The node, the client, and when the node was started (``time.monotonic`` seconds).

    Raises:
        BadInput: the configuration or the device is not there.
    """
    pick_device(arguments.device)  # before the node fails on it
    domain_id = own_domain_id()
    environment = with_threads(node_environment(os.environ, domain_id), arguments.threads)
    os.environ.update(node_environment(os.environ, domain_id))  # Fast DDS reads it, before the first context

    from clip_depth_ros.benchmark.client import Client

    with node_config(arguments) as config, TemporaryDirectory() as folder, signals_as_exceptions():
        command = node_command(config, "" if arguments.device == "auto" else arguments.device)
        names = ", ".join(f"'{name}'" for name in cameras)
        for parameter in (f"cameras:=[{names}]", "image_transport:=raw", *arguments.parameter):
            command += ["-p", parameter]
        process = NodeProcess(command, environment, Path(folder) / "node.log")
        with Client(cameras, parse_size(arguments.size, "--size"), topics, domain_id) as client:
            started = time.monotonic()
            with process:
                yield process, client, started


def with_threads(environment: dict[str, str], threads: int | None) -> dict[str, str]:
    """Returns the environment of a process that is to use so many CPU threads; None leaves that to PyTorch."""
    return environment if threads is None else {**environment, "OMP_NUM_THREADS": str(threads)}


def say(error: Exception) -> None:
    """Prints why a run failed."""
    print(error, file=sys.stderr)
