"""Data, augmentation, training with interruption, export and evaluation, on a tiny network."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from rooms_on_disk import write_rooms

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import AugmentationConfig, augment
from clip_depth_training.cli import main
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.data_sets.rgbd import read_pairs
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.data_sets.sampler import StepSampler
from clip_depth_training.evaluate import room_samples
from clip_depth_training.export import export, load_network, read_metrics
from clip_depth_training.fit import LAST_CHECKPOINT, fit
from clip_depth_training.network import DepthNetwork, NetworkConfig
from clip_depth_training.recipe import Recipe


class StopAfter(Callback):
    """Interrupts a training, leaving its checkpoint."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step >= self.steps:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/{LAST_CHECKPOINT}")
            trainer.should_stop = True


@pytest.fixture(scope="module")
def trained(tiny_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    fit(tiny_recipe, folder)
    return folder


def test_rooms_are_read_in_metres_with_their_focal_length(tiny_recipe):
    rooms = RoomSet(tiny_recipe.train)
    assert (len(rooms), rooms.rooms) == (12, 4)
    batch = rooms.__getitems__([0, 5])
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (2, 32, 32, 3)
    assert 0.4 < float(batch.depth.min()) < float(batch.depth.max()) < 8.1
    assert batch.focal.tolist() == pytest.approx([32 * 1.2**0.5] * 2)
    means = rooms.row_means((0.1, 10.0))
    assert means[-1] - means[0] == pytest.approx(2.0, abs=0.01)


def test_batches_are_the_same_whatever_step_they_start_from():
    whole = list(StepSampler(10, 4, 7, seed=3))
    assert list(StepSampler(10, 4, 7, seed=3, start=3)) == whole[3:]
    assert len({*whole[0], *whole[1]}) == 8


def test_augmentation_is_seeded_flips_depth_with_the_picture_and_can_be_off():
    images = torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8)
    batch = Batch(images, images[..., 0].float() + 1, torch.ones(6))
    first, again = (augment(batch, AugmentationConfig(), torch.Generator().manual_seed(1)) for _ in range(2))
    assert (first.images == again.images).all()
    assert (first.images != batch.images).any()
    off = AugmentationConfig(0, 0, 0, 0, 0, 0, 0)
    unchanged = augment(batch, off, torch.Generator().manual_seed(1))
    assert (unchanged.images == images).all()
    flipped = augment(batch, replace(off, flip=1.0), torch.Generator().manual_seed(1))
    assert (flipped.images == images.flip(2)).all()
    assert (flipped.depth == batch.depth.flip(2)).all()


def test_training_sees_pictures_as_the_node_does(tiny_recipe):
    """The same picture through the trainer's network and through the estimator gives the same metres."""
    network = DepthNetwork(tiny_recipe.network, "tiny")
    network.eval()
    batch = next(iter(room_samples(tiny_recipe.validation)))
    rooms = RoomSet(tiny_recipe.validation)
    expected = network.metres(rooms.__getitems__(list(range(len(rooms)))))
    estimator = DepthEstimator(
        network.encoder,
        {"space_clip": network.head},
        "cpu",
        "fp32",
        {"space_clip": tiny_recipe.network.canonical_focal_px},
    )
    depth = estimator(batch.images, batch.intrinsics)["space_clip"].depth
    assert torch.allclose(depth, expected, rtol=1e-5)
    assert expected.std() > 0


def test_shipped_recipe_fits_the_embedded_budget():
    recipe = Recipe.load("demo_rooms")
    network = DepthNetwork(recipe.network)
    assert sum(value.numel() for value in network.parameters()) <= 8_000_000
    assert recipe.network.layers == 12
    assert network.head.config.semantic_layers == (12, 9, 6, 3)
    assert network.head.config.structural_layers == (2, 1, 0)


def test_training_changes_the_weights_and_moves_their_average(tiny_recipe, trained):
    raw, steps = load_network(trained / LAST_CHECKPOINT, tiny_recipe, "raw")
    average, _ = load_network(trained / LAST_CHECKPOINT, tiny_recipe, "average")
    torch.manual_seed(tiny_recipe.seed)
    assert steps == tiny_recipe.steps
    bias = "head.depth_head.3.bias"
    moved = abs(float(raw.state_dict()[bias] - 2.0))
    followed = abs(float(average.state_dict()[bias] - 2.0))
    assert 0 < followed < 0.1 * moved
    log = (trained / "log" / "from_step_0000000" / "metrics.csv").read_text()
    assert "raw/metric/abs_rel" in log
    assert "average/median/a1" in log


@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_and_resumed_training_ends_with_the_same_weights(tiny_recipe, trained, tmp_path, stop):
    fit(tiny_recipe, tmp_path / "run", callbacks=[StopAfter(stop)])
    _, steps = load_network(tmp_path / "run" / LAST_CHECKPOINT, tiny_recipe)
    assert steps == stop
    fit(tiny_recipe, tmp_path / "run", resume=True)
    assert [file.name for file in (tmp_path / "run").glob("last*")] == [LAST_CHECKPOINT]
    for weights in ("raw", "average"):
        whole, _ = load_network(trained / LAST_CHECKPOINT, tiny_recipe, weights)
        parts, steps = load_network(tmp_path / "run" / LAST_CHECKPOINT, tiny_recipe, weights)
        assert steps == tiny_recipe.steps
        for name, value in whole.state_dict().items():
            assert torch.equal(value, parts.state_dict()[name]), (weights, name)


