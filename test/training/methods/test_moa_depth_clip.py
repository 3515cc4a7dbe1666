"""MoA-DepthCLIP's method: what trains, on which losses, with which words, and the file that comes out."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import checkpoint, log_of, recipe_in, same_weights, write_encoder, write_text_tower

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import HEADS
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipHead
from clip_depth_ros.errors import BadInput
from clip_depth_training import cli
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.export import export, load_trained
from clip_depth_training.fitting.fit import as_yaml, fit
from clip_depth_training.fitting.interruption import Interrupted
from clip_depth_training.fitting.training import rate
from clip_depth_training.methods import METHODS
from clip_depth_training.methods.base import Provenance
from clip_depth_training.methods.moa_depth_clip import MoaDepthClipMethodConfig, moa_losses
from clip_depth_training.methods.prompts import NYU_SCENES, OUTDOOR_SCENES, TRAINING_PARTS, embed_prompts, fill
from clip_depth_training.recipe import Recipe

SCENES = ("kitchen", "long corridor")
CAPTIONS = tuple(f"a photo of a {scene}" for scene in SCENES)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METHODS, "moa_depth_clip", "clip_depth_training.methods.moa_depth_clip:MoaDepthClipMethod")
    monkeypatch.setitem(HEADS, "moa_depth_clip", MoaDepthClipHead)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe that trains in seconds, with an encoder that has its text tower beside it."""
    folder = tmp_path_factory.mktemp("moa")
    encoder = write_encoder(folder / "encoder.safetensors")
    write_text_tower(folder / TRAINING_PARTS, CAPTIONS)
    network = MoaDepthClipMethodConfig(
        encoder=str(encoder),
        scenes=SCENES,
        bottleneck=4,
        gate_hidden=8,
        bins=16,
        valid_range=(0.1, 10.0),
        canonical_focal_px=32.0,
        supervision_size=(16, 16),
    )
    return recipe_in(folder, method="moa_depth_clip", network=network)


@pytest.fixture
def method(recipe):
    torch.manual_seed(0)
    return recipe.build()


@pytest.fixture(scope="module")
def batch(recipe):
    rooms = RoomSet(recipe.validation)
    return rooms.__getitems__(list(range(len(rooms))))


