"""Lens and sensor against OpenCV's lens model and geometry known by hand."""

import cv2
import numpy as np
import pytest
from plane_room import plane_room

from clip_depth_training.simulation.primitives import Geom
from clip_depth_training.simulation.render import SUPERSAMPLING, RenderConfig, RoomRenderer, bend, render_room
from clip_depth_training.simulation.scene import Room
from clip_depth_training.simulation.sensor import Lens, degrade, draw_lens, lens_map
from clip_depth_training.simulation.views import View, look

LENS = Lens(-0.16, 0.03, 0.002, -0.003, 0.02, -0.015)
WIDTH, HEIGHT = 96, 72


def matrix(view, lens):
    fx, fy, cx, cy = view.intrinsics(WIDTH, HEIGHT)
    return np.array([[fx, 0, cx + lens.off_x * WIDTH], [0, fy, cy + lens.off_y * HEIGHT], [0, 0, 1]])


def photograph(room, view, lens):
    """A picture and its depth through a lens, as `render` takes them."""
    mapping = lens_map(view, lens, WIDTH, HEIGHT)
    with RoomRenderer(room, SUPERSAMPLING * WIDTH, SUPERSAMPLING * HEIGHT) as renderer:
        return bend(*renderer.render(mapping.wide), mapping, WIDTH, HEIGHT)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", ["mild", "strong"])
def test_undistorting_is_the_inverse_of_opencv(seed, level):
    view = View(np.zeros(3), np.eye(3), 0.35 + 0.2 * seed, (0.35 + 0.2 * seed) * WIDTH / HEIGHT)
    lens = draw_lens(np.random.default_rng(seed), view, level)
    u, v = np.meshgrid(np.linspace(-0.5, WIDTH - 0.5, 13), np.linspace(-0.5, HEIGHT - 0.5, 11))
    camera = matrix(view, lens)
    x, y = lens.undistort((u - camera[0, 2]) / camera[0, 0], (v - camera[1, 2]) / camera[1, 1])
    points = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    projected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera, np.array(lens.coefficients()))
    assert np.abs(projected[:, 0] - np.stack([u, v], -1).reshape(-1, 2)).max() < 1e-6


def test_depth_through_a_lens_is_along_z(renders):
    view = View(np.array([0.3, -0.2, 1.7]), look(np.zeros(3), 0.8, 0.9, 0.1), 0.6, 0.6 * WIDTH / HEIGHT)
    _, depth = photograph(plane_room(), view, LENS)
    v, u = np.indices((HEIGHT, WIDTH)).astype(np.float64)
    ideal = cv2.undistortPoints(
        np.stack([u, v], -1).reshape(-1, 1, 2), matrix(view, LENS), np.array(LENS.coefficients())
    ).reshape(HEIGHT, WIDTH, 2)
    rays = np.concatenate([ideal, np.ones((HEIGHT, WIDTH, 1))], -1) @ view.rotation.T
    expected = -view.position[2] / rays[..., 2]
    seen = (expected > 0) & (expected < 4)
    assert seen.mean() > 0.5
    # The rendered pixel nearest to the centre lies up to half a third of a pixel beside it.
    beside = np.abs(np.gradient(expected, axis=0)) + np.abs(np.gradient(expected, axis=1))
    assert (np.abs(depth - expected)[seen] <= 0.25 * beside[seen] + 2e-3).all()


def test_a_box_is_where_opencv_projects_it(renders):
    """The corners of a glowing square on a wall 3 m away."""
    half, away = 0.9, 3.0
    square = Geom("box", (0.02, half, half), (away, 0.0, 1.5), "bright")
    room = Room(0, (9.0, 9.0, 3.0), geoms=[square], tints={"bright": (1.0, 1.0, 1.0)}, ambient=1.0)
    view = View(np.array([0.0, 0.4, 1.2]), look(np.zeros(3), 0.0, 0.0, 0.0), 0.6, 0.6 * WIDTH / HEIGHT)
    rgb, depth = photograph(room, view, LENS)
    turns = np.linspace(-half, half, 60)
    edge = [(away - 0.02, s * half, t) for t in turns for s in (-1, 1)] + [
        (away - 0.02, t, s * half) for t in turns for s in (-1, 1)
    ]
    outline = (np.array(edge) - view.position + np.array([0, 0, 1.5])) @ view.rotation
    pixels, _ = cv2.projectPoints(outline, np.zeros(3), np.zeros(3), matrix(view, LENS), np.array(LENS.coefficients()))
    lit = rgb[..., 0] > 128
    rows, columns = np.nonzero(lit)
    assert np.abs(pixels[:, 0].min(0) - (columns.min() - 0.5, rows.min() - 0.5)).max() < 0.7
    assert np.abs(pixels[:, 0].max(0) - (columns.max() + 0.5, rows.max() + 0.5)).max() < 0.7
    middle = depth[lit & (cv2.erode(lit.astype(np.uint8), np.ones((3, 3))) > 0)]
    assert np.abs(middle - (away - 0.02)).max() < 2e-3


def test_no_picture_has_black_borders(renders):
    room = plane_room()
    room.geoms[0] = Geom("box", (30.0, 30.0, 0.05), (0.0, 0.0, -0.05), "floor")
    downwards = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    for seed in range(4):
        view = View(np.array([0.0, 0.0, 2.0]), downwards, 0.4, 0.4 * WIDTH / HEIGHT)
        lens = draw_lens(np.random.default_rng(seed), view, "strong")
        _, depth = photograph(room, view, lens)
        assert np.abs(depth - 2.0).max() < 1e-3


def test_noise_is_shot_noise_and_none_changes_nothing():
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert (degrade(grey, np.random.default_rng(0), "none") == grey).all()
    spreads = {}
    for level in ("mild", "strong"):
        shots = [degrade(grey, np.random.default_rng(seed), level) for seed in range(30)]
        spreads[level] = np.mean([np.abs(np.diff(shot.astype(float), axis=1)).mean() for shot in shots])
        brightness = [shot.mean() for shot in shots]
        assert 60 < np.mean(brightness) < 200
        assert np.std(brightness) > 8
    assert 0.5 < spreads["mild"] < spreads["strong"]


def test_shards_tell_the_lens(renders):
    plain, bent = (render_room(5, 0, RenderConfig(1, 2, 48, 32, seed=5, sensor=level)) for level in ("none", "strong"))
    assert not plain["distortion"].any()
    assert (plain["intrinsics"][:, 2:] == (23.5, 15.5)).all()
    assert np.abs(bent["distortion"][:, 0]).min() > 1e-4
    assert np.abs(bent["intrinsics"][:, 2:] - (23.5, 15.5)).max() > 0.05
    assert bent["distortion"].shape == (2, 5)
