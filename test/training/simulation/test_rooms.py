"""The room generator and the renderer against geometry known by hand."""

import json

import numpy as np
import pytest
from plane_room import plane_room

from clip_depth_training.cli import main
from clip_depth_training.simulation.furniture import chair, sofa, table
from clip_depth_training.simulation.kinds import KINDS
from clip_depth_training.simulation.render import (
    RenderConfig,
    RoomRenderer,
    room_seed,
    shrink,
)
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.views import CARRIERS, View, look, sample_view
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
    assert 2.3 <= room.size[2] <= 3.6
    assert all(1.2 < side < 12.1 for side in room.size[:2])
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
    makers = {maker.__name__: maker for kind, _ in KINDS for maker in (*kind.standing(), *kind.free)}
    assert len(makers) > 35
    for _, maker in sorted(makers.items()):
        for _ in range(5):
            piece = maker(rng)
            assert 0.12 < piece.reach()[2] < 2.5, maker.__name__  # the highest is a staircase with its rail
            assert all(geom.tag for geom in piece.geoms), maker.__name__
            assert max(piece.reach()[:2]) < 2.3, maker.__name__
            # Nothing hovers: the lowest solid rests on the floor or hangs a little above it.
            assert min(geom.position[2] - geom.span()[2] for geom in piece.geoms) < 0.13, maker.__name__


@pytest.fixture(scope="module")
def rooms():
    return [make_room(seed) for seed in range(100)]


def test_rooms_have_many_shapes(rooms):
    assert sum(bool(room.cuts) for room in rooms) > 2
    assert sum(bool(room.slopes) for room in rooms) > 1
    assert sum(any(geom.mesh for geom in room.geoms) for room in rooms) > 50
    for room in rooms:
        for footprint in room.footprints:
            if 0 < footprint.height < room.size[2]:
                assert room.holds(footprint.x, footprint.y, -0.02)


def test_every_kind_of_room_is_drawn_with_what_is_typical_of_it(rooms):
    assert {room.kind for room in rooms} == {kind.name for kind, _ in KINDS}
    bedrooms = [room for room in rooms if room.kind == "bedroom"]
    beds = [any(item.noun == "bed" for item in room.inventory()[0]) for room in bedrooms]
    assert sum(beds) > len(beds) / 2


def test_cameras_are_carried_as_robots_carry_them(rooms):
    rng, config = np.random.default_rng(0), RenderConfig(1, 1, 64, 48, 0)
    views = [(room, sample_view(room, rng, config)) for room in rooms for _ in range(4)]
    heights = np.array([view.position[2] for _, view in views])
    assert heights.min() < 0.25
    assert ((heights > 1.0) & (heights < 1.8)).mean() > 0.3
    for room, view in views:
        assert view.position[2] < room.headroom(*view.position[:2]) - 0.2
        assert room.holds(*view.position[:2])
    fields = np.degrees(2 * np.arctan(0.5 / np.array([view.focal_x for _, view in views])))
    assert 40 <= fields.min() < 50
    assert 100 < fields.max() <= 110
    assert sum(carrier.weight for carrier in CARRIERS) == pytest.approx(1)


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
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_options_are_one_sentence(options, said, tmp_path, capsys):
    assert main(["render", *options, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
