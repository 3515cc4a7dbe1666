"""Shapes of rooms and meshes against geometry known by hand."""

import math

import numpy as np
import pytest

from clip_depth_training.simulation import meshes, shapes
from clip_depth_training.simulation.finish import add_lights, add_materials
from clip_depth_training.simulation.primitives import Geom, Piece, turn
from clip_depth_training.simulation.render import RoomRenderer
from clip_depth_training.simulation.scene import Item, Room, Slope
from clip_depth_training.simulation.shell import add_shell
from clip_depth_training.simulation.views import View, look


def volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def edges_are_shared_by_two(mesh):
    welded = np.unique(mesh.vertices.round(9), axis=0, return_inverse=True)[1].reshape(-1)[mesh.faces]
    edges = np.sort(np.concatenate([welded[:, [0, 1]], welded[:, [1, 2]], welded[:, [2, 0]]]), axis=1)
    return (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (meshes.revolve([(1.0, 0.0), (1.0, 2.0)], 96), 2 * math.pi),
        (meshes.revolve([(1.0, 0.0), (0.0, 3.0)], 96), math.pi),
        (meshes.rounded_box((1, 2, 3), 1.0, 48, 48), math.pi),
        (meshes.ring(1.0, 0.4, 96, 48), 2 * math.pi**2 * 0.8 * 0.2**2),
        (meshes.prism([(0, 0), (2, 0), (0, 1)], 0.5), 0.5),
        (meshes.prism([(0, 1), (2, 0), (0, 0)], 0.5), 0.5),
    ],
)
def test_meshes_hold_the_volume_of_their_solid(mesh, expected):
    # A positive volume also says that the faces look outwards.
    assert volume(mesh) == pytest.approx(expected, rel=0.01)
    assert np.allclose(mesh.vertices.max(0) + mesh.vertices.min(0), 0, atol=1e-9)


def test_rounded_boxes_have_their_size_and_are_closed():
    mesh = meshes.rounded_box((0.6, 0.4, 0.2), 0.3)
    assert np.allclose(np.ptp(mesh.vertices, axis=0), (0.6, 0.4, 0.2))
    assert 0.6 * 0.4 * 0.2 * math.pi / 6 < volume(mesh) < 0.6 * 0.4 * 0.2
    assert edges_are_shared_by_two(meshes.ring(0.3, 0.1))
    assert edges_are_shared_by_two(meshes.prism([(0, 0), (1, 0), (1, 1), (0, 1)], 0.2))


@pytest.mark.parametrize("heading", [0.0, 0.7])
def test_a_mesh_is_rendered_where_it_was_put(renders, heading):
    """MuJoCo moves meshes to their axes of inertia; the picture must not show it."""
    piece, holder = Piece(), Piece()
    wedge = meshes.prism([(-0.5, 0.0), (0.5, 0.0), (-0.5, 0.4)], 0.6)
    piece.mesh((0.0, 0.0, 0.0), wedge, "grey")
    holder.add(piece, 2.0, 0.5, 0.0, heading)
    floor = Geom("box", (5.0, 5.0, 0.05), (0, 0, -0.05), "grey")
    room = Room(0, (9.0, 9.0, 3.0), geoms=[floor, *holder.geoms], tints={"grey": (0.5, 0.5, 0.5)}, ambient=1.0)
    view = View(np.array([2.0, 0.5, 3.0]), np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]), 0.9, 0.9)
    with RoomRenderer(room, 90, 90) as renderer:
        _, depth = renderer.render(view)
    v, u = np.indices((90, 90))
    x, y = (u - 44.5) / 81 * depth, -(v - 44.5) / 81 * depth
    own_x, own_y = math.cos(heading) * x + math.sin(heading) * y, math.cos(heading) * y - math.sin(heading) * x
    inside = (np.abs(own_x) < 0.47) & (np.abs(own_y) < 0.27)
    assert inside.sum() > 300
    assert np.abs(3.0 - depth - (0.5 - own_x) * 0.4)[inside].max() < 2e-3
    assert np.abs(depth[(np.abs(own_x) > 0.55) | (np.abs(own_y) > 0.35)] - 3.0).max() < 1e-3


