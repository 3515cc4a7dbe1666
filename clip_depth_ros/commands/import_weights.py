"""``clip-depth import``: published weights into this project's checkpoints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from clip_depth_ros.errors import BadInput

_ENCODER_KEYS = ("heads", "activation", "semantic_layers", "structural_layers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    space_clip = methods.add_parser("space-clip", help="the SPACE-CLIP authors' .pt, encoder included")
    space_clip.add_argument("file", type=Path, metavar="FILE", help="the authors' checkpoint (.pt)")
    space_clip.add_argument(
        "--range", type=float, nargs=2, required=True, metavar=("MIN", "MAX"), help="depth range of training, metres"
    )
    space_clip.add_argument(
        "--trained-on", required=True, metavar="DATA", help="nyu, kitti, or the training data in words"
    )
    space_clip.add_argument(
        "--encoder-config",
        type=Path,
        metavar="JSON",
        help="what the file does not say: heads (default width / 64), activation (quick_gelu), "
        "semantic_layers (12 9 6 3), structural_layers (2 1 0)",
    )
    space_clip.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .safetensors to write")


def run(arguments: argparse.Namespace) -> int:
    """Imports the file and says what was written.

    Raises:
        BadInput: the file, the options or the target cannot be used; nothing is written.
    """
    options = _options(arguments.encoder_config)
    nearest, farthest = arguments.range
    if not 0 <= nearest < farthest:
        raise BadInput(f"--range {nearest:g} {farthest:g} must be 0 <= MIN < MAX, in metres.")
    if arguments.output.suffix != ".safetensors":
        raise BadInput(f"The output {arguments.output} must end in .safetensors.")

    from clip_depth_ros.depth.importers.space_clip import ImportOptions, import_space_clip

    import_space_clip(
        arguments.file,
        arguments.output,
        ImportOptions(valid_range=(nearest, farthest), trained_on=arguments.trained_on, **options),
    )
    print(f"Wrote {arguments.output}. `clip-depth info {arguments.output}` says what it is.")
    return 0


def _options(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"The encoder configuration {path} cannot be read as JSON ({error}).") from error
    unknown = sorted(values.keys() - set(_ENCODER_KEYS)) if isinstance(values, dict) else ["no object"]
    if unknown:
        raise BadInput(f"The encoder configuration {path} has {unknown[0]!r}: it may hold {', '.join(_ENCODER_KEYS)}.")
    if not isinstance(values.get("heads", 1), int) or values.get("heads", 1) < 1:
        raise BadInput(f"heads in the encoder configuration {path} must be a positive whole number.")
    for key, count in (("semantic_layers", 4), ("structural_layers", 3)):
        layers = values.get(key)
        if layers is not None:
            if not isinstance(layers, list) or len(layers) != count or not all(isinstance(i, int) for i in layers):
                raise BadInput(f"{key} in the encoder configuration {path} must be a list of {count} whole numbers.")
            values[key] = tuple(layers)
    return values