def tuned_and_outputs():
    """The names of what trains beside adapters."""
    block = {f"{layer}.{part}" for layer in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj") for part in ("weight", "bias")}
    block |= {"attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias"}
    names = {f"head.tuned.blocks.{index}.{name}" for index in range(4) for name in block}
    return names | {f"head.{name}.{part}" for name in ("classification", "regression") for part in ("weight", "bias")}


def only_these_are_trained(method, batch, expected):
    assert {name for name, value in method.named_parameters() if value.requires_grad} == expected
    assert {f"head.{name}" for name, _ in method.trained.named_parameters()} == expected
    method.train()
    assert not method.encoder.training
    method.losses(batch)["loss"].backward()
    assert {name for name, value in method.named_parameters() if value.grad is not None} == expected


def test_only_adapters_tuned_blocks_and_heads_are_trained(method, batch):
    module = {"down.weight", "down.bias", "up.weight", "up_bias"}
    module |= {f"gate.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    adapters = {f"head.adapters.{index}.{name}" for index in range(4) for name in module}
    only_these_are_trained(method, batch, adapters | tuned_and_outputs())


def test_the_composite_loss_alone_trains_tuned_blocks_and_heads(recipe, batch, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(as_yaml(recipe))
    alone = Recipe.load(str(file), ["network.experts=0"])
    method = alone.build()
    only_these_are_trained(method, batch, tuned_and_outputs())
    assert set(method.losses(batch)) == {"loss", "cross_entropy", "l1", "silog"}
    fit(replace(alone, steps=2), tmp_path / "run")
    assert len(log_of(tmp_path / "run", "l1")) == 2
    assert not log_of(tmp_path / "run", "gate_entropy")
    trained = load_trained(tmp_path / "run/last.ckpt", alone, "average")
    head = load_checkpoint(export(trained, alone, tmp_path / "out")[0]).build_head()
    features = trained.method.encoder(trained.method.preprocess(batch.images), head.layers)
    with torch.no_grad():
        assert torch.equal(head(features, (8, 8)).depth, trained.method.head(features, (8, 8)).depth)


def test_gradients_reach_the_first_adapter_through_the_frozen_blocks(method, batch):
    method.double()
    method.train()
    weight = method.head.adapters[0].up.weight
    method.losses(batch)["loss"].backward()
    place = tuple(int(index) for index in np.unravel_index(int(weight.grad.abs().argmax()), weight.shape))
    costs = []
    for step in (1e-4, -1e-4):
        with torch.no_grad():
            weight[place] = step
            costs.append(float(method.losses(batch)["loss"]))
    expected = (costs[0] - costs[1]) / 2e-4
    assert abs(expected) > 1e-3
    assert float(weight.grad[place]) == pytest.approx(expected, rel=0.02)


def test_a_few_steps_lower_the_loss_and_leave_the_encoder_as_it_was(method, batch):
    method.train()
    identity, frozen = method.encoder.identity(), method.frozen_identity
    blocks = {name: value.clone() for name, value in method.head.tuned.state_dict().items()}
    optimizer = torch.optim.AdamW(method.trained.parameters(), 3e-3)
    costs = []
    for _ in range(12):
        losses = method.losses(batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        costs.append(float(losses["loss"].detach()))
    assert costs[-1] < 0.7 * costs[0]
    assert 0 < float(losses["gate_entropy"]) <= 1
    assert method.encoder.identity() == identity == frozen
    assert not any(torch.equal(value, blocks[name]) for name, value in method.head.tuned.state_dict().items())


def test_loss_parts_against_hand_numbers():
    # Four bins of 2 m; every pixel gives them 1/10, 2/10, 3/10 and 4/10.
    logits = torch.tensor([1.0, 2.0, 3.0, 4.0]).log().view(1, 4, 1, 1).expand(1, 4, 1, 5)
    target = torch.tensor([[[1.0, 3.0, 7.9, 0.0, float("nan")]]])
    mask = torch.tensor([[[True, True, True, False, False]]])
    regression = torch.tensor([[[2.0, 6.0, 15.8, 3.0, 3.0]]])
    parts = moa_losses(logits, regression, target, mask, (0.0, 8.0))
    assert list(parts) == ["cross_entropy", "l1", "silog"]
    assert float(parts["cross_entropy"]) == pytest.approx(-(math.log(0.1) + math.log(0.2) + math.log(0.4)) / 3)
    assert float(parts["l1"]) == pytest.approx((1 + 3 + 7.9) / 3)
    # Twice too far everywhere: no variance, and the mean of g is log 2.
    assert float(parts["silog"]) == pytest.approx(10 * 0.85 * math.log(2) ** 2, rel=1e-5)
    regression = torch.tensor([[[1.0, 6.0, 7.9, 3.0, 3.0]]])  # g = 0, log 2, 0: mean log 2 / 3, variance 2/9 log 2 ^ 2
    silog = moa_losses(logits, regression, target, mask, (0.0, 8.0))["silog"]
    assert float(silog) == pytest.approx(10 * math.log(2) ** 2 * (2 / 9 + 0.85 / 9), rel=1e-5)


def test_log_bins_are_taught_by_ratio():
    # Edges 0.1, 1, 10, 100, 1000 m.
    target = torch.tensor([[[0.1, 0.9, 1.1, 50.0, 999.0, 5000.0]]])
    logits = torch.full((1, 4, 1, 6), -100.0)
    for place, index in enumerate((0, 0, 1, 2, 3, 3)):
        logits[0, index, 0, place] = 100.0
    everywhere = torch.ones_like(target, dtype=torch.bool)
    parts = moa_losses(logits, torch.ones_like(target), target, everywhere, (0.1, 1000.0), "log")
    assert parts["cross_entropy"] == pytest.approx(0.0, abs=1e-6)
    assert moa_losses(logits, torch.ones_like(target), target, everywhere, (0.1, 1000.0))["cross_entropy"] > 10


def test_what_is_beyond_the_bins_is_taught_as_their_edge():
    logits = torch.zeros(1, 4, 1, 2)
    logits[:, 3, :, 0] = logits[:, 0, :, 1] = 50.0  # sure of the last bin, sure of the first
    target, regression = torch.tensor([[[20.0, 0.2]]]), torch.tensor([[[9.0, 1.0]]])
    parts = moa_losses(logits, regression, target, torch.ones(1, 1, 2, dtype=torch.bool), (1.0, 9.0))
    assert {name: float(value) for name, value in parts.items()} == pytest.approx(
        {"cross_entropy": 0, "l1": 0, "silog": 0}, abs=1e-6
    )


def test_the_loss_is_the_weighted_sum_and_pixels_without_truth_do_not_count(recipe, batch):
    network = replace(recipe.network, cross_entropy_weight=2.0, l1_weight=0.25, silog_weight=3.0)
    method = replace(recipe, network=network).build().eval()
    with torch.no_grad():
        losses = method.losses(batch)
        expected = 2 * losses["cross_entropy"] + 0.25 * losses["l1"] + 3 * losses["silog"]
        assert float(losses["loss"]) == pytest.approx(float(expected))
        depth = batch.depth.clone()
        depth[1:] = 0
        one = replace(batch, images=batch.images[:1], depth=batch.depth[:1], focal=batch.focal[:1])
        assert float(method.losses(replace(batch, depth=depth))["loss"]) == pytest.approx(
            float(method.losses(one)["loss"]), rel=1e-5
        )
        nothing = method.losses(replace(batch, depth=torch.zeros_like(batch.depth)))
    assert math.isfinite(float(nothing["loss"]))


def test_training_sees_pictures_as_the_node_does(method, batch, recipe):
    method.eval()
    expected = method.metres(batch)
    estimator = DepthEstimator(method.encoder, {"moa_depth_clip": method.head}, "cpu", "fp32", {"moa_depth_clip": 32.0})
    matrices = np.zeros((len(batch), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = batch.focal
    matrices[:, 2, 2] = 1
    depth = estimator(batch.images, matrices)["moa_depth_clip"].depth
    assert torch.allclose(depth, expected, rtol=1e-5)
    assert expected.std() > 0


def test_an_encoder_of_16_bits_gives_nearly_the_same_metres(method, batch):
    method.eval()
    expected = method.metres(batch)
    method.compute_frozen_in(torch.bfloat16)
    assert method.encoder.dtype == torch.bfloat16
    assert torch.allclose(method.metres(batch), expected, rtol=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(method.metres(batch), expected, rtol=0.08)
        method.train()
        method.losses(batch)["loss"].backward()
    first = method.head.adapters[0].up.weight.grad
    assert first.dtype == torch.float32
    assert first.abs().max() > 0


def test_the_context_is_the_mean_of_the_prompts_directions(method, recipe, tmp_path):
    text = write_text_tower(tmp_path / "same.safetensors", CAPTIONS)
    with torch.no_grad():
        embeddings = text([f"a photo of a {scene}" for scene in SCENES])
    expected = (embeddings / embeddings.norm(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(method.head.context, expected, rtol=0, atol=1e-6)
    assert method.head.config.prompts == ("a photo of a kitchen", "a photo of a long corridor")
    elsewhere = replace(recipe.network, text=str(tmp_path / "same.safetensors"))
    torch.testing.assert_close(replace(recipe, network=elsewhere).build().head.context, expected, rtol=0, atol=1e-6)
    none = replace(recipe, network=replace(recipe.network, scenes=(), scene_set="none")).build()
    assert none.head.context.shape == (0,)
    assert none.head.classification.in_features == 32


def test_words_without_a_text_tower_are_refused(recipe, tmp_path):
    lonely = write_encoder(tmp_path / "encoder.safetensors")
    with pytest.raises(BadInput, match=r"no clip_training\.safetensors beside .* name a text tower"):
        replace(recipe, network=replace(recipe.network, encoder=str(lonely))).build()
    with pytest.raises(BadInput, match="never learnt dinette:"):
        replace(recipe, network=replace(recipe.network, scenes=("kitchen", "dinette"))).build()
    with pytest.raises(BadInput, match="NAME/TAG"):
        embed_prompts(["a"], "x.safetensors", text="ViT-B-32")
    with pytest.raises(BadInput, match="no place for a scene"):
        fill(["a photo"], ["kitchen"])
    with pytest.raises(BadInput, match="scene_set is 'moon'"):
        MoaDepthClipMethodConfig(encoder="x", scene_set="moon")
    with pytest.raises(BadInput, match=r"starting_depth is 20\.0 m"):
        MoaDepthClipMethodConfig(encoder="x", starting_depth=20.0)
    save_file(load_file(str(lonely)), tmp_path / TRAINING_PARTS)
    with pytest.raises(BadInput, match=r"is not a clip_training\.safetensors"):
        replace(recipe, network=replace(recipe.network, encoder=str(lonely))).build()


def test_a_text_tower_of_open_clip_embeds_prompts():
    torch.manual_seed(0)
    embeddings = embed_prompts(fill(["a photo of a {scene}"], NYU_SCENES[:3]), "ViT-S-32-alt")
    assert embeddings.shape == (3, 256)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_what_is_exported_is_what_was_trained(method, batch, tmp_path):
    with torch.no_grad():
        for value in method.trained.parameters():
            value.add_(torch.randn_like(value) * 0.05)
    method.eval()
    (file,) = method.export(tmp_path, Provenance("tiny", "four rooms", "a camera"))
    assert file.name == "moa_depth_clip.safetensors"
    checkpoint = load_checkpoint(file)
    metadata = checkpoint.metadata
    assert (metadata.method, metadata.trained_on, metadata.canonical_focal_px) == ("moa_depth_clip", "four rooms", 32.0)
    assert metadata.encoder_identity == method.encoder.identity()
    assert metadata.head["prompts"] == ["a photo of a kitchen", "a photo of a long corridor"]
    head = checkpoint.build_head()
    features = method.encoder(method.preprocess(batch.images), head.layers)
    with torch.no_grad():
        expected, loaded = method.head(features, (24, 32)), head(features, (24, 32))
    assert torch.equal(loaded.depth, expected.depth)
    assert torch.equal(loaded.confidence, expected.confidence)


def test_a_training_is_resumed_and_exported_without_the_encoder(recipe, tmp_path, batch):
    with pytest.raises(Interrupted):
        fit(recipe, tmp_path / "run", stop_after=2)
    fit(recipe, tmp_path / "run", resume=True)
    fit(recipe, tmp_path / "whole")
    assert same_weights(tmp_path / "run/last.ckpt", tmp_path / "whole/last.ckpt")
    names = checkpoint(tmp_path / "run")["state_dict"]
    assert not any(name.startswith("method.encoder") for name in names)
    assert any(name.startswith("average.module.tuned.blocks") for name in names)
    trained = load_trained(tmp_path / "run/last.ckpt", recipe, "average")
    (file,) = export(trained, recipe, tmp_path / "out")
    head = load_checkpoint(file).build_head()
    assert isinstance(head, MoaDepthClipHead)
    features = trained.method.encoder(trained.method.preprocess(batch.images), head.layers)
    with torch.no_grad():
        assert torch.equal(head(features, (8, 8)).depth, trained.method.head(features, (8, 8)).depth)


def test_two_processes_at_half_batch_are_one(recipe, tmp_path):
    fit(recipe, tmp_path / "one")
    file, command = tmp_path / "recipe.yaml", tmp_path / "command.py"
    file.write_text(as_yaml(recipe))
    command.write_text(
        "import sys\nfrom clip_depth_training import cli, methods\n"
        f"methods.METHODS['moa_depth_clip'] = {METHODS['moa_depth_clip']!r}\nsys.exit(cli.main())\n"
    )
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", command, "fit", file]
    words += ["-o", tmp_path / "two", "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for column in ("loss", "cross_entropy", "l1", "silog", "raw/metric/abs_rel"):
        one, two = (log_of(tmp_path / name, column) for name in ("one", "two"))
        assert one
        assert two == pytest.approx(one, rel=1e-3), column


def test_the_paper_s_recipe_is_the_papers():
    recipe = Recipe.load("moa_nyu")
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (30, 8, 1e-4)
    assert {rate(recipe, step, 1000) * recipe.learning_rate for step in (0, 1, 10, 500, 999)} == {1e-5}
    network = recipe.network
    assert (network.encoder, network.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert len(set(network.prompts)) == 27
    assert network.prompts[0] == "a photo of a basement"
    assert (network.adapter_blocks, network.tuned_blocks, network.experts) == ((2, 5, 8, 11), 4, 4)
    assert (network.bottleneck, network.gate_hidden, network.temperature) == (64, 128, 2.0)
    assert (network.bins, network.bin_range, network.regression_weight) == (128, (0.001, 10.0), 0.5)
    assert (network.cross_entropy_weight, network.l1_weight, network.silog_weight) == (1.0, 1.0, 0.5)
    assert not set(OUTDOOR_SCENES) & set(NYU_SCENES)


def test_adapters_keep_their_places_on_a_deeper_tower(recipe, tmp_path):
    encoder = write_encoder(tmp_path / "deep.safetensors", layers=24, width=16)
    network = replace(recipe.network, encoder=str(encoder), scenes=(), scene_set="none")
    head = replace(recipe, network=network).build().head
    assert head.config.adapter_blocks == (5, 11, 17, 23)
    assert head.layers == {6}
