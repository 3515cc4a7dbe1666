"""A room whose geometry is known by hand."""

import numpy as np

from clip_depth_training.simulation.primitives import Geom
from clip_depth_training.simulation.scene import Room
from clip_depth_training.simulation.textures import Surface


def plane_room():
    """A floor at z = 0 with stripes of 0.5 m across x."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, :32] = 255
    floor = Geom("box", (8.0, 8.0, 0.05), (0.0, 0.0, -0.05), "floor")
    return Room(0, (16.0, 16.0, 3.0), geoms=[floor], surfaces={"floor": Surface(stripes, 1.0)}, ambient=1.0)
