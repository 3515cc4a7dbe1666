"""Prompts for CLIP, and their features from open_clip's own text tower; nothing here runs while images come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import check_tensors
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.errors import BadInput

_CLASS = "{class}"
# open_clip keeps the text tower's parts at the top level of its CLIP class, and under text. in its other classes.
_TEXT_PARTS = (
    "text.",
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
)


def prompts_of(template: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Returns ``template`` with each of ``classes`` in the place of ``{class}``.

    Raises:
        BadInput: the template has no such place, or there is no class word or an empty one.
    """
    if _CLASS not in template:
        raise BadInput(f"The prompt template {template!r} has no place for the class word: put {_CLASS} into it.")
    if not classes or not all(word.strip() for word in classes):
        raise BadInput(f"The class words {list(classes)} leave a prompt empty: give at least one, and no empty one.")
    return tuple(template.replace(_CLASS, word) for word in classes)


@torch.no_grad()
def embed_prompts_open_clip(name: str, pretrained: str, prompts: Sequence[str]) -> Tensor:
    """Returns the features of K ``prompts`` in the joint space of open_clip's model ``name``.

    The model's own tokenizer and text tower are used, and nothing of them is kept. Its image tower is not built,
    except for a tag whose weights come in another format than safetensors.

    Args:
        name: open_clip's model name, for example ``RN50``.
        pretrained: an open_clip tag, which open_clip may download; a path that ends in ``.safetensors``, of a file
            that holds a whole open_clip model or its text part; or empty for random weights.
        prompts: the sentences.

    Returns:
        ``(K, E)`` float32 of length 1, on the CPU.

    Raises:
        BadInput: an unknown model or tag, weights that hold no text tower of that model, or a failed download.
    """
    encode = _text_encoder(name, pretrained)
    features = encode(_tokens(name, prompts))
    return F.normalize(features.float(), dim=-1)


def _text_encoder(name: str, pretrained: str) -> Callable[[Tensor], Tensor]:
    """Returns what maps tokens ``(K, L)`` to unnormalised features ``(K, E)``."""
    local = pretrained.endswith(".safetensors")
    # The image tower's own rule, so that both towers of a model have one activation.
    quick_gelu = EncoderConfig.from_open_clip(name, "" if local else pretrained).activation == "quick_gelu"
    if pretrained and not local:
        path = _downloaded(name, pretrained)
        if path.suffix != ".safetensors":
            return _whole_model(name, pretrained, quick_gelu)
    else:
        path = Path(pretrained)
    tower = _text_tower(name, quick_gelu)
    if pretrained:
        tensors = _text_tensors(path, name)
        check_tensors(tensors, tower.state_dict(), f"{path} does not hold the text tower of {name}")
        tower.load_state_dict(tensors)

    def encode(tokens: Tensor) -> Tensor:
        features = tower(tokens)
        return features[0] if isinstance(features, tuple) else features  # some towers return their tokens too

    return encode


def _text_tower(name: str, quick_gelu: bool) -> nn.Module:
    import open_clip
    from open_clip.model import _build_text_tower

    config = open_clip.get_model_config(name)
    text = dict(config["text_cfg"])
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False  # the weights come from the CLIP model, not from the plain language model
    try:
        return _build_text_tower(config["embed_dim"], text, quick_gelu).eval()
    except Exception as error:  # transformers and the hub client raise many kinds
        raise BadInput(
            f"open_clip cannot build the text tower of {name} ({' '.join(str(error).split())}): check the network, or "
            "choose a model with CLIP's own text tower, such as RN50 or ViT-B-16."
        ) from error


def _text_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """Reads the text tower alone, in fp32, under the names of open_clip's text transformer."""
    if not path.is_file():
        raise BadInput(f"The weight file {path} does not exist.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {
                key.removeprefix("text."): file.get_tensor(key).float()
                for key in file.keys()  # noqa: SIM118 - safe_open is no mapping
                if key.startswith(_TEXT_PARTS)
            }
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{path} is no safetensors file, or it is truncated ({error}): copy or download it again."
        ) from error
    if not tensors:
        raise BadInput(
            f"{path} holds no text tower to embed the prompts with: give the file of the whole model, the "
            f"open_clip_model.safetensors of {name}, or a checkpoint that holds the head with its prompt features."
        )
    return tensors


def _downloaded(name: str, tag: str) -> Path:
    """Returns open_clip's own copy of the weights, which it downloads when it has none."""
    import open_clip
    from open_clip.pretrained import download_pretrained

    known = open_clip.list_pretrained_tags_by_model(name)
    if tag not in known:
        raise BadInput(f"open_clip has no weights {tag!r} for {name}: known tags are {', '.join(known) or 'none'}.")
    try:
        return Path(download_pretrained(open_clip.get_pretrained_cfg(name, tag)))
    except Exception as error:  # the hub client raises many kinds, all of which mean the same to the user
        raise _no_download(name, tag, error) from error


def _whole_model(name: str, tag: str, quick_gelu: bool) -> Callable[[Tensor], Tensor]:
    """Leaves pickles, archives and foreign formats to open_clip's own loader, which reads them without running them."""
    import open_clip

    try:
        return open_clip.create_model(name, pretrained=tag, force_quick_gelu=quick_gelu).eval().encode_text
    except Exception as error:
        raise _no_download(name, tag, error) from error


def _no_download(name: str, tag: str, error: Exception) -> BadInput:
    return BadInput(
        f"The text tower of {name}/{tag} could not be downloaded or read ({type(error).__name__}): check the network, "
        "or give a local .safetensors file of the whole model."
    )


def _tokens(name: str, prompts: Sequence[str]) -> Tensor:
    import open_clip

    if not prompts:
        raise BadInput("There are no prompts to embed: give at least one class word.")
    try:
        return open_clip.get_tokenizer(name)(list(prompts))
    except Exception as error:  # tokenizers of other families come from the hub
        raise BadInput(
            f"The tokenizer of {name} could not be loaded ({type(error).__name__}): check the network, or choose a "
            "model with CLIP's own tokenizer, such as RN50 or ViT-B-16."
        ) from error
