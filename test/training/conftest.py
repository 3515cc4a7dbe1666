"""What the training tests share: whether this machine renders, and a tiny set of rooms and recipe."""

import pytest
import torch
from tiny import recipe_in

from clip_depth_ros.errors import BadInput


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Several threads wait for each other longer than such small networks take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    return recipe_in(tmp_path_factory.mktemp("rooms"))
