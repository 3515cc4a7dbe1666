"""Recipes: every shipped one loads, and what is wrong with a recipe is one sentence."""

from pathlib import Path

import pytest
import yaml

import clip_depth_training
from clip_depth_ros.errors import BadInput
from clip_depth_training.fitting.fit import as_yaml
from clip_depth_training.recipe import Recipe

SHIPPED = sorted(file.stem for file in (Path(clip_depth_training.__file__).parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_and_survive_being_written(name, tmp_path):
    recipe = Recipe.load(name)
    copy = tmp_path / "recipe.yaml"
    copy.write_text(as_yaml(recipe))
    assert Recipe.load(copy) == recipe


@pytest.mark.parametrize(
    ("name", "batch", "size", "farthest"),
    [("space_clip_nyu", 32, None, 10.0), ("space_clip_kitti", 64, (352, 704), 80.0)],
)
def test_paper_recipes_are_the_papers(name, batch, size, farthest):
    recipe = Recipe.load(name)
    assert (recipe.batch_size, recipe.train_size, recipe.epochs, recipe.steps) == (batch, size, 20, None)
    assert (recipe.learning_rate, recipe.final_learning_rate, recipe.warm_up) == (1e-4, 1e-6, 0.05)
    assert (recipe.weight_decay, recipe.decay_norms_and_biases, recipe.gradient_clip) == (0.01, True, 1.0)
    assert (recipe.ema_decay, recipe.seed) == (0.996, 42)
    assert recipe.network.valid_range == (0.001, farthest)
    assert (recipe.network.encoder, recipe.network.pretrained) == ("ViT-B-16-quickgelu", "openai")
    light = recipe.augmentation
    assert (light.rotation, light.flip, light.probability, light.factors) == (1.0, 0.5, 0.5, "uniform")
    assert (light.brightness, light.gamma, light.colour) == (0.1, 0.1, 0.1)
    assert (light.saturation, light.noise, light.blur) == (0.0, 0.0, 0.0)
    # The training split of NYU has 24,231 pairs: 757 whole batches of 32.
    assert recipe.total_steps(24_231) == 20 * (24_231 // batch)


def test_values_can_be_replaced_on_the_command_line():
    changes = ["network.pretrained=", "network.canonical_focal_px=100", "train_size=[32, 48]", "epochs=", "steps=7"]
    recipe = Recipe.load("space_clip_bag", [*changes, "augmentation.blur=1"])
    assert (recipe.network.pretrained, recipe.network.canonical_focal_px) == ("", 100.0)
    assert (recipe.train_size, recipe.steps, recipe.epochs, recipe.augmentation.blur) == ((32, 48), 7, None, 1.0)


def test_a_schedule_and_few_samples_survive_being_written(tmp_path):
    changes = ["schedule={every: 20}", "samples=16", "validation_samples=8"]
    recipe = Recipe.load("space_clip_nyu", changes)
    assert (recipe.schedule.every, recipe.schedule.factor) == (20, 0.1)
    (tmp_path / "recipe.yaml").write_text(as_yaml(recipe))
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


def test_a_recipe_without_new_keys_is_written_as_before():
    """A training that was begun before they existed must be resumable."""
    assert not {"schedule", "samples", "validation_samples"} & set(yaml.safe_load(as_yaml(Recipe.load("demo_clip"))))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lerning_rate=1", "did you mean learning_rate?"),
        ("network.film_hiden=1", "did you mean film_hidden?"),
        ("augmentation.rotations=1", "did you mean rotation?"),
        ("zzz=1", "known keys are"),
        ("steps=5", "either steps or epochs, not both (--set epochs= takes one away)."),
        ("epochs=", "either steps or epochs."),
        ("batch_size=many", "must be int"),
        ("batch_size=1.5", "must be int"),
        ("batch_size=0", "at least 1"),
        ("freeze_normalisation=1", "must be bool"),
        ("train_size=[1, 2, 3]", "a list of 2 values"),
        ("train_size=224", "a list of 2 values"),
        ("precision=fp8", "bf16-mixed or 32-true"),
        ("network.final_activation=gelu", "living or relu"),
        ("augmentation=1", "a section"),
        ("name.first=1", "not a section"),
        ("epochs", "key=value"),
        ("epochs=[", "not YAML"),
        ("method=magic", "space_clip"),
        ("samples=0", "samples of the recipe space_clip_nyu is 0"),
        ("validation_samples=-1", "at least 1"),
        ("schedule=20", "a section"),
        ("schedule.evry=20", "did you mean every?"),
        ("schedule.factor=0.1", "incomplete"),
        ("schedule={every: 0}", "every must be at least 1"),
        ("schedule={every: 2, factor: 1.5}", "at most 1"),
    ],
)
def test_bad_values_are_one_sentence(change, said):
    with pytest.raises(BadInput) as error:
        Recipe.load("space_clip_nyu", [change])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nnetwork: {encoder: b}\nsteps: 3\n", "incomplete"),
        ("name: a\n", "no section network"),
        ("network: {widht: 3}\n", "unknown key 'widht'"),
        ("[", "not YAML"),
        ("", "empty"),
    ],
)
def test_bad_files_are_one_sentence(text, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        Recipe.load(file)


def test_a_missing_recipe_names_those_there_are():
    with pytest.raises(BadInput, match="space_clip_bag, space_clip_kitti, space_clip_nyu, space_clip_rooms"):
        Recipe.load("no_such_recipe")
