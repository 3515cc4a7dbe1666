"""The room generator and the renderer against geometry known by hand."""

import json

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_training.cli import main
from clip_depth_training.simulation.furniture import AGAINST_WALL, FREE, chair, sofa, table
from clip_depth_training.simulation.primitives import Geom
from clip_depth_training.simulation.render import (
    FAR,
    RenderConfig,
    RoomRenderer,
    View,
    look,
    prepare_folder,
    render_room,
    render_rooms,
    room_seed,
    shrink,
)
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.scene import Room
from clip_depth_training.simulation.textures import Surface
from clip_depth_training.simulation.walk import WalkConfig, _quaternion, walk, write_walk

CONFIG = RenderConfig(rooms=2, views=2, width=48, height=32, seed=5)


def test_a_seed_gives_one_room_and_another_seed_another():
    first, again, other = make_room(7), make_room(7), make_room(8)
    assert first.xml() == again.xml()
    assert all((first.surfaces[name].pixels == again.surfaces[name].pixels).all() for name in first.surfaces)
    assert first.xml() != other.xml()
    assert len({room_seed(seed, index) for seed in range(4) for index in range(1000)}) == 4000


@pytest.mark.parametrize("seed", range(12))
def test_rooms_have_real_sizes(seed):
    room = make_room(seed)
    assert 2.3 <= room.size[2] <= 3.0
    assert all(1.2 < side < 10.1 for side in room.size[:2])
    half = np.array(room.size[:2]) / 2
    for footprint in room.footprints:
        if footprint.height:
            reach = np.abs([footprint.x, footprint.y]) + np.array([footprint.half_x, footprint.half_y])
            assert (reach < half + 0.02).all()
            assert footprint.height < room.size[2] + 0.01


def test_furniture_has_real_heights():
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert 0.72 <= max(top[2] for top in table(rng).tops) <= 0.76
        assert 0.8 <= chair(rng).reach()[2] <= 1.02
        assert 0.7 <= sofa(rng).reach()[2] <= 0.95
    for maker, _ in (*AGAINST_WALL, *FREE):
        assert 0.2 < maker(rng).reach()[2] < 2.3, maker.__name__


def plane_room():
    """A floor at z = 0 with stripes of 0.5 m across x."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, :32] = 255
    floor = Geom("box", (8.0, 8.0, 0.05), (0.0, 0.0, -0.05), "floor")
    return Room(0, (16.0, 16.0, 3.0), geoms=[floor], surfaces={"floor": Surface(stripes, 1.0)}, ambient=1.0)


def test_depth_is_along_z_and_metric(renders):
    position = np.array([0.3, -0.2, 1.7])
    width, height, focal = 80, 60, 0.7
    rotation = look(position, heading=0.8, pitch=0.9, roll=0.1)
    assert np.allclose(rotation.T @ rotation, np.eye(3))
    assert np.isclose(np.linalg.det(rotation), 1)
    view = View(position, rotation, focal, focal * width / height)
    with RoomRenderer(plane_room(), width, height) as renderer:
        _, depth = renderer.render(view)
    fx, fy, cx, cy = view.intrinsics(width, height)
    v, u = np.indices((height, width))
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u, float)], -1) @ rotation.T
    expected = -position[2] / rays[..., 2]
    seen = (expected > 0) & (expected < 6)
    assert seen.mean() > 0.5
    assert np.abs(depth[seen] / expected[seen] - 1).max() < 2e-4


def test_picture_and_intrinsics_agree(renders):
    downwards = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    view = View(np.array([0.0, 0.0, 2.0]), downwards, 0.5, 0.5)
    with RoomRenderer(plane_room(), 200, 200) as renderer:
        rgb, depth = renderer.render(view)
    assert np.abs(depth - 2).max() < 1e-3
    edges = np.flatnonzero(np.diff((rgb[100, :, 0] > 60).astype(int)))
    fx, _, cx, _ = view.intrinsics(200, 200)
    assert np.allclose(np.diff((edges + 0.5 - cx) / fx * 2.0), 0.5, atol=0.03)


def test_shrinking_keeps_picture_and_depth_aligned():
    v, u = np.indices((12, 18)).astype(np.float32)
    rgb, depth = shrink(np.repeat((u * 9)[..., None], 3, -1).astype(np.uint8), 1 + u + 100 * v)
    assert rgb.shape == (4, 6, 3)
    assert np.allclose(rgb[..., 0] / 9, (depth - 1) % 100, atol=0.1)
    assert np.allclose((depth - 1) // 100, np.arange(1, 12, 3)[:, None])


def test_rendering_is_seeded_and_resumable(renders, tmp_path):
    first, again = render_room(5, 0, CONFIG), render_room(5, 0, CONFIG)
    for name, value in first.items():
        assert (value == again[name]).all(), name
    assert first["rgb"].shape == (2, 32, 48, 3)
    assert first["rgb"].std() > 5
    assert 100 < np.median(first["depth"]) < FAR * 1000
    done = list(render_rooms(CONFIG, tmp_path, workers=1))
    assert done[-1] == (2, 4)
    (tmp_path / "room_000001.npz").unlink()
    before = (tmp_path / "room_000000.npz").stat().st_mtime_ns
    assert list(render_rooms(CONFIG, tmp_path, workers=1)) == [(1, 2)]
    assert (tmp_path / "room_000000.npz").stat().st_mtime_ns == before
    shard = np.load(tmp_path / "room_000000.npz")
    assert (shard["rgb"] == first["rgb"]).all()


def test_a_folder_holds_one_set(tmp_path):
    assert prepare_folder(CONFIG, tmp_path) == [0, 1]
    with pytest.raises(BadInput, match="another set"):
        prepare_folder(RenderConfig(2, 2, 48, 32, seed=6), tmp_path)
    larger = RenderConfig(3, 2, 48, 32, seed=5)
    assert prepare_folder(larger, tmp_path) == [0, 1, 2]


def test_walk_is_smooth_and_stays_clear(renders, tmp_path):
    config = WalkConfig(rooms=1, frames=8, width=64, height=48, seed=3)
    frames = list(walk(config))
    assert len(frames) == 8
    positions = np.array([view.position for _, _, view in frames])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 1.5 * config.speed / config.rate_hz
    assert min(float(np.percentile(depth, 2)) for _, depth, _ in frames) > 0.2
    assert write_walk(config, tmp_path / "walk") == 8
    intrinsics = json.loads((tmp_path / "walk" / "intrinsics.json").read_text())
    assert intrinsics["fx"] == pytest.approx(32 / np.tan(np.radians(35)))
    assert len(list((tmp_path / "walk" / "rgb").iterdir())) == len(list((tmp_path / "walk" / "depth").iterdir())) == 8
    assert len((tmp_path / "walk" / "poses.txt").read_text().splitlines()) == 8


def test_quaternion_turns_as_the_matrix_does():
    rotation = look(np.zeros(3), 1.1, 0.3, -0.2)
    x, y, z, w = _quaternion(rotation)
    third = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    assert np.allclose(third, rotation[:, 2], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "8x8"], "--size"),
        (["--size", "wide"], "--size"),
        (["--fov", "90:50"], "--fov"),
        (["--rooms", "0"], "--rooms"),
        (["--aspects", "4"], "--aspects"),
    ],
)
def test_bad_options_are_one_sentence(options, said, tmp_path, capsys):
    assert main(["render", *options, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
