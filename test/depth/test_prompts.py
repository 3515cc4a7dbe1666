"""Prompt features against open_clip's own text encoding, and everything that can be wrong with the weights."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_open_clip import RESNET, VIT, register, register_tag, save_model
from torch import Tensor

from clip_depth_ros.depth.prompts import embed_prompts_open_clip, prompts_of
from clip_depth_ros.errors import BadInput

PROMPTS = ("This object is close", "This object is not in distance", "This object is unseen")


def expected(name: str, weights: Path, quick_gelu: bool = False) -> Tensor:
    """What open_clip's whole model says."""
    model = open_clip.create_model(name, pretrained=str(weights), force_quick_gelu=quick_gelu).eval()
    with torch.no_grad():
        return model.encode_text(open_clip.get_tokenizer(name)(list(PROMPTS)), normalize=True)


@pytest.fixture
def vit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A whole model ``tiny-vit``; every block of its text tower tells tokens apart."""
    register(monkeypatch, "tiny-vit", VIT)
    return save_model(tmp_path / "vit.safetensors", "tiny-vit")


def test_class_words_go_into_the_template() -> None:
    assert prompts_of("This object is {class}", ("far", "a little remote")) == (
        "This object is far",
        "This object is a little remote",
    )
    assert prompts_of("{class}! {braces} {}", ["{far}"]) == ("{far}! {braces} {}",)
    with pytest.raises(BadInput, match=r"'no place' has no place for the class word: put \{class\} into it"):
        prompts_of("no place", ["far"])
    for classes in ([], ["far", " "]):
        with pytest.raises(BadInput, match="leave a prompt empty"):
            prompts_of("{class}", classes)


@pytest.mark.parametrize("layout", ["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("image", ["ViT", "ResNet"])
def test_features_of_a_local_file_are_open_clips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: str, image: str
) -> None:
    config = VIT if image == "ViT" else RESNET
    register(monkeypatch, "tiny", {**config, "custom_text": layout == "CustomTextCLIP"})
    weights = save_model(tmp_path / "model.safetensors", "tiny")
    features = embed_prompts_open_clip("tiny", str(weights), PROMPTS)
    torch.testing.assert_close(features, expected("tiny", weights), rtol=0, atol=1e-6)
    assert features.shape == (3, config["embed_dim"])
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert (features @ features.T)[0, 1] < 0.999, "prompts that look alike would prove nothing"
    # Nothing of the tower stays alive behind the features.
    assert not features.requires_grad
    assert features.untyped_storage().nbytes() == 4 * features.numel()


def test_the_text_part_alone_is_enough_and_half_precision_weights_are_read(vit: Path, tmp_path: Path) -> None:
    tensors = load_file(vit)
    text = {name: value.half() for name, value in tensors.items() if not name.startswith("visual.")}
    save_file(text, tmp_path / "text.safetensors")
    features = embed_prompts_open_clip("tiny-vit", str(tmp_path / "text.safetensors"), PROMPTS)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected("tiny-vit", vit), rtol=0, atol=2e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_features_of_a_tag_have_the_tags_activation(
    monkeypatch: pytest.MonkeyPatch, vit: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"tag{suffix}"
    if suffix == ".pt":
        torch.save(load_file(vit), file)
    else:
        file = vit
    register_tag(monkeypatch, "tiny-vit", "stored", file=str(file), quick_gelu=True)
    features = embed_prompts_open_clip("tiny-vit", "stored", PROMPTS)
    torch.testing.assert_close(features, expected("tiny-vit", vit, quick_gelu=True), rtol=0, atol=1e-6)
    assert (features - expected("tiny-vit", vit)).abs().max() > 1e-5, "the activation must matter here"


def test_a_tower_that_returns_its_tokens_too(monkeypatch: pytest.MonkeyPatch, vit: Path) -> None:
    text = {**VIT["text_cfg"], "output_tokens": True}
    register(monkeypatch, "tiny-tokens", {**VIT, "text_cfg": text})
    features = embed_prompts_open_clip("tiny-tokens", str(vit), PROMPTS)
    torch.testing.assert_close(features, embed_prompts_open_clip("tiny-vit", str(vit), PROMPTS))


def test_without_weights_they_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "tiny-vit", VIT)
    torch.manual_seed(0)
    first = embed_prompts_open_clip("tiny-vit", "", PROMPTS)
    second = embed_prompts_open_clip("tiny-vit", "", PROMPTS)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    assert not torch.allclose(first, second)


def test_models_and_tags_that_open_clip_does_not_know(vit: Path) -> None:
    with pytest.raises(BadInput, match="open_clip has no model 'ViT-Z'"):
        embed_prompts_open_clip("ViT-Z", "openai", PROMPTS)
    with pytest.raises(BadInput, match=r"no weights 'openay' for RN50: known tags are openai, "):
        embed_prompts_open_clip("RN50", "openay", PROMPTS)
    with pytest.raises(BadInput, match="no prompts to embed"):
        embed_prompts_open_clip("tiny-vit", str(vit), ())


def test_a_failed_download_is_one_sentence(monkeypatch: pytest.MonkeyPatch, vit: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    register_tag(monkeypatch, "tiny-vit", "gone", url="http://127.0.0.1:9/gone.pt")
    with pytest.raises(
        BadInput, match=r"tiny-vit/gone could not be downloaded or read \(\w+Error\): check the network"
    ):
        embed_prompts_open_clip("tiny-vit", "gone", PROMPTS)
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    register_tag(monkeypatch, "tiny-vit", "broken", file=str(tmp_path / "broken.pt"))
    with pytest.raises(BadInput, match="tiny-vit/broken could not be downloaded or read"):
        embed_prompts_open_clip("tiny-vit", "broken", PROMPTS)


def test_files_without_the_text_tower(vit: Path, tmp_path: Path) -> None:
    tensors = load_file(vit)
    image = {name: value for name, value in tensors.items() if name.startswith("visual.")}
    save_file(image, tmp_path / "image.safetensors")
    with pytest.raises(
        BadInput, match=r"image.safetensors holds no text tower.*open_clip_model.safetensors of tiny-vit"
    ):
        embed_prompts_open_clip("tiny-vit", str(tmp_path / "image.safetensors"), PROMPTS)
    del tensors["ln_final.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(BadInput, match=r"does not hold the text tower of tiny-vit: ln_final.weight is missing"):
        embed_prompts_open_clip("tiny-vit", str(tmp_path / "part.safetensors"), PROMPTS)
    with pytest.raises(BadInput, match=r"does not hold the text tower of RN50: "):
        embed_prompts_open_clip("RN50", str(vit), PROMPTS)
    with pytest.raises(BadInput, match=r"absent.safetensors does not exist"):
        embed_prompts_open_clip("tiny-vit", str(tmp_path / "absent.safetensors"), PROMPTS)
    (tmp_path / "cut.safetensors").write_bytes(vit.read_bytes()[:1000])
    with pytest.raises(BadInput, match="is no safetensors file, or it is truncated"):
        embed_prompts_open_clip("tiny-vit", str(tmp_path / "cut.safetensors"), PROMPTS)


def test_a_tokenizer_or_tower_from_the_hub_that_cannot_be_fetched(
    monkeypatch: pytest.MonkeyPatch, vit: Path, tmp_path: Path
) -> None:
    absent = str(tmp_path / "no-such-folder")  # no name the hub could have either, so nobody asks it
    register(monkeypatch, "tiny-words", {**VIT, "text_cfg": {**VIT["text_cfg"], "hf_tokenizer_name": absent}})
    with pytest.raises(BadInput, match="The tokenizer of tiny-words could not be loaded"):
        embed_prompts_open_clip("tiny-words", str(vit), PROMPTS)
    register(monkeypatch, "tiny-bert", {**VIT, "text_cfg": {"hf_model_name": absent, "hf_tokenizer_name": absent}})
    with pytest.raises(BadInput, match="open_clip cannot build the text tower of tiny-bert"):
        embed_prompts_open_clip("tiny-bert", str(vit), PROMPTS)
