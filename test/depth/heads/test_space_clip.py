"""SPACE-CLIP's decoder: the authors' numbers, parameter counts and switches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import tiny_encoder, tiny_head, varied_head
from safetensors.torch import load_file

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.depth.importers.space_clip import ImportOptions, import_space_clip
from clip_depth_ros.errors import BadInput


def test_golden_parity_with_the_authors_implementation(shared_golden: Path, tmp_path: Path) -> None:
    golden = shared_golden / "space_clip"
    import_space_clip(
        golden / "space_clip_official.pt",
        tmp_path / "imported.safetensors",
        ImportOptions(valid_range=(0.001, 10.0), trained_on="random weights", heads=4),
    )
    checkpoint = load_checkpoint(tmp_path / "imported.safetensors")
    encoder, head = checkpoint.build_encoder(), checkpoint.build_head()
    expected = load_file(golden / "space_clip_io.safetensors")
    assert encoder is not None
    assert isinstance(head, SpaceClipHead)
    features = encoder(expected["pixel_values"], head.layers | {0, 6, 12}, pooled=True)
    for layer in (0, 6, 12):
        torch.testing.assert_close(features.hidden[layer], expected[f"hidden_state_{layer}"], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.pooled, expected["pooler_output"], rtol=0, atol=1e-5)
    with torch.no_grad():
        prediction = head(features, (48, 80))
        depth, auxiliary = head.training_outputs(features, (48, 80))
    assert prediction.depth.std() > 0.1, "a constant output would prove nothing"
    torch.testing.assert_close(prediction.depth, expected["depth"][:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(depth, prediction.depth)
    for index, value in enumerate(auxiliary):
        torch.testing.assert_close(value, expected[f"aux_{index}"][:, 0], rtol=0, atol=1e-4)


def test_the_default_head_count_would_be_wrong_for_the_golden_file(shared_golden: Path, tmp_path: Path) -> None:
    golden = shared_golden / "space_clip"
    target = tmp_path / "one_head.safetensors"
    import_space_clip(golden / "space_clip_official.pt", target, ImportOptions((0.001, 10.0), "random weights"))
    encoder = load_checkpoint(target).build_encoder()
    expected = load_file(golden / "space_clip_io.safetensors")
    assert encoder is not None
    wrong = encoder(expected["pixel_values"], {12}).hidden[12]
    assert (wrong - expected["hidden_state_12"]).abs().max() > 1e-2


def test_parameter_count_of_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in SpaceClipHead(SpaceClipConfig()).parameters()) == 12_050_996


def test_shapes_at_full_size() -> None:
    head = varied_head(SpaceClipConfig())
    from clip_depth_ros.depth.encoder import EncoderFeatures

    hidden = {layer: torch.randn(2, 197, 768) for layer in head.layers}
    with torch.no_grad():
        prediction = head(EncoderFeatures(hidden, (14, 14), 1, pooled=torch.randn(2, 768)), (480, 640))
    assert prediction.depth.shape == (2, 480, 640)
    assert prediction.depth.dtype == torch.float32
    assert prediction.depth.std() > 0
    assert prediction.confidence is None


@pytest.mark.parametrize("film", [True, False])
@pytest.mark.parametrize("structural", [True, False])
def test_ablation_switches_change_what_is_read(film: bool, structural: bool) -> None:
    head = tiny_head(film=film, structural=structural)
    assert head.needs_pooled is film
    assert head.layers == ({12, 9, 6, 3, 2, 1, 0} if structural else {12, 9, 6, 3})
    encoder = tiny_encoder()
    image = torch.randn(1, 3, 64, 64)
    features = encoder(image, head.layers, pooled=True)
    with torch.no_grad():
        before = head(features, (64, 64)).depth
        pooled_changed = head(replace(features, pooled=features.pooled * 2), (64, 64)).depth
        shallow_changed = head(
            replace(features, hidden={**features.hidden, **{i: features.hidden[i] * 2 for i in head.layers & {0}}}),
            (64, 64),
        ).depth
    assert torch.equal(before, pooled_changed) is (not film)
    assert torch.equal(before, shallow_changed) is (not structural)


def test_auxiliary_heads_can_be_left_out() -> None:
    head = tiny_head(auxiliary=False)
    features = tiny_encoder()(torch.randn(1, 3, 64, 64), head.layers, pooled=True)
    with torch.no_grad():
        assert head.training_outputs(features, (32, 32))[1] == []


def test_siglip_features_without_cls_are_read() -> None:
    from clip_depth_ros.depth.encoder import EncoderFeatures

    head = tiny_head()
    hidden = {layer: torch.randn(1, 16, 32) for layer in head.layers}
    with torch.no_grad():
        depth = head(EncoderFeatures(hidden, (4, 4), 0, pooled=torch.randn(1, 32)), (50, 70)).depth
    assert depth.shape == (1, 50, 70)


def test_configuration_survives_json_and_bad_ones_are_refused() -> None:
    import json

    head = tiny_head()
    assert SpaceClipHead.from_config_dict(json.loads(json.dumps(head.config_dict()))).config == head.config
    with pytest.raises(BadInput, match="valid range"):
        SpaceClipConfig(valid_range=(5.0, 1.0))
    with pytest.raises(BadInput, match="4 channel counts"):
        SpaceClipConfig(channels=(1, 2, 3))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="does not fit this version"):
        SpaceClipHead.from_config_dict({"wings": 2})
