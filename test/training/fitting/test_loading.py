"""Few samples of a data set: which ones, and that none is both learnt from and measured on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clip_depth_ros.errors import BadInput
from clip_depth_training.fitting.fit import fit
from clip_depth_training.fitting.loading import SomeOf, TrainingData, open_parts


def test_all_samples_are_used_unless_few_are_asked_for(tiny_recipe):
    train, validation = open_parts(tiny_recipe)
    assert not isinstance(train, SomeOf)
    assert (len(train), len(validation)) == (12, 6)


def test_few_samples_are_drawn_by_the_seed_and_apart(tiny_recipe):
    recipe = replace(tiny_recipe, validation=tiny_recipe.train, samples=5, validation_samples=4)
    train, validation = open_parts(recipe)
    assert (len(train), len(validation)) == (5, 4)
    assert not set(train.indices) & set(validation.indices)
    assert train.indices == open_parts(recipe)[0].indices
    other = open_parts(replace(recipe, seed=7))[0]
    assert other.indices != train.indices
    assert train.indices != sorted(train.indices)[:5]
    everything = open_parts(replace(recipe, samples=8))
    assert sorted(everything[0].indices + everything[1].indices) == list(range(12))


def test_a_part_gives_the_whole_sets_samples(tiny_recipe):
    whole, _ = open_parts(tiny_recipe)
    part, validation = open_parts(replace(tiny_recipe, samples=5))
    assert len(validation) == 6
    assert np.array_equal(part.sample(3).image, whole.sample(part.indices[3]).image)
    got, expected = part.__getitems__([4, 0]), whole.__getitems__([part.indices[4], part.indices[0]])
    assert torch.equal(got.images, expected.images)
    assert torch.equal(got.depth, expected.depth)
    assert part.description["samples"] == 5
    assert part.description["source"].startswith("5 of its 12 samples: ")
    assert part.description["kind"] == whole.description["kind"]


def test_a_training_sees_the_few_alone(tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, steps=None, epochs=2, samples=4, validation_samples=2)
    assert TrainingData(recipe).steps == 2
    fit(recipe, tmp_path)
    assert (tmp_path / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 13}, "samples of the recipe tiny is 13, but there are 12"),
        ({"validation_samples": 7}, "validation_samples of the recipe tiny is 7, but there are 6"),
    ],
)
def test_more_than_there_are_is_refused(tiny_recipe, change, said):
    with pytest.raises(BadInput, match=said):
        TrainingData(replace(tiny_recipe, **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 4}, "both train and validation .* give samples and validation_samples"),
        ({"validation_samples": 4}, "both train and validation"),
        ({"samples": 9, "validation_samples": 4}, "9 and 4, more than the 12"),
    ],
)
def test_one_folder_for_both_must_be_divided(tiny_recipe, change, said):
    with pytest.raises(BadInput, match=said):
        TrainingData(replace(tiny_recipe, validation=tiny_recipe.train, **change))
