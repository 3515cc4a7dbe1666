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
    _add_space_clip(methods)
    _add_blip2(methods)


def _add_space_clip(methods: Any) -> None:
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


def _add_blip2(methods: Any) -> None:
    blip2 = methods.add_parser(
        "blip2",
        help="BLIP-2's Q-Former as a DepthBLIP-2 head, with DepthBLIP-2's MLP or without",
        description="BLIP-2's Q-Former as a DepthBLIP-2 head. LAVIS's files leave the image tower out: open_clip "
        "downloads it where no local file is given, because the head is for that very tower.",
    )
    blip2.add_argument(
        "--qformer",
        type=Path,
        required=True,
        metavar="FILE",
        help="LAVIS's blip2_pretrained_vitL.pth (or one for EVA-g), or a Hugging Face folder of InstructBLIP or BLIP-2",
    )
    blip2.add_argument(
        "--mlp", type=Path, metavar="FILE", help="DepthBLIP-2's MLP (model_epoch_N.pth); else fixed bins"
    )
    tower = blip2.add_argument_group("image tower")
    tower.add_argument("--encoder-model", default="", metavar="NAME", help="open_clip's name (default: BLIP-2's own)")
    tower.add_argument(
        "--encoder-weights",
        default="",
        metavar="WEIGHTS",
        help="open_clip's tag, or a .safetensors file (default: likewise)",
    )
    tower.add_argument(
        "--with-encoder", action="store_true", help="write the tower too; one in a Hugging Face folder always is"
    )
    tower.add_argument(
        "--imagenet-normalisation",
        action="store_true",
        help="ImageNet's mean and deviation, as the published code has it: for this head alone on a tower of its own",
    )
    tower.add_argument("--layer", type=int, metavar="N", help="read block N's output (default: the second-last block)")
    prompts = blip2.add_argument_group("prompts and maps (default: as published)")
    prompts.add_argument("--prompts", nargs="+", metavar="TEXT", help="sentences, quoted each; others need --vocab")
    prompts.add_argument("--vocab", type=Path, metavar="FILE", help="vocab.txt of BERT uncased")
    prompts.add_argument("--bins", type=float, nargs="+", metavar="M", help="the distance of each prompt, metres")
    prompts.add_argument(
        "--map", type=int, nargs=3, metavar=("ROWS", "COLUMNS", "CHANNELS"), help="16 16 3 (NYU) or 16 48 1 (KITTI)"
    )
    prompts.add_argument("--layout", choices=("v1", "v2"), default="v1", help="how maps fold (default v1, the paper's)")
    prompts.add_argument("--temperature", type=float, metavar="T", help="default 0.05, with v2 0.5; v2 on KITTI 0.8")
    prompts.add_argument(
        "--range", type=float, nargs=2, metavar=("MIN", "MAX"), help="depth that counts, metres (default: the bins')"
    )
    blip2.add_argument("--trained-on", default="", metavar="DATA", help="the training data in words")
    blip2.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .safetensors to write")


def run(arguments: argparse.Namespace) -> int:
    """Imports the file and says what was written.

    Raises:
        BadInput: the file, the options or the target cannot be used; nothing is written.
    """
    if arguments.range is not None:
        nearest, farthest = arguments.range
        if not 0 <= nearest < farthest:
            raise BadInput(f"--range {nearest:g} {farthest:g} must be 0 <= MIN < MAX, in metres.")
    if arguments.output.suffix != ".safetensors":
        raise BadInput(f"The output {arguments.output} must end in .safetensors.")
    if arguments.method == "blip2":
        _import_blip2(arguments)
    else:
        _import_space_clip(arguments)
    print(f"Wrote {arguments.output}. `clip-depth info {arguments.output}` says what it is.")
    return 0


def _import_space_clip(arguments: argparse.Namespace) -> None:
    options = _options(arguments.encoder_config)
    nearest, farthest = arguments.range

    from clip_depth_ros.depth.importers.space_clip import ImportOptions, import_space_clip

    import_space_clip(
        arguments.file,
        arguments.output,
        ImportOptions(valid_range=(nearest, farthest), trained_on=arguments.trained_on, **options),
    )


def _import_blip2(arguments: argparse.Namespace) -> None:
    from clip_depth_ros.depth.importers.blip2 import Blip2Options, import_blip2

    given = {
        "prompts": arguments.prompts,
        "bins": arguments.bins,
        "map_size": arguments.map,
        "valid_range": arguments.range,
    }
    options = Blip2Options(
        mlp=arguments.mlp,
        encoder_model=arguments.encoder_model,
        encoder_weights=arguments.encoder_weights,
        with_encoder=arguments.with_encoder,
        imagenet_normalisation=arguments.imagenet_normalisation,
        layer=arguments.layer,
        vocabulary=arguments.vocab,
        layout=arguments.layout,
        temperature=arguments.temperature,
        trained_on=arguments.trained_on,
        **{name: tuple(value) for name, value in given.items() if value is not None},
    )
    import_blip2(arguments.qformer, arguments.output, options)


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
