"""DepthBLIP-2's method: what learns, the loss by hand, its Q-Former's file, crops, and the file the node loads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rooms_on_disk import write_rooms
from tiny import same_weights, write_encoder

from clip_depth_ros.depth import heads
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.depth_blip2 import PROMPTS, DepthBlip2Config, DepthBlip2Head
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.errors import BadInput
from clip_depth_training import methods
from clip_depth_training.augmentation import AugmentationConfig
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.export import export, load_trained
from clip_depth_training.fitting.fit import fit
from clip_depth_training.fitting.training import MethodTraining
from clip_depth_training.methods.base import Provenance
from clip_depth_training.methods.depth_blip2 import DepthBlip2Method, depth_errors
from clip_depth_training.methods.depth_blip2_config import DepthBlip2MethodConfig, word_ids
from clip_depth_training.methods.frozen_encoder import open_encoder
from clip_depth_training.recipe import Recipe

SMALL = {"width": 24, "layers": 2, "heads": 2, "hidden": 32, "queries": 4, "map_size": (2, 4, 3), "temperature": 0.5}


@pytest.fixture(autouse=True)
def known_method(monkeypatch) -> None:
    monkeypatch.setitem(heads.HEADS, "depth_blip2", DepthBlip2Head)
    monkeypatch.setitem(methods.METHODS, "depth_blip2", "clip_depth_training.methods.depth_blip2:DepthBlip2Method")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("blip2")
    write_rooms(folder / "train", 8)
    write_rooms(folder / "validation", 2, seed=1)
    write_encoder(folder / "encoder.safetensors")
    return folder


@pytest.fixture(scope="module")
def qformer_file(place: Path) -> Path:
    """What `clip-depth import blip2` makes, for the tiny tower."""
    torch.manual_seed(3)
    encoder = open_encoder(str(place / "encoder.safetensors"))
    sizes = QFormerConfig(width=24, layers=2, heads=2, hidden=32, queries=4, image_width=32, vocabulary=17000)
    head = DepthBlip2Head(DepthBlip2Config(layer=7, map_size=(2, 4, 3), temperature=0.2, qformer=sizes))
    for value in head.parameters():
        torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 1.0, 0.4)
    metadata = CheckpointMetadata("depth_blip2", encoder.config, encoder.identity(), source="imported from x.pth")
    save_checkpoint(place / "blip2.safetensors", metadata, head)
    return place / "blip2.safetensors"


def few_shot(place: Path, file: Path, **changes: object) -> DepthBlip2MethodConfig:
    values = {"encoder": str(place / "encoder.safetensors"), "qformer": str(file), "valid_range": (0.1, 10.0)}
    return DepthBlip2MethodConfig(**{**values, **changes})


def from_nothing(place: Path, **changes: object) -> DepthBlip2MethodConfig:
    values = {**SMALL, "train_qformer": True, "adaptive": "image", "canonical_focal_px": 32.0, "dropout": 0.0}
    values |= {"encoder": str(place / "encoder.safetensors"), "valid_range": (0.1, 10.0), "start_at_bins": True}
    return DepthBlip2MethodConfig(**{**values, **changes})


def recipe(place: Path, network: DepthBlip2MethodConfig, **changes: object) -> Recipe:
    values = {
        "name": "tiny",
        "method": "depth_blip2",
        "train": place / "train",
        "validation": place / "validation",
        "steps": 4,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "precision": "32-true",
        "validate_every": 2,
        "log_every": 1,
        "augmentation": AugmentationConfig(),
    }
    return Recipe(network=network, **{**values, **changes})


@pytest.fixture(scope="module")
def batch(place: Path) -> Batch:
    rooms = RoomSet(place / "validation")
    return rooms.__getitems__(list(range(len(rooms))))


def learning(method: DepthBlip2Method) -> set[str]:
    return {name for name, value in method.named_parameters() if value.requires_grad}


def test_only_the_mlp_learns_from_few_pictures(place: Path, qformer_file: Path, batch: Batch) -> None:
    method = DepthBlip2Method(few_shot(place, qformer_file))
    expected = {f"head.bins.{key}.{kind}" for key in (0, 2, 4, 7, 10, 12) for kind in ("weight", "bias")}
    assert learning(method) == expected
    assert {f"head.bins.{name}" for name, _ in method.trained.named_parameters()} == expected
    assert sum(value.numel() for value in method.trained.parameters()) == 83_463
    before = {name: value.clone() for name, value in method.state_dict().items()}
    optimizer = torch.optim.SGD(method.trained.parameters(), lr=0.1)
    method.train().losses(batch)["loss"].backward()
    assert {name for name, value in method.named_parameters() if value.grad is not None} == expected
    optimizer.step()
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == expected
    assert not method.head.qformer.training
    assert not method.encoder.training
    assert method.head.bins.training


def test_the_q_former_learns_where_it_is_asked_to(place: Path, qformer_file: Path, batch: Batch) -> None:
    method = DepthBlip2Method(few_shot(place, qformer_file, train_qformer=True, adaptive="fixed"))
    assert learning(method) == {f"head.{name}" for name, _ in method.head.named_parameters()}
    assert not any(".bins." in name for name in learning(method))
    method.train().losses(batch)["loss"].backward()
    # Several processes wait for the gradient of whatever may have one.
    assert {name for name, value in method.named_parameters() if value.grad is not None} == learning(method)
    assert all(value.grad is None for value in method.encoder.parameters())
    assert method.head.qformer.training


def test_a_q_former_from_nothing_learns_whole(place: Path, batch: Batch) -> None:
    method = DepthBlip2Method(from_nothing(place))
    assert method.head.config.layer == 11
    assert method.head.config.qformer.image_width == 32
    method.train().losses(batch)["loss"].backward()
    wanted = {name for name, value in method.named_parameters() if value.grad is not None}
    assert wanted == learning(method) == {f"head.{name}" for name, _ in method.head.named_parameters()}
    assert any(name.startswith("head.bins.") for name in wanted)


def test_prompts_have_a_vocabulary_of_their_own_words() -> None:
    ids, size = word_ids(("a near wall", "A far wall"))
    assert ids == ((1, 3, 4, 5, 2), (1, 3, 6, 5, 2))
    assert size == 7
    lengths = [len(prompt) for prompt in word_ids(PROMPTS)[0]]
    assert lengths == [6, 7, 6, 8, 8, 6, 6]


@torch.no_grad()
def test_the_loss_is_half_the_mean_error_and_half_its_root_mean_square(place: Path, batch: Batch) -> None:
    method = DepthBlip2Method(from_nothing(place)).eval()
    losses = method.losses(batch)
    depth = method.predict(batch.images, (32, 32)).double().numpy()
    truth = batch.depth.double().numpy()
    zoom = (batch.focal / 32).double().numpy()[:, None, None]
    valid = (truth > 0.1) & (truth < 10)
    error = (depth - truth / zoom)[valid]
    assert float(losses["l1"]) == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert float(losses["rmse"]) == pytest.approx(math.sqrt((error**2).mean()), rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(0.5 * float(losses["l1"]) + 0.5 * float(losses["rmse"]), rel=1e-5)


def test_errors_of_nothing_are_nothing() -> None:
    prediction = torch.full((1, 2, 2), 3.0, requires_grad=True)
    target, mask = torch.full((1, 2, 2), 3.0), torch.zeros(1, 2, 2, dtype=torch.bool)
    for valid in (mask, ~mask):
        absolute, squared = depth_errors(prediction, target, valid)
        (absolute + squared).backward()
        assert float(absolute.detach()) == 0
        assert float(squared.detach()) < 1e-5
        assert torch.isfinite(prediction.grad).all()


def test_the_distances_start_where_they_are_asked_to(place: Path, batch: Batch) -> None:
    bins = (0.3, 1.0, 2.0, 4.0, 5.0, 6.0, 9.0)
    method = DepthBlip2Method(from_nothing(place, bins=bins)).eval()
    with torch.no_grad():
        features = method._encode(method.preprocess(batch.images))
        found = method.head.distances(features)
    assert found.shape == (len(batch), 7)
    assert found[0].tolist() == pytest.approx(bins, abs=0.1)


def test_training_sees_pictures_as_the_node_does(place: Path, batch: Batch) -> None:
    method = DepthBlip2Method(from_nothing(place)).eval()
    expected = method.metres(batch)
    estimator = DepthEstimator(method.encoder, {"x": method.head}, "cpu", "fp32", {"x": 32.0})
    matrices = np.zeros((len(batch), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = batch.focal
    matrices[:, 2, 2] = 1
    torch.testing.assert_close(estimator(batch.images, matrices)["x"].depth, expected, rtol=1e-5, atol=0)
    assert expected.std() > 0


@torch.no_grad()
def test_flip_averaging_is_symmetric(place: Path, qformer_file: Path, batch: Batch) -> None:
    once = DepthBlip2Method(few_shot(place, qformer_file)).eval()
    both = DepthBlip2Method(few_shot(place, qformer_file, flip_averaging=True)).eval()
    both.load_state_dict(once.state_dict())
    turned = batch.images.flip(2)
    expected = (once.predict(batch.images, (32, 32)) + once.predict(turned, (32, 32)).flip(2)) / 2
    torch.testing.assert_close(both.predict(batch.images, (32, 32)), expected)
    torch.testing.assert_close(both.predict(turned, (32, 32)), expected.flip(2))
    assert (once.predict(batch.images, (32, 32)) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_a_crop_is_all_that_is_looked_at(place: Path, qformer_file: Path, batch: Batch) -> None:
    crop = (4, 2, 28, 30)  # left, top, right, bottom
    whole = DepthBlip2Method(few_shot(place, qformer_file, canonical_focal_px=32.0)).eval()
    cut = DepthBlip2Method(few_shot(place, qformer_file, canonical_focal_px=32.0, crop=crop)).eval()
    cut.load_state_dict(whole.state_dict())
    inside = whole.predict(batch.images[:, 2:30, 4:28].contiguous(), (28, 24))
    depth = cut.predict(batch.images, (32, 32))
    torch.testing.assert_close(depth[:, 2:30, 4:28], inside)
    torch.testing.assert_close(depth[:, 0], depth[:, 2])
    torch.testing.assert_close(depth[:, :, 31], depth[:, :, 27])
    twice = cut.predict(batch.images, (64, 64))
    assert twice.shape == (len(batch), 64, 64)
    torch.testing.assert_close(twice[:, 4:60, 8:56], whole.predict(batch.images[:, 2:30, 4:28].contiguous(), (56, 48)))
    # What is cut out fills the encoder's input: it sees with a longer lens.
    torch.testing.assert_close(cut.zoom(batch), whole.zoom(batch) * (32 / 28 * 32 / 24) ** 0.5)
    noise = replace(batch, images=batch.images.clone(), depth=batch.depth.clone())
    noise.images[:, :2] = 0
    noise.depth[:, :, 28:] = 9.0
    torch.testing.assert_close(cut.losses(noise)["loss"], cut.losses(batch)["loss"])
    with pytest.raises(BadInput, match=r"\[4, 2, 28, 30\] does not lie in pictures of 20x32"):
        cut.predict(batch.images[:, :, :20], (32, 20))


def test_a_files_settings_hold_until_the_recipe_says_otherwise(place: Path, qformer_file: Path, tmp_path: Path) -> None:
    plain = DepthBlip2Method(few_shot(place, qformer_file)).head.config
    assert (plain.layer, plain.temperature, plain.prompts, plain.layout) == (7, 0.2, PROMPTS, "v1")
    assert (plain.adaptive, plain.range_m) == ("published", (0.1, 10.0))
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "near", "far"]))
    changed = DepthBlip2Method(
        few_shot(
            place,
            qformer_file,
            prompts=("near", "far"),
            bins=(1.0, 4.0),
            vocabulary=str(vocabulary),
            layout="v2",
            temperature=0.7,
            layer=9,
            map_size=(4, 6, 1),
        )
    ).head.config
    assert changed.token_ids == ((2, 5, 3), (2, 6, 3))
    assert (changed.bins, changed.layout, changed.temperature) == ((1.0, 4.0), "v2", 0.7)
    assert (changed.layer, changed.map_size) == (9, (4, 6, 1))
    assert changed.qformer == plain.qformer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"qformer": ""}, "needs a Q-Former: give network.qformer"),
        ({"adaptive": "fixed"}, "Nothing of DepthBLIP-2 would learn"),
        ({"crop": (5, 5, 3, 9)}, "left, top, right and bottom"),
        ({"bins": (1.0, 2.0)}, "7 prompts .* but 2 bins"),
        ({"layer": 13}, "network.layer is 13, but the encoder has 0 to 12"),
        ({"prompts": ("a", "b")}, "give --vocab"),
        ({"qformer": "encoder.safetensors"}, "holds encoder and no DepthBLIP-2 head"),
        ({"encoder": "other.safetensors"}, "is for encoder tiny .* but the recipe's encoder is tiny"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    place: Path, qformer_file: Path, change: dict[str, object], said: str
) -> None:
    write_encoder(place / "other.safetensors", seed=8)
    named = {key: str(place / value) if str(value).endswith("tensors") else value for key, value in change.items()}
    with pytest.raises(BadInput, match=said) as error:
        DepthBlip2Method(few_shot(place, qformer_file, **named))
    assert "\n" not in str(error.value)


def test_an_altered_q_former_is_refused(place: Path, qformer_file: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(qformer_file)
    head = checkpoint.build_head()
    del head.ln_vision
    save_checkpoint(tmp_path / "altered.safetensors", checkpoint.metadata, head)
    with pytest.raises(BadInput, match=r"altered.safetensors does not hold the Q-Former .*ln_vision"):
        DepthBlip2Method(few_shot(place, tmp_path / "altered.safetensors"))


def test_few_shot_training_exports_what_it_learnt(place: Path, qformer_file: Path, tmp_path: Path) -> None:
    network = few_shot(place, qformer_file, adaptive="image")
    few = {"samples": 4, "validation_samples": 2, "validation": place / "train", "epochs": 6, "steps": None}
    tiny = recipe(place, network, **few, ema_decay=0.0, gradient_clip=0.0, validate_every=3)
    training = fit(tiny, tmp_path / "whole")
    assert isinstance(training.method, DepthBlip2Method)
    state = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(".qformer." in name for name in state), "frozen weights do not belong into checkpoints"
    trained = load_trained(tmp_path / "whole" / "last.ckpt", tiny, "raw")
    assert trained.method.started_from == "the Q-Former of imported from x.pth"
    (file,) = export(trained, tiny, tmp_path / "out")
    assert file.name == "depth_blip2.safetensors"
    checkpoint = load_checkpoint(file)
    assert checkpoint.metadata.encoder_identity == training.method._identity
    started = "going on from the Q-Former of imported from x.pth on the frozen encoder tiny"
    assert started in checkpoint.metadata.trained_on
    head = checkpoint.build_head()
    batch = RoomSet(place / "validation").__getitems__([0, 1])
    features = training.method._encode(training.method.preprocess(batch.images))
    training.method.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            head(features, (32, 32)).depth, training.method.predict(batch.images, (32, 32)), rtol=1e-5, atol=0
        )


def test_an_interrupted_training_goes_on_exactly(place: Path, tmp_path: Path) -> None:
    from clip_depth_training.fitting.interruption import Interrupted

    tiny = recipe(place, from_nothing(place, dropout=0.1))
    fit(tiny, tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(tiny, tmp_path / "parts", stop_after=2)
    fit(tiny, tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "whole" / "last.ckpt", tmp_path / "parts" / "last.ckpt")


def test_the_average_is_measured_with_its_own_constants(place: Path) -> None:
    """Layer 0's output for the prompts is kept between images: exchanged weights must not find the others'."""
    training = MethodTraining(recipe(place, from_nothing(place)))
    method, batch = training.method.eval(), RoomSet(place / "validation").__getitems__([0])
    with torch.no_grad():
        own = method.metres(batch)
        for value in training.average.module.parameters():
            value.mul_(1.5)
        from clip_depth_training.fitting.averaging import exchanged

        with exchanged(method.trained, training.average.module):
            other = method.metres(batch)
            fresh = DepthBlip2Method(from_nothing(place)).eval()
            fresh.head.load_state_dict(method.head.state_dict())
            torch.testing.assert_close(other, fresh.metres(batch))
        assert (other - own).abs().max() > 1e-4
        assert torch.equal(method.metres(batch), own)


def test_weights_trained_on_another_q_former_are_refused(place: Path, qformer_file: Path, tmp_path: Path) -> None:
    few = few_shot(place, qformer_file)
    fit(recipe(place, few, steps=2), tmp_path / "run")
    checkpoint = load_checkpoint(qformer_file)
    head = checkpoint.build_head()
    head.qformer.query_tokens.mul_(2)
    save_checkpoint(tmp_path / "other.safetensors", checkpoint.metadata, head)
    changed = recipe(place, replace(few, qformer=str(tmp_path / "other.safetensors")), steps=2)
    with pytest.raises(BadInput, match="was trained on another encoder or Q-Former"):
        load_trained(tmp_path / "run" / "last.ckpt", changed)


def test_the_card_names_the_crop(place: Path, qformer_file: Path, tmp_path: Path) -> None:
    method = DepthBlip2Method(few_shot(place, qformer_file, crop=(4, 2, 28, 30)))
    (file,) = method.export(tmp_path, Provenance("tiny", "Something."))
    told = load_checkpoint(file).metadata.trained_on
    assert told == "Something. Pictures were cut to rows 2 to 30 and columns 4 to 28."


def test_a_small_q_former_learns_the_rooms(place: Path) -> None:
    """Sixty steps on pictures whose brightness is their depth: the error falls well below that of any constant."""
    torch.manual_seed(0)
    method = DepthBlip2Method(from_nothing(place, bins=(0.3, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0))).train()
    rooms = RoomSet(place / "train")
    batch = rooms.__getitems__(list(range(len(rooms))))
    optimizer = torch.optim.AdamW(method.trained.parameters(), lr=3e-3)
    target = batch.depth / method.zoom(batch)
    constant = float((target - target.median()).abs().mean())
    for _ in range(60):
        optimizer.zero_grad()
        losses = method.losses(batch)
        losses["loss"].backward()
        optimizer.step()
    assert float(losses["l1"].detach()) < 0.5 * constant


@pytest.mark.parametrize("name", ["depth_blip2_fewshot_nyu", "depth_blip2_fewshot_rooms"])
def test_shipped_recipes_load(name: str) -> None:
    loaded = Recipe.load(name)
    assert isinstance(loaded.network, DepthBlip2MethodConfig)


def test_the_papers_recipe_is_the_papers() -> None:
    paper = Recipe.load("depth_blip2_fewshot_nyu")
    assert (paper.samples, paper.validation_samples, paper.batch_size, paper.epochs) == (16, 8, 16, 50)
    assert paper.train == paper.validation
    assert (paper.learning_rate, paper.weight_decay, paper.decay_norms_and_biases) == (1e-3, 0.01, True)
    assert paper.schedule is not None
    assert (paper.schedule.every, paper.schedule.factor, paper.warm_up) == (20, 0.1, 0.0)
    network = paper.network
    assert (network.l1_weight, network.rmse_weight, network.adaptive) == (0.5, 0.5, "published")
    assert (network.train_qformer, network.valid_range, network.crop) == (False, (0.001, 10.0), (60, 56, 604, 472))
    light = paper.augmentation
    assert light.flip == 0.5
    assert (light.rotation, light.probability, light.saturation, light.noise, light.blur) == (0, 0, 0, 0, 0)


def test_16_bits_train_with_a_sum_of_32(place: Path, batch: Batch, tmp_path: Path) -> None:
    method = DepthBlip2Method(from_nothing(place)).eval()
    expected = method.metres(batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = method.metres(batch)
        losses = method.losses(batch)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.1
    assert losses["loss"].dtype == torch.float32
    fit(recipe(place, from_nothing(place), precision="bf16-mixed", steps=2), tmp_path)
    assert (tmp_path / "last.ckpt").is_file()
