"""``clip-depth export``: encoder and head as one file for other runtimes."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.sizes import parse_size

if TYPE_CHECKING:
    from clip_depth_ros.depth.checkpoint import CheckpointMetadata
    from clip_depth_ros.depth.config import EstimatorConfig
    from clip_depth_ros.depth.loading import LoadedNetwork

FORMATS = ("onnx",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "weights", nargs="*", metavar="WEIGHTS", help="weight files (default: the configuration's, or the demo model)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--format", default=FORMATS[0], metavar="NAME", help="onnx, the only one")
    parser.add_argument("--head", metavar="NAME", help="which head, where the files hold several (space_clip, ...)")
    parser.add_argument("--config", metavar="FILE", help="ROS parameter file: encoder, weights, DepthCLIP's words")
    parser.add_argument(
        "--input",
        choices=("pixels", "image"),
        default="pixels",
        help="pixels: float32 (B, 3, h, w) at the encoder's size; image: uint8 (B, H, W, 3) at --camera-size, resized "
        "in the graph (both RGB 0..255, normalised in the graph; default: pixels)",
    )
    parser.add_argument("--camera-size", metavar="HxW", help="size of the camera's pictures in pixels")
    parser.add_argument(
        "--input-size", metavar="HxW", help="encoder's input in pixels, multiples of its patch (default: its own)"
    )
    parser.add_argument(
        "--size", metavar="HxW", help="size of the depth in pixels (default: that of the graph's input)"
    )
    parser.add_argument("--opset", type=int, default=17, help="version of ONNX's operators, 17 to 20 (default: 17)")
    parser.add_argument("--half", action="store_true", help="network in 16 bits; input and output stay as they are")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file, checks it against PyTorch, and prints how far they differ and the line for TensorRT.

    Raises:
        BadInput: an option, weights or the output that cannot be used, or a file that differs from PyTorch.
    """
    _check_options(arguments)
    given = {name: getattr(arguments, name) for name in ("size", "camera_size", "input_size")}
    sizes = {
        name: None if text is None else parse_size(text, f"--{name.replace('_', '-')}") for name, text in given.items()
    }
    from clip_depth_ros.depth.exporters.onnx import GraphOptions, export_onnx, require_packages, trtexec_line
    from clip_depth_ros.depth.loading import load_network

    require_packages()  # before minutes of loading
    config = _config(arguments)
    network = load_network(config)
    (name,) = config.heads
    own_size = config.encoder_input_size if any(config.encoder_input_size) else network.encoder.config.image_size
    input_size = sizes["input_size"] or own_size
    options = GraphOptions(
        input_size,
        sizes["size"] or sizes["camera_size"] or input_size,
        sizes["camera_size"],
        arguments.opset,
        arguments.half,
        config.encoder_normalisation,
    )
    began = time.monotonic()
    deviation = export_onnx(
        arguments.output, network.encoder, network.heads[name], options, _metadata(config, name, network)
    )
    size = arguments.output.stat().st_size / 1e6
    print(f"Wrote {arguments.output} ({size:.1f} MB) in {time.monotonic() - began:.0f} s.")
    print(
        f"ONNX Runtime against PyTorch in fp32: depth at most {deviation.largest:.1e} off (relative), "
        f"99 % of the pixels within {deviation.p99:.1e}."
    )
    print(f"TensorRT: {trtexec_line(arguments.output, options)}")
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.format not in FORMATS:
        raise BadInput(f"--format is {arguments.format!r}: {', '.join(FORMATS)} is the only one.")
    if not 17 <= arguments.opset <= 20:
        raise BadInput(f"--opset is {arguments.opset}: it must be 17 to 20.")
    if (arguments.input == "image") != (arguments.camera_size is not None):
        raise BadInput("--input image and --camera-size belong together: give both, or neither.")
    if arguments.output.is_dir():
        raise BadInput(f"--output {arguments.output} is a folder: give the name of a file in it.")


def _config(arguments: argparse.Namespace) -> EstimatorConfig:
    """Returns the configuration for the one head that is exported."""
    from clip_depth_ros.depth.config import EstimatorConfig

    config = EstimatorConfig.from_yaml(arguments.config) if arguments.config else EstimatorConfig()
    if arguments.weights:
        config = replace(config, weights=tuple(arguments.weights))
    by_files = arguments.weights and not arguments.config
    head = arguments.head or (_only_head(config.weights) if by_files else config.heads[0])
    return replace(config, heads=(head,))


def _only_head(weights: tuple[str, ...]) -> str:
    from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, read_metadata
    from clip_depth_ros.resources import resolve

    methods = [read_metadata(resolve(location)).method for location in weights if location]
    heads = [method for method in methods if method != ENCODER_ONLY]
    if len(heads) == 1:
        return heads[0]
    files = ", ".join(weights)
    if heads:
        raise BadInput(f"The files {files} hold the heads {', '.join(heads)}: choose one with --head.")
    raise BadInput(f"None of the files {files} holds a head: add the head's file.")


def _metadata(config: EstimatorConfig, head: str, network: LoadedNetwork) -> CheckpointMetadata:
    """Returns what is known of the head: its file's metadata, or what the encoder says where it has no file."""
    from clip_depth_ros.depth.checkpoint import CheckpointMetadata, read_metadata
    from clip_depth_ros.resources import resolve

    found = [read_metadata(resolve(location)) for location in config.weights if location]
    own = [metadata for metadata in found if metadata.method == head]
    return own[0] if own else CheckpointMetadata(head, network.encoder.config, network.identity)
