"""SPACE-CLIP's method: the node's own preprocessing and head, the encoder untouched."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import network

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.fitting.fit import as_yaml
from clip_depth_training.methods.base import Provenance
from clip_depth_training.methods.frozen_encoder import open_encoder
from clip_depth_training.methods.space_clip import LivingReLU, SpaceClipMethodConfig
from clip_depth_training.recipe import Recipe


@pytest.fixture
def method(tiny_recipe):
    torch.manual_seed(0)
    return tiny_recipe.build().eval()


@pytest.fixture(scope="module")
def batch(tiny_recipe):
    rooms = RoomSet(tiny_recipe.validation)
    return rooms.__getitems__(list(range(len(rooms))))


def test_training_sees_pictures_as_the_node_does(method, batch, tiny_recipe):
    expected = method.metres(batch)
    heads, focal = {"space_clip": method.head}, {"space_clip": tiny_recipe.network.canonical_focal_px}
    estimator = DepthEstimator(method.encoder, heads, "cpu", "fp32", focal)
    matrices = np.zeros((len(batch), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = batch.focal
    matrices[:, 2, 2] = 1
    depth = estimator(batch.images, matrices)["space_clip"].depth
    assert torch.allclose(depth, expected, rtol=1e-5)
    assert expected.std() > 0


def test_only_the_head_gets_gradients_and_the_encoder_stays_as_it_was(method, batch):
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    method.train()
    method.losses(batch)["loss"].backward()
    assert all(value.grad is None for value in method.encoder.parameters())
    wanted = {name for name, value in method.head.named_parameters() if value.requires_grad}
    assert {name for name, value in method.head.named_parameters() if value.grad is not None} == wanted
    assert not any(name.startswith("auxiliary_heads.2") for name in wanted)  # its weight in the loss is 0
    assert all(torch.equal(value, before[name]) for name, value in method.encoder.state_dict().items())


def test_an_encoder_of_16_bits_gives_nearly_the_same_metres(method, batch):
    expected = method.metres(batch)
    method.compute_frozen_in(torch.bfloat16)
    assert method.encoder.dtype == torch.bfloat16
    depth = method.metres(batch)
    assert depth.dtype == torch.float32
    assert torch.allclose(depth, expected, rtol=0.03)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(method.metres(batch), expected, rtol=0.05)


@pytest.mark.parametrize("activation", ["living", "relu"])
def test_the_last_activation_is_relu_in_evaluation(tiny_recipe, activation):
    changed = replace(tiny_recipe.network, final_activation=activation, starting_depth=None)
    method = replace(tiny_recipe, network=changed).build()
    last = method.head.depth_head[-1]
    values = torch.tensor([-1.0, 0.1, 3.0])
    assert torch.equal(last.eval()(values), torch.relu(values))
    positive = (last.train()(values) > 0).tolist()
    assert positive == ([True, True, True] if activation == "living" else [False, True, True])
    assert method.head.state_dict().keys() == tiny_recipe.build().head.state_dict().keys()


def test_the_living_activation_joins_smoothly():
    depth = torch.tensor([0.5 - 1e-3, 0.5, 0.5 + 1e-3], requires_grad=True)
    values = LivingReLU().train()(depth)
    values.sum().backward()
    assert values.tolist() == pytest.approx(depth.tolist(), abs=1e-5)
    assert depth.grad.tolist() == pytest.approx([1, 1, 1], abs=3e-3)


def test_a_supervision_size_of_its_own_hardly_changes_the_loss_of_flat_scenes(method, batch, tiny_recipe):
    same = replace(batch, depth=batch.depth[:, :1, :1].expand_as(batch.depth).contiguous())
    full = replace(tiny_recipe, network=replace(tiny_recipe.network, supervision_size=None)).build().eval()
    full.head.load_state_dict(method.head.state_dict())
    with torch.no_grad():
        costs = [float(one.losses(same)["loss"]) for one in (full, method)]
    assert costs[0] == pytest.approx(costs[1], rel=0.05)


def test_layers_scale_with_the_tower():
    config = SpaceClipMethodConfig(encoder="x").head_config(1024, 24)
    assert config.semantic_layers == (24, 18, 12, 6)
    assert config.structural_layers == (4, 2, 0)


def test_taps_are_keys_of_a_recipe(tiny_recipe, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(as_yaml(tiny_recipe))
    changes = ["network.semantic_layers=[11, 8, 7, 4]", "network.structural_layers=[5, 4, 1]"]
    method = Recipe.load(str(file), changes).build().eval()
    assert method.head.config.semantic_layers == (11, 8, 7, 4)
    assert method.head.config.structural_layers == (5, 4, 1)
    assert method.head.layers == {1, 4, 5, 7, 8, 11}
    exported = load_checkpoint(method.export(tmp_path, Provenance("tiny", "nothing"))[0]).build_head()
    assert exported.layers == method.head.layers
    mixed = replace(SpaceClipMethodConfig(encoder="x"), structural_layers=(7, 1, 1)).head_config(1024, 24)
    assert (mixed.semantic_layers, mixed.structural_layers) == ((24, 18, 12, 6), (7, 1, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"semantic_layers": (12, 9, 6)}, "semantic_layers is .* give 4 numbers of hidden states, or none"),
        ({"structural_layers": (2, 1, 0, 0)}, "structural_layers is .* give 3 numbers of hidden states, or none"),
        ({"semantic_layers": (13, 9, 6, 3)}, r"semantic_layers is \[13, 9, 6, 3\], but encoder .* has 12 blocks"),
        ({"structural_layers": (2, 1, -1)}, "structural_layers is .* from 0 to 12"),
    ],
)
def test_taps_that_the_tower_has_not_are_one_sentence(tiny_recipe, changes, said):
    with pytest.raises(BadInput, match=said) as refusal:
        replace(tiny_recipe, network=replace(tiny_recipe.network, **changes)).build()
    assert str(refusal.value).count(". ") == 0, "one sentence"


def test_what_is_no_encoder_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(BadInput, match="no model 'ViT-Z'"):
        open_encoder("ViT-Z")
    method = tiny_recipe.build()
    (file,) = method.export(tmp_path, Provenance("tiny", "nothing"))
    with pytest.raises(BadInput, match="holds no encoder"):
        replace(tiny_recipe, network=network(file)).build()
