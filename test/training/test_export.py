"""From a training to files: exactly what was trained, with where it comes from, and nothing half-written."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pictures_on_disk import write_rgbd
from rooms_on_disk import write_rooms
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import write_encoder

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_training.cli import main
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.export import find_checkpoint, load_trained
from clip_depth_training.recipe import Recipe

CLIP = {
    "encoder_name": "tiny",
    "image_size": 32,
    "width": 32,
    "embed_dim": 16,
    "text_width": 32,
    "text_layers": 1,
    "dense_hidden": 16,
}
HEAD = {"channels": [8, 8, 4, 4], "film_hidden": 8, "valid_range": [0.1, 10.0], "canonical_focal_px": 32.0}


def write_recipe(file, method, train, validation, network, steps):
    values = {
        "name": file.stem,
        "method": method,
        "train": str(train),
        "validation": str(validation),
        "steps": steps,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "precision": "32-true",
        "validate_every": 2,
        "network": network,
    }
    file.write_text(yaml.safe_dump(values))
    return file


def fit(recipe, folder):
    assert main(["fit", str(recipe), "-o", str(folder), "--threads", "1"]) == 0
    assert find_checkpoint(folder).name == "best.ckpt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an encoder that was trained and exported, and a head trained on it: recipes, runs and rooms."""
    folder = tmp_path_factory.mktemp("trained")
    rooms = [write_rooms(folder / name, 4, seed=seed) for seed, name in enumerate(("train", "validation"))]
    recipe = write_recipe(folder / "tiny_clip.yaml", "clip", *rooms, CLIP, 2)
    fit(recipe, folder / "clip")
    assert main(["export", str(folder / "clip"), "-o", str(folder / "encoder")]) == 0  # with the recipe that fit kept
    network = {**HEAD, "encoder": str(folder / "encoder" / "encoder.safetensors")}
    recipe = write_recipe(folder / "tiny_head.yaml", "space_clip", *rooms, network, 4)
    fit(recipe, folder / "head")
    return folder


def export(folder, output, *words):
    return main(["export", str(folder / "head"), "--recipe", str(folder / "tiny_head.yaml"), "-o", str(output), *words])


def metres_of_the_node(files, folder):
    """The validation pictures through the files, as the node loads them."""
    estimator = DepthEstimator.from_settings(
        EstimatorConfig(weights=tuple(map(str, files)), device="cpu", precision="fp32")
    )
    data = open_data_set(folder / "validation")
    samples = [data.sample(number) for number in range(len(data))]
    images, matrices = np.stack([s.image for s in samples]), np.stack([s.intrinsics for s in samples])
    return estimator(images, matrices)["space_clip"].depth


def metres_of_the_training(folder, weights="best"):
    """The same pictures through the trainer's method."""
    checkpoint = find_checkpoint(folder / "head")
    method = load_trained(checkpoint, Recipe.load(folder / "tiny_head.yaml"), weights).method
    data = open_data_set(folder / "validation")
    return method.metres(data.__getitems__(list(range(len(data)))))


