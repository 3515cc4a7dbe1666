"""``clip-depth-train zero-shot``: a DepthCLIP head as a file, for robots that have no text tower and no network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.heads.depth_clip import VARIANTS, DepthClipConfig, DepthClipHead
from clip_depth_ros.errors import BadInput
from clip_depth_training.methods.frozen_encoder import open_encoder
from clip_depth_training.methods.prompts import embed_prompts


def zero_shot_head(
    output: Path, encoder: str, pretrained: str = "", text: str = "", licence: str = "unknown", **options: Any
) -> DepthClipHead:
    """Embeds the class words and writes the head that compares patches with them; nothing is trained.

    Args:
        output: the ``.safetensors`` to write.
        encoder: an encoder file of this project, or open_clip's name of a model.
        pretrained: for a model of open_clip: its weights' tag or file.
        text: where the text tower is, if it is not the encoder's own; see :func:`embed_prompts`.
        licence: licence of the CLIP weights, for the card.
        options: the options of :class:`DepthClipConfig` that are not as published.

    Raises:
        BadInput: no such encoder or text tower, one that does not know the words, or an option that does not fit.
    """
    if not encoder.endswith(".safetensors") and not pretrained:
        raise BadInput(f"The weights of {encoder} are missing: give --pretrained, a tag of open_clip or a file.")
    tower = open_encoder(encoder, pretrained)
    config = DepthClipConfig.for_encoder(tower, **options)
    head = DepthClipHead.from_prompts(config, embed_prompts(config.prompts, encoder, pretrained, text))
    words = ", ".join(config.classes)
    tower_of = Path(text).name if text.endswith(".safetensors") else text or tower.config.name
    metadata = CheckpointMetadata(
        method=head.method,
        encoder=tower.config,
        encoder_identity=tower.identity(),
        trained_on=f"no depth at all: prompts {config.template!r} with {words}.",
        training_intrinsics="none",
        licence=licence,
        source=f"clip-depth-train zero-shot, words embedded by the text tower of {tower_of}",
    )
    save_checkpoint(output, metadata, head=head)
    return head


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``zero-shot``."""
    parser.add_argument("encoder", help="an encoder file (.safetensors) of this project, or open_clip's model name")
    parser.add_argument("--pretrained", default="", metavar="TAG|FILE", help="weights of a model of open_clip")
    parser.add_argument(
        "--text",
        default="",
        metavar="FILE|NAME/TAG",
        help="text tower: a clip_training.safetensors or a model of open_clip (default: the encoder's own)",
    )
    words = parser.add_argument_group("words and distances (default: as published)")
    words.add_argument("--template", metavar="TEXT", help="the sentence, {class} for the class word")
    words.add_argument("--classes", nargs="+", metavar="WORD", help="class words, quoted where there is a space")
    words.add_argument("--bins", type=float, nargs="+", metavar="M", help="the distance of each class word, metres")
    words.add_argument("--temperature", type=float, metavar="T", help="divides the logits (default 0.1)")
    words.add_argument("--variant", choices=VARIANTS, help="the patch features that meet the words")
    parser.add_argument("--licence", default="unknown", help="licence of the CLIP weights, for the card")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .safetensors to write")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``zero-shot``."""
    if arguments.output.suffix != ".safetensors":
        raise BadInput(f"The output {arguments.output} must end in .safetensors.")
    options = {name: getattr(arguments, name) for name in ("template", "classes", "bins", "temperature", "variant")}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value}
    head = zero_shot_head(
        arguments.output, arguments.encoder, arguments.pretrained, arguments.text, arguments.licence, **given
    )
    print(f"Wrote {arguments.output}. {head.note}")
    return 0