def test_exported_files_are_what_the_node_loads_and_evaluate_names_both_protocols(
    tiny_recipe, trained, tmp_path, capsys
):
    network, steps = load_network(trained / LAST_CHECKPOINT, tiny_recipe)
    export(network, tiny_recipe, steps, tmp_path)
    files = [str(tmp_path / name) for name in ("encoder.safetensors", "space_clip.safetensors")]
    metadata = load_checkpoint(tmp_path / "space_clip.safetensors").metadata
    assert metadata.encoder_identity == network.encoder.identity()
    assert metadata.canonical_focal_px == tiny_recipe.network.canonical_focal_px
    assert "no real image" in metadata.trained_on
    estimator = DepthEstimator.from_settings(EstimatorConfig(weights=tuple(files), device="cpu"))
    assert estimator(np.zeros((40, 60, 3), np.uint8)).embedding is None
    report = tmp_path / "report.json"
    rooms = ["--rooms", str(tiny_recipe.validation), "--baseline", str(tiny_recipe.train)]
    assert main(["evaluate", *files, *rooms, "-o", str(report)]) == 0
    rows = json.loads(report.read_text())["data"][0]["rows"]
    assert {(row["predictor"], row["protocol"]) for row in rows} == {
        (name, protocol) for name in ("space_clip", "constant", "row means") for protocol in ("metric", "median-scaled")
    }
    assert capsys.readouterr().out.count("median-scaled") == 3
    export(network, tiny_recipe, steps, tmp_path, read_metrics(report))
    half = ["--half", "--metrics", str(report), "-o", str(tmp_path / "half")]
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(_as_yaml(tiny_recipe))
    assert main(["export", str(trained / LAST_CHECKPOINT), "--recipe", str(recipe), *half]) == 0
    small = EstimatorConfig(
        weights=(str(tmp_path / "half" / "encoder.safetensors"), str(tmp_path / "half" / "space_clip.safetensors"))
    )
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    rounded = DepthEstimator.from_settings(small)(picture)["space_clip"].depth
    assert torch.allclose(rounded, estimator(picture)["space_clip"].depth, rtol=2e-2)
    assert (tmp_path / "half" / "encoder.safetensors").stat().st_size < 0.6 * (
        tmp_path / "encoder.safetensors"
    ).stat().st_size
    stored = load_checkpoint(tmp_path / "space_clip.safetensors").metadata.metrics
    assert len(stored) == 6
    assert all(entry["data"] == "validation" and entry["protocol"] and entry["abs_rel"] > 0 for entry in stored)


def _as_yaml(recipe):
    values = {**asdict(recipe), "train": str(recipe.train), "validation": str(recipe.validation)}
    return yaml.safe_dump(json.loads(json.dumps(values)))


def test_real_folders_are_read_in_order_with_their_scale(shared_real):
    pairs = list(read_pairs(shared_real / "rgbd_tum_fr2_desk_slambook"))
    assert len(pairs) == 2
    assert pairs[0].image.shape == (480, 640, 3)
    assert 0.5 < float(np.median(pairs[0].depth[pairs[0].depth > 0])) < 5
    for folder in ("rgbd_hololens_rooms", "rgbd_sun3d_cubicles_1"):
        assert len(list(read_pairs(shared_real / folder))) in (13, 32)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\ntrain: t\nvalidation: v\nsteps: 3\nlerning_rate: 1\n", "learning_rate"),
        ("name: a\nsteps: 3\n", "incomplete"),
        ("name: a\ntrain: t\nvalidation: v\nsteps: many\n", "steps"),
        ("network: {widht: 3}\n", "width"),
        ("[", "not YAML"),
        ("", "empty"),
    ],
)
def test_bad_recipes_are_one_sentence(text, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        Recipe.load(file)


def test_bad_data_names_the_file(tmp_path, tiny_recipe):
    with pytest.raises(BadInput, match="no rendered rooms"):
        RoomSet(tmp_path)
    write_rooms(tmp_path, 2)
    (tmp_path / "room_000001.npz").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(BadInput, match="room_000001"):
        RoomSet(tmp_path)
    with pytest.raises(BadInput, match="fewer than one batch"):
        StepSampler(3, 4, 1, 0)
    with pytest.raises(BadInput, match="--resume"):
        fit(tiny_recipe, tmp_path / "nothing", resume=True)
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    with pytest.raises(BadInput, match="not a checkpoint"):
        load_network(tmp_path / "junk.ckpt", tiny_recipe)
    with pytest.raises(BadInput, match="is missing"):
        list(read_pairs(_with_calibration(tmp_path / "folder")))


def _with_calibration(folder):
    folder.mkdir()
    (folder / "intrinsics.json").write_text('{"fx": 1, "fy": 1, "cx": 0, "cy": 0, "depth_scale_units_per_metre": 1000}')
    return folder


def test_command_line_lists_what_works_and_refuses_in_one_sentence(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in ("render", "fit", "evaluate", "export"))
    assert main(["evaluate", "weights.safetensors", "--baseline", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["fit", "no_such_recipe", "-o", str(tmp_path)]) == 2
    assert "demo_rooms" in capsys.readouterr().err


def test_head_on_a_tower_of_other_depth_scales_its_layers():
    assert NetworkConfig(layers=24).head_config().semantic_layers == (24, 18, 12, 6)
    assert NetworkConfig(layers=24).head_config().structural_layers == (4, 2, 0)