def test_slanted_walls_clip_the_floor():
    room = Room(0, (4.0, 6.0, 2.5), cuts=[(math.sqrt(0.5), math.sqrt(0.5), 4.0 * math.sqrt(0.5))])
    corners = shapes.outline(room)
    assert np.allclose(sorted(corners), sorted([(-2, -3), (2, -3), (2, 2), (1, 3), (-2, 3)]))
    walls = shapes.walls_of(corners)
    assert sum(wall.length for wall in walls) == pytest.approx(4 + 5 + math.sqrt(2) + 3 + 6)
    for wall in walls:  # they face inwards
        assert wall.normal[0] * wall.x + wall.normal[1] * wall.y < 0
    assert room.holds(1.4, 2.4)
    assert not room.holds(1.6, 2.6)


@pytest.mark.parametrize("seed", range(8))
def test_slanting_leaves_a_room(seed):
    rng = np.random.default_rng(seed)
    room = Room(0, (float(rng.uniform(2.4, 8)), float(rng.uniform(2.4, 8)), 2.5))
    shapes.slant(room, rng)
    corners = np.array(shapes.outline(room))
    ahead = np.roll(corners, -1, axis=0)
    area = (corners[:, 0] * ahead[:, 1] - corners[:, 1] * ahead[:, 0]).sum() / 2
    assert 0.4 < area / (room.size[0] * room.size[1]) < 0.99
    assert room.holds(0.0, 0.0, 0.3)


def test_sloped_ceilings_are_where_headroom_says(renders):
    rng = np.random.default_rng(3)
    room = Room(0, (4.0, 5.0, 2.6))
    add_materials(room, rng)
    walls = shapes.walls_of(shapes.outline(room))
    shapes.add_attic(room, walls[0], rng)
    assert isinstance(room.slopes[0], Slope)
    assert room.headroom(walls[0].x, walls[0].y) == pytest.approx(room.slopes[0].knee)
    upwards = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    with RoomRenderer(room, 31, 31) as renderer:
        for along in (0.15, 0.4, 0.7):
            x, y = walls[0].x + along * walls[0].normal[0], walls[0].y + along * walls[0].normal[1]
            _, depth = renderer.render(View(np.array([x, y, 0.5]), upwards, 0.8, 0.8))
            assert 0.5 + depth[15, 15] == pytest.approx(room.headroom(x, y), abs=3e-3)


def test_no_light_leaks_through_the_shell(renders):
    """From the middle of an empty room every ray meets a surface inside the building."""
    seen = set()
    for seed in range(14):
        rng = np.random.default_rng(seed)
        room = Room(0, (4.2, 5.0, 2.6))
        add_materials(room, rng)
        add_shell(room, rng)
        seen.add((bool(room.cuts), bool(room.slopes), bool(room.footprints)))
        with RoomRenderer(room, 64, 64) as renderer:
            for heading in np.arange(4) * math.pi / 2:
                for pitch in (-0.9, 0.0, 0.9):
                    rotation = look(np.zeros(3), heading, pitch, 0.0)
                    _, depth = renderer.render(View(np.array([0.0, 0.0, 1.0]), rotation, 0.45, 0.45))
                    assert depth.max() < 12
    assert len(seen) >= 3


def test_daylight_comes_from_the_window():
    room = Room(0, (4.0, 5.0, 2.6))
    rng = np.random.default_rng(0)
    add_materials(room, rng)
    holder, pane = Piece(), Piece()
    pane.panel((0, 0, 1.5), 1.2, 1.0, 0.02, "outdoors")
    holder.add(pane.name("window", "outdoors"), 2.0, 1.0, 0.0, math.pi / 2)
    room.geoms += holder.geoms
    assert room.inventory()[0][0] == Item("window", "", pytest.approx((2.0, 1.0, 1.5)), pytest.approx((0.01, 0.6, 0.5)))
    found = 0
    for seed in range(20):
        room.lights.clear()
        add_lights(room, np.random.default_rng(seed))
        found += sum('pos="1.650 1.000 1.800"' in light and 'dir="-1.000' in light for light in room.lights)
    assert 3 < found < 17


def test_bars_and_turns_agree():
    piece = Piece()
    piece.mesh((0, 0, 0), meshes.rounded_box((1.0, 0.2, 0.4), 0.2), "grey", turn("x", math.pi / 2))
    assert piece.reach() == pytest.approx((0.5, 0.2, 0.2), abs=1e-6)