@pytest.mark.parametrize("weights", ["best", "average", "raw"])
def test_the_node_gives_the_metres_that_training_gave(trained, tmp_path, weights):
    assert export(trained, tmp_path, "--weights", weights) == 0
    files = [trained / "encoder" / "encoder.safetensors", tmp_path / "space_clip.safetensors"]
    depth, expected = metres_of_the_node(files, trained), metres_of_the_training(trained, weights)
    assert expected.std() > 0
    assert torch.allclose(depth, expected, rtol=1e-6, atol=0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["space_clip.safetensors"]


def test_raw_and_average_are_different_weights(trained, tmp_path):
    for weights in ("raw", "average"):
        assert export(trained, tmp_path / weights, "--weights", weights) == 0
    content = torch.load(find_checkpoint(trained / "head"), map_location="cpu", weights_only=True)["state_dict"]
    for weights, prefix in (("raw", "method.head."), ("average", "average.module.")):
        head = load_checkpoint(tmp_path / weights / "space_clip.safetensors").head
        assert torch.equal(head["depth_head.3.bias"], content[f"{prefix}depth_head.3.bias"])
    assert not torch.equal(content["method.head.depth_head.3.bias"], content["average.module.depth_head.3.bias"])


def test_best_is_what_validation_found(trained, tmp_path):
    """A best.ckpt says which weights were better; a checkpoint of another step says nothing about its own."""
    recipe = Recipe.load(trained / "tiny_head.yaml")
    content = torch.load(find_checkpoint(trained / "head"), map_location="cpu", weights_only=True)
    step = content["global_step"]
    for best, expected in (
        ({"weights": "raw", "abs_rel": 0.25, "step": step}, "raw"),
        ({"weights": "average", "abs_rel": 0.25, "step": step}, "average"),
        ({"weights": "raw", "abs_rel": 0.25, "step": step - 1}, "average"),
        (None, "average"),
    ):
        file = tmp_path / "best.ckpt"
        torch.save({**content, "best": best}, file)
        found = load_trained(file, recipe)
        assert found.weights == expected
        assert ("0.250" in found.note) == (best is not None and best["step"] == step)
    torch.save({**content, "best": {"weights": "raw", "abs_rel": 0.25, "step": step}}, tmp_path / "best.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"not looked at")
    (tmp_path / "recipe.yaml").write_bytes((trained / "tiny_head.yaml").read_bytes())
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    card = load_checkpoint(tmp_path / "out" / "space_clip.safetensors").metadata
    assert f"{step} steps of 4 pictures" in card.trained_on
    assert "raw weights, best of its validations, metric AbsRel 0.250" in card.trained_on


def test_the_card_says_where_the_weights_come_from(trained, tmp_path):
    assert export(trained, tmp_path) == 0
    card = load_checkpoint(tmp_path / "space_clip.safetensors").metadata
    encoder = load_checkpoint(trained / "encoder" / "encoder.safetensors")
    assert card.encoder_identity == encoder.metadata.encoder_identity == encoder.build_encoder().identity()
    assert card.source.endswith("recipe tiny_head")
    assert card.canonical_focal_px == 32.0
    assert card.licence == "Apache-2.0"
    assert "12 views of 4 simulated rooms" in card.trained_on
    assert "seed 0" in card.trained_on
    assert "no real image" in card.trained_on
    steps = torch.load(trained / "head" / "best.ckpt", map_location="cpu", weights_only=True)["global_step"]
    assert f"{steps} steps of 4 pictures, from random weights on the frozen encoder" in card.trained_on
    assert "best of its validations" in card.trained_on
    identity = card.encoder_identity[:12]
    assert f"frozen encoder tiny ({identity}); " in card.trained_on
    assert f". The encoder {identity}: 12 views of 4 simulated rooms" in card.trained_on
    assert "50 to 90 degrees" in card.training_intrinsics
    assert "2 steps of 4 pictures, from random weights" in encoder.metadata.trained_on


def test_the_card_keeps_the_start_when_its_file_is_written_over(trained, tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(trained / "encoder", weights)
    start = load_checkpoint(weights / "encoder.safetensors").metadata
    rooms = (trained / "train", trained / "validation")
    recipe = write_recipe(tmp_path / "more.yaml", "clip", *rooms, {**CLIP, "start_from": str(weights)}, 2)
    fit(recipe, tmp_path / "run")
    told = []
    for _ in range(2):
        assert main(["export", str(tmp_path / "run"), "-o", str(weights)]) == 0
        told.append(load_checkpoint(weights / "encoder.safetensors").metadata.trained_on)
    assert told[0] == told[1]
    before = start.encoder_identity[:12]
    assert f"2 steps of 4 pictures, going on from the encoder {before}; " in told[0]
    assert told[0].endswith(f". The encoder {before}: {start.trained_on}")


def test_other_data_tell_their_cameras(trained, tmp_path):
    """32 pixels and f = 30 px: 2 atan(16 / 30) = 56.1 degrees; sqrt(30 * 31) = 30.5 px."""
    recipe = yaml.safe_load((trained / "tiny_head.yaml").read_text())
    recipe["train"] = str(write_rgbd(tmp_path / "office", count=6))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    checkpoint, output = find_checkpoint(trained / "head"), tmp_path / "out"
    assert main(["export", str(checkpoint), "--recipe", str(tmp_path / "recipe.yaml"), "-o", str(output)]) == 0
    card = load_checkpoint(output / "space_clip.safetensors").metadata
    assert "focal length 30.5 px at 32x24, horizontal field of view 56.1 degrees" in card.training_intrinsics
    assert "office: 6 pictures" in card.trained_on
    assert "no real image." not in card.trained_on.split("steps of")[0]


def test_half_rounds_the_head_and_leaves_the_encoder_file_alone(trained, tmp_path):
    assert export(trained, tmp_path / "half", "--half") == 0
    assert export(trained, tmp_path / "full") == 0
    half, full = (tmp_path / name / "space_clip.safetensors" for name in ("half", "full"))
    assert half.stat().st_size < 0.7 * full.stat().st_size
    assert {value.dtype for value in load_checkpoint(half).head.values()} <= {torch.float16, torch.int64}
    encoder = trained / "encoder" / "encoder.safetensors"
    depth, expected = metres_of_the_node([encoder, half], trained), metres_of_the_node([encoder, full], trained)
    assert torch.allclose(depth, expected, rtol=5e-3)
    assert not torch.equal(depth, expected)


@pytest.mark.parametrize("words", [(), ("--half",)])
def test_one_file_is_enough_with_the_encoder_in_it(trained, tmp_path, words):
    assert export(trained, tmp_path, "--with-encoder", *words) == 0
    file = tmp_path / "space_clip.safetensors"
    checkpoint = load_checkpoint(file)
    assert checkpoint.build_encoder().identity() == checkpoint.metadata.encoder_identity
    expected = metres_of_the_training(trained)
    depth = metres_of_the_node([file], trained)
    assert torch.allclose(depth, expected, rtol=2e-2 if words else 1e-5)
    types = {value.dtype for value in (*checkpoint.head.values(), *checkpoint.encoder.values())}
    assert types == {torch.float16 if words else torch.float32, torch.int64}


def test_an_encoder_of_open_clip_is_named_for_the_node(trained, tmp_path, capsys):
    """Weights of open_clip's smallest tower in a file stand for a tag, which would be downloaded."""
    folder = trained / "open_clip"
    folder.mkdir()
    tower = SharedEncoder.from_open_clip("ViT-S-32-alt").visual.state_dict()
    save_file({f"visual.{name}": value for name, value in tower.items()}, folder / "tower.safetensors")
    network = {**HEAD, "encoder": "ViT-S-32-alt", "pretrained": str(folder / "tower.safetensors")}
    recipe = write_recipe(
        folder / "tiny_head.yaml", "space_clip", trained / "train", trained / "validation", network, 1
    )
    fit(recipe, folder / "head")
    capsys.readouterr()
    assert export(folder, tmp_path) == 0
    said = capsys.readouterr().out
    assert "encoder.model to ViT-S-32-alt" in said
    assert "--with-encoder" in said


def test_nothing_in_the_files_is_pickled(trained, tmp_path):
    assert export(trained, tmp_path, "--with-encoder") == 0
    for file in (tmp_path / "space_clip.safetensors", *(trained / "encoder").iterdir()):
        with safe_open(file, framework="pt") as content:
            assert content.keys()
        assert not zipfile.is_zipfile(file)
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(file.read_bytes())  # a length, which is no opcode that starts a pickle


def test_figures_of_evaluate_go_into_the_card_of_these_weights_only(trained, tmp_path, capsys):
    assert export(trained, tmp_path / "first") == 0
    encoder, report = trained / "encoder" / "encoder.safetensors", tmp_path / "report.json"
    data = ["--data", str(trained / "validation"), "--baseline", str(trained / "train")]
    measured = [str(encoder), str(tmp_path / "first" / "space_clip.safetensors")]
    assert main(["evaluate", *measured, *data, "--device", "cpu", "-o", str(report)]) == 0
    assert export(trained, tmp_path / "second", "--metrics", str(report)) == 0
    card = load_checkpoint(tmp_path / "second" / "space_clip.safetensors").metadata
    rows = json.loads(report.read_text())["rows"]
    assert len(card.metrics) == len(rows) == 6
    assert [row["abs_rel"] for row in card.metrics] == [row["abs_rel"] for row in rows]
    assert {row["data"] for row in card.metrics} == {"validation"}
    capsys.readouterr()
    assert export(trained, tmp_path / "third", "--metrics", str(report), "--half") == 2
    assert "measured with other weights (space_clip.safetensors)" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_figures_of_a_head_go_into_the_card_of_its_encoder(trained, tmp_path, capsys):
    assert export(trained, tmp_path / "head") == 0
    weights = [str(trained / "encoder" / "encoder.safetensors"), str(tmp_path / "head" / "space_clip.safetensors")]
    report = tmp_path / "report.json"
    data = ["--data", str(trained / "validation"), "--device", "cpu", "-o", str(report)]
    assert main(["evaluate", *weights, *data]) == 0
    words = ["export", str(trained / "clip"), "--metrics", str(report)]
    assert main([*words, "-o", str(tmp_path / "again")]) == 0
    assert len(load_checkpoint(tmp_path / "again" / "encoder.safetensors").metadata.metrics) == 6
    assert main([*words, "--half", "-o", str(tmp_path / "half")]) == 2
    assert "measured with other weights" in capsys.readouterr().err


def test_of_several_heads_the_card_takes_its_own_rows(trained, tmp_path, capsys):
    assert export(trained, tmp_path / "first") == 0
    stored = load_checkpoint(trained / "encoder" / "encoder.safetensors")
    encoder = stored.build_encoder()
    prompts = torch.randn(7, encoder.config.embed_dim, generator=torch.Generator().manual_seed(0))
    words = DepthClipHead.from_prompts(DepthClipConfig.for_encoder(encoder), prompts)
    card = CheckpointMetadata("depth_clip", encoder.config, stored.metadata.encoder_identity)
    save_checkpoint(tmp_path / "words.safetensors", card, words)
    files = [stored.path, tmp_path / "words.safetensors", tmp_path / "first" / "space_clip.safetensors"]
    report = tmp_path / "report.json"
    options = ["--data", str(trained / "validation"), "--device", "cpu", "-o", str(report)]
    assert main(["evaluate", *map(str, files), *options]) == 0
    assert len(json.loads(report.read_text())["rows"]) == 8
    assert export(trained, tmp_path / "second", "--metrics", str(report)) == 0
    own = load_checkpoint(tmp_path / "second" / "space_clip.safetensors").metadata.metrics
    trivial = ["constant (of this very data)", "row means (of this very data)"]
    assert [row["predictor"] for row in own[::2]] == ["space_clip", *trivial]
    assert main(["export", str(trained / "clip"), "--metrics", str(report), "-o", str(tmp_path / "encoder")]) == 0
    of_encoder = load_checkpoint(tmp_path / "encoder" / "encoder.safetensors").metadata.metrics
    assert [row["predictor"] for row in of_encoder[::2]] == ["depth_clip", "space_clip", *trivial]
    assert main(["evaluate", *map(str, files), "--head", "depth_clip", *options]) == 0
    capsys.readouterr()
    assert export(trained, tmp_path / "third", "--metrics", str(report)) == 2
    assert "has no rows of space_clip, only of depth_clip: give a report" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def refusal(capsys, *words):
    capsys.readouterr()
    assert main(["export", *map(str, words)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(trained, tmp_path, capsys):
    recipe, output = trained / "tiny_head.yaml", tmp_path / "out"
    wanted = ("--recipe", recipe, "-o", output)
    checkpoint = find_checkpoint(trained / "head")
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(checkpoint.read_bytes()[:5000])
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"weights": torch.zeros(3)}, foreign)
    evil = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "global_step": 3, "path": Path("x")}, evil)
    for file in (cut, foreign, evil, tmp_path / "nothing.ckpt"):
        assert "not a checkpoint" in refusal(capsys, file, *wanted), file
    assert "holds no best.ckpt" in refusal(capsys, tmp_path, *wanted)
    assert "does not fit the recipe tiny_head" in refusal(capsys, trained / "clip", *wanted)
    other = yaml.safe_load(recipe.read_text())
    other["network"]["film_hidden"] = 16
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert "give the recipe" in refusal(capsys, checkpoint, "--recipe", tmp_path / "other.yaml", "-o", output)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "method": "clip"}))
    assert "other.yaml" in refusal(capsys, checkpoint, "--recipe", tmp_path / "other.yaml", "-o", output)
    other = yaml.safe_load(recipe.read_text())
    other["network"]["encoder"] = str(write_encoder(tmp_path / "other.safetensors"))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert "put the old encoder file back" in refusal(
        capsys, checkpoint, "--recipe", tmp_path / "other.yaml", "-o", output
    )
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(checkpoint.read_bytes())
    assert "give --recipe" in refusal(capsys, alone, "-o", output)
    clip = ("--recipe", trained / "tiny_clip.yaml", "-o", output, "--with-encoder")
    assert "trains no head" in refusal(capsys, trained / "clip", *clip)
    assert "not a report" in refusal(capsys, checkpoint, *wanted, "--metrics", recipe)
    (tmp_path / "report.json").write_text(json.dumps({"weights": {}, "rows": []}))
    assert "not a report" in refusal(capsys, checkpoint, *wanted, "--metrics", tmp_path / "report.json")
    other = yaml.safe_load(recipe.read_text())
    other["train"] = str(tmp_path / "gone")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert "where the data are" in refusal(capsys, checkpoint, "--recipe", tmp_path / "other.yaml", "-o", output)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(capsys, checkpoint, "--recipe", recipe, "-o", tmp_path / "file" / "out")
    assert not output.exists()
