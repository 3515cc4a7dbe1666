"""Words as CLIP embeds them, for heads that store what they take from a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.errors import BadInput
from clip_depth_training.methods.text import TextTower, load_training_parts, read_training_parts

TRAINING_PARTS = "clip_training.safetensors"
"""What `clip-depth-train export` writes beside an encoder of this project: its text tower."""

# NYU Depth V2's kinds of scene, and what a car meets on the roads of KITTI.
NYU_SCENES = (
    *("basement", "bathroom", "bedroom", "bookstore", "cafe", "classroom", "computer lab", "conference room"),
    *("dinette", "dining room", "exercise room", "foyer", "furniture store", "home office", "home storage"),
    *("indoor balcony", "kitchen", "laundry room", "living room", "office", "office kitchen", "playroom"),
    *("printer room", "reception room", "student lounge", "study", "study room"),
)
OUTDOOR_SCENES = (
    *("city street", "residential street", "suburban road", "country road", "highway", "road junction"),
    *("parking lot", "pedestrian zone", "campus", "railway crossing", "bridge", "tunnel"),
)
SCENE_SETS: dict[str, tuple[str, ...]] = {"nyu": NYU_SCENES, "outdoor": OUTDOOR_SCENES, "none": ()}
_SCENE = "{scene}"


def fill(templates: Sequence[str], scenes: Sequence[str]) -> tuple[str, ...]:
    """Returns every template with every scene in the place of ``{scene}``.

    Raises:
        BadInput: a template without that place.
    """
    for template in templates:
        if _SCENE not in template:
            raise BadInput(f"The prompt template {template!r} has no place for a scene: put {_SCENE} into it.")
    return tuple(template.replace(_SCENE, scene) for scene in scenes for template in templates)


def embed_prompts(prompts: Sequence[str], encoder: str, pretrained: str = "", text: str = "") -> Tensor:
    """Embeds sentences with the text tower that belongs to an image encoder.

    Args:
        prompts: the sentences.
        encoder: an encoder file of this project (``.safetensors``), or open_clip's name of a model.
        pretrained: for a model of open_clip: its weights' tag, a ``.safetensors`` that holds the text tower too, or
            empty for random weights.
        text: where the text tower is, if it is not the encoder's own: a ``clip_training.safetensors``, or a model of
            open_clip as ``NAME/TAG``.

    Returns:
        ``(K, E)`` float32 of length 1 each, on the CPU.

    Raises:
        BadInput: no text tower, or one that does not know the words.
    """
    if text.endswith(".safetensors"):
        return _embed_with_parts(Path(text), prompts)
    if text:
        name, _, tag = text.rpartition("/")
        if not name or not tag:
            raise BadInput(f"text is {text!r}: it must be a {TRAINING_PARTS} or a model of open_clip as NAME/TAG.")
        return _embed_with_open_clip(name, tag, prompts)
    if not encoder.endswith(".safetensors"):
        return _embed_with_open_clip(encoder, pretrained, prompts)
    beside = Path(encoder).with_name(TRAINING_PARTS)
    if not beside.is_file():
        raise BadInput(
            f"There is no {TRAINING_PARTS} beside {encoder}, so nothing can embed the prompts: name a text tower "
            "(text), such a file or a model of open_clip as NAME/TAG, or do without prompts (scene_set: none)."
        )
    return _embed_with_parts(beside, prompts)


def _embed_with_open_clip(name: str, pretrained: str, prompts: Sequence[str]) -> Tensor:
    from clip_depth_ros.depth.prompts import embed_prompts_open_clip

    return embed_prompts_open_clip(name, pretrained, prompts)


@torch.no_grad()
def _embed_with_parts(path: Path, prompts: Sequence[str]) -> Tensor:
    """Embeds with a text tower of this project; only the words of its captions have weights."""
    from open_clip.tokenizer import SimpleTokenizer

    tensors, config = read_training_parts(path)
    try:
        sizes = [int(config[key]) for key in ("embed_dim", "text_width", "text_layers", "context_length")]
        seen = tensors["text.seen"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} does not say what its text tower is ({error}): export it again.") from error
    tower = TextTower(*sizes)
    load_training_parts(path, tower)
    tokenizer = SimpleTokenizer(context_length=sizes[-1])
    for prompt in prompts:
        if not seen[tokenizer([prompt])[0]].all():
            strange = [word for word in prompt.split() if not seen[tokenizer([word])[0]].all()]
            raise BadInput(
                f"The text tower of {path} never learnt {', '.join(strange) or prompt}: give prompts of words that its "
                "captions have."
            )
    return F.normalize(tower.eval()(prompts).float(), dim=-1)
