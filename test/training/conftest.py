"""What the training tests share: whether this machine renders, and a tiny set of rooms and recipe."""

import pytest
from rooms_on_disk import write_rooms

from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import AugmentationConfig
from clip_depth_training.network import NetworkConfig
from clip_depth_training.recipe import Recipe


@pytest.fixture(scope="session")
def renders():
    """Skips where MuJoCo cannot make an OpenGL context."""
    from clip_depth_training.simulation.render import gl_context

    try:
        gl_context(64, 64)
    except BadInput as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """A recipe that trains in seconds."""
    folder = tmp_path_factory.mktemp("rooms")
    network = NetworkConfig(
        image_size=32, width=32, layers=12, patch_size=16, embed_dim=16, channels=(8, 8, 4, 4), film_hidden=8
    )
    return Recipe(
        name="tiny",
        train=write_rooms(folder / "train", 4),
        validation=write_rooms(folder / "validation", 2, seed=1),
        steps=4,
        batch_size=4,
        learning_rate=1e-3,
        supervision_size=16,
        precision="32-true",
        validate_every=2,
        network=network,
        augmentation=AugmentationConfig(),
    )
