"""`clip-depth-train zero-shot`: DepthCLIP's head as a file, from words alone."""

import numpy as np
import pytest
import tiny_open_clip
import torch
from tiny import write_encoder, write_text_tower

from clip_depth_ros.depth.checkpoint import load_checkpoint, read_metadata
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_training.cli import main
from clip_depth_training.methods.prompts import TRAINING_PARTS

WORDS = ["--template", "a wall {class}", "--classes", "close", "far away", "--bins", "1", "4"]
PROMPTS = ["a wall close", "a wall far away"]


@pytest.fixture
def folder(tmp_path):
    write_encoder(tmp_path / "encoder.safetensors")
    return tmp_path


def test_an_encoder_of_this_project_and_its_words_make_a_head_that_the_estimator_runs(folder, capsys):
    text = write_text_tower(folder / TRAINING_PARTS, PROMPTS)
    encoder, output = str(folder / "encoder.safetensors"), folder / "depth_clip.safetensors"
    assert main(["zero-shot", encoder, *WORDS, "--licence", "Apache-2.0", "-o", str(output)]) == 0
    assert "never learnt depth" in capsys.readouterr().out
    with torch.no_grad():
        expected = text(PROMPTS)
    torch.testing.assert_close(
        load_checkpoint(output).head["prompts"], expected / expected.norm(dim=1, keepdim=True), rtol=0, atol=1e-6
    )
    metadata = read_metadata(output)
    assert (metadata.method, metadata.licence, metadata.canonical_focal_px) == ("depth_clip", "Apache-2.0", None)
    assert metadata.encoder_identity == read_metadata(folder / "encoder.safetensors").encoder_identity
    assert "close, far away" in metadata.trained_on
    estimator = DepthEstimator.from_settings(EstimatorConfig(heads=("depth_clip",), weights=(encoder, str(output))))
    depth = estimator(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))["depth_clip"].depth
    assert depth.shape[-2:] == (40, 60)
    assert 1 <= depth.min() < depth.max() <= 4


def test_a_model_of_open_clip_embeds_its_own_words(tmp_path, monkeypatch):
    tiny_open_clip.register(monkeypatch, "tiny-words", tiny_open_clip.VIT)
    whole = tiny_open_clip.save_model(tmp_path / "whole.safetensors", "tiny-words")
    output = tmp_path / "head.safetensors"
    assert main(["zero-shot", "tiny-words", "--pretrained", str(whole), "-o", str(output)]) == 0
    stored = EstimatorConfig(
        heads=("depth_clip",), weights=(str(output),), encoder_model="tiny-words", encoder_weights=str(whole)
    )
    made_at_start = EstimatorConfig(
        heads=("depth_clip",), weights=("",), encoder_model="tiny-words", encoder_weights=str(whole)
    )
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    depths = [DepthEstimator.from_settings(config)(image)["depth_clip"].depth for config in (stored, made_at_start)]
    assert torch.equal(*depths)
    assert depths[0].std() > 0


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], "never learnt"),
        ([*WORDS, "9"], "2 class words"),
        ([*WORDS, "--variant", "released"], "set depth_clip.variant to tokens"),
        (["--bins", "3", "-1"], "above 0"),
        (["-o", "head.pt"], "must end in .safetensors"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, extra, said):
    write_text_tower(folder / TRAINING_PARTS, PROMPTS)
    output = folder / "depth_clip.safetensors"
    assert main(["zero-shot", str(folder / "encoder.safetensors"), "-o", str(output), *extra]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_an_encoder_without_words_or_weights_is_refused(folder, capsys):
    output = ["-o", str(folder / "depth_clip.safetensors")]
    assert main(["zero-shot", str(folder / "encoder.safetensors"), *output]) == 2
    assert f"no {TRAINING_PARTS} beside" in capsys.readouterr().err
    assert main(["zero-shot", "ViT-B-32", *output]) == 2
    assert "give --pretrained" in capsys.readouterr().err
