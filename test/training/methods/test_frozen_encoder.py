"""Heads on a frozen encoder: going on from a trained one."""

from dataclasses import replace

import pytest
import torch
from tiny import recipe_in, write_encoder, write_text_tower

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.export import Trained, export, load_trained
from clip_depth_training.fitting.fit import fit
from clip_depth_training.methods.moa_depth_clip import MoaDepthClipMethodConfig
from clip_depth_training.methods.prompts import TRAINING_PARTS


@pytest.fixture(scope="module")
def space_clip(tmp_path_factory):
    """The recipe of a head, and the head."""
    folder = tmp_path_factory.mktemp("space_clip")
    return trained_of(recipe_in(folder), folder)


@pytest.fixture(scope="module")
def moa(tmp_path_factory):
    """Likewise, with two scenes."""
    folder = tmp_path_factory.mktemp("moa")
    encoder = write_encoder(folder / "encoder.safetensors")
    write_text_tower(folder / TRAINING_PARTS, ("a photo of a kitchen", "a photo of a hall"))
    network = MoaDepthClipMethodConfig(str(encoder), scenes=("kitchen",), bottleneck=4, gate_hidden=8, bins=16)
    return trained_of(recipe_in(folder, method="moa_depth_clip", network=network), folder)


def trained_of(recipe, folder):
    torch.manual_seed(0)
    (file,) = export(Trained(recipe.build(), "raw", 0), recipe, folder / "weights")
    return recipe, file


def going_on(recipe, file, **changes):
    return replace(recipe, network=replace(recipe.network, start_from=str(file), **changes))


def test_a_head_goes_on_from_a_trained_one_of_another_encoder(space_clip, tmp_path):
    recipe, file = space_clip
    other = write_encoder(tmp_path / "other.safetensors", seed=8)
    more = going_on(recipe, file, encoder=str(other))
    method = more.build()
    before = load_checkpoint(file)
    assert before.metadata.encoder_identity != method.frozen_identity
    state = method.head.state_dict()
    assert state.keys() == before.head.keys()
    assert all(torch.equal(state[name], value) for name, value in before.head.items())
    fit(more, tmp_path / "run")
    trained = load_trained(tmp_path / "run" / "last.ckpt", more, "raw")
    after = trained.method.head.state_dict()
    assert any(not torch.equal(after[name], value) for name, value in before.head.items())
    (written,) = export(trained, more, tmp_path / "weights")
    card = load_checkpoint(written).metadata
    assert card.encoder_identity == method.frozen_identity
    assert "4 steps of 4 pictures, going on from the head " in card.trained_on
    assert f" on the frozen encoder tiny ({method.frozen_identity[:12]})" in card.trained_on
    assert f": {before.metadata.trained_on} The encoder {method.frozen_identity[:12]}: " in card.trained_on


def test_a_card_tells_of_an_encoder_once_however_often_a_head_went_on(space_clip, tmp_path):
    recipe, file = space_clip
    for name in ("second", "third"):
        more = going_on(recipe, file)
        fit(more, tmp_path / name)
        (file,) = export(load_trained(tmp_path / name / "last.ckpt", more, "raw"), more, tmp_path / f"{name}_weights")
    card = load_checkpoint(file).metadata
    assert card.trained_on.count(f"The encoder {card.encoder_identity[:12]}: ") == 1
    assert card.trained_on.count("The head ") == 2
    assert card.trained_on.count(" steps of 4 pictures") == 3


def test_moas_context_is_the_recipes(moa):
    recipe, file = moa
    before = load_checkpoint(file).head
    same, other = (going_on(recipe, file, scenes=scenes).build().head for scenes in (("kitchen",), ("hall",)))
    assert torch.equal(same.context, before["context"])
    assert not torch.equal(other.context, before["context"])
    for name, value in before.items():
        assert name == "context" or torch.equal(other.state_dict()[name], value)
    images = RoomSet(recipe.validation).__getitems__([0, 1]).images
    first, second = (going_on(recipe, file).build().eval().predict(images, (16, 16)) for _ in range(2))
    assert torch.equal(first, second), "nothing random is left where a trained head is given"


def test_what_cannot_be_gone_on_from_is_refused(space_clip, moa, tmp_path):
    recipe, file = space_clip
    cases = (
        (moa[1], {}, "is .*moa_depth_clip.safetensors, whose method is moa_depth_clip: give a head of space_clip"),
        (recipe.network.encoder, {}, "whose method is encoder: give a head of space_clip"),
        (tmp_path / "missing.safetensors", {}, "missing.safetensors"),
        (file, {"channels": (16, 8, 8, 8)}, "does not fit the recipe's head"),
        (file, {"structural_layers": (3, 1, 0)}, "reads the hidden states"),
    )
    for start, changes, said in cases:
        with pytest.raises(BadInput, match=said) as error:
            going_on(recipe, start, **changes).build()
        assert "\n" not in str(error.value)
