"""Captions name what a view shows, at the distance at which it is."""

import numpy as np
import pytest

from clip_depth_training.simulation.captions import Seen, describe, distance_word, visible
from clip_depth_training.simulation.primitives import Geom, Piece, Tag
from clip_depth_training.simulation.render import RenderConfig, RoomRenderer, render_room
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.scene import Item, Room
from clip_depth_training.simulation.views import View, look


def test_distance_words_have_fixed_limits():
    distances = (0.3, 0.69, 0.71, 1.49, 1.51, 3.4, 3.6, 20.0)
    words = ["very close"] * 2 + ["close"] * 2 + ["a few steps away"] * 2 + ["far away"] * 2
    assert [distance_word(metres) for metres in distances] == words


def test_what_stands_behind_something_is_not_named(renders):
    """A red box hides a blue one; a green one stands beside them, and a fourth behind the camera."""
    room = Room(0, (10.0, 10.0, 3.0), tints={"red": (0.9, 0.1, 0.1), "blue": (0.1, 0.1, 0.9), "green": (0.1, 0.8, 0.1)})
    for x, y, half, material in (
        (1.2, 0, 0.3, "red"),
        (2.5, 0, 0.2, "blue"),
        (3.0, 1.3, 0.3, "green"),
        (-2, 0, 1, "red"),
    ):
        room.geoms.append(Geom("box", (half, half, half), (x, y, 1.0), material, tag=Tag("crate", material)))
    view = View(np.array([0.0, 0.0, 1.0]), look(np.zeros(3), 0.0, 0.0, 0.0), 0.5, 0.5)
    with RoomRenderer(room, 192, 192) as renderer:
        _, depth = renderer.render(view)
        solids = renderer.segment(view)
        items, owner = renderer.inventory
    assert solids.shape == (24, 24)
    seen = visible(items, np.append(owner, -1)[solids], depth[4::8, 4::8])
    assert [(thing.item.colour, thing.item.noun) for thing in seen] == [("red", "crate"), ("green", "crate")]
    assert seen[0].distance == pytest.approx(0.9, abs=1e-3)
    assert seen[1].distance == pytest.approx(2.7, abs=1e-2)
    # 0.6 m at 0.9 m through a focal length of half the picture fill a third of its width.
    assert seen[0].share == pytest.approx(1 / 9, rel=0.25)


def test_sentences_name_what_is_seen_and_no_more():
    rng = np.random.default_rng(0)
    room = Room(0, (4.0, 4.0, 2.5), "office", looks={"floor": "wooden", "walls": "white"})
    things = [Item("desk", "wooden", (0, 0, 0), (1, 1, 1)), Item("person", "red", (0, 0, 0), (1, 1, 1))]
    seen = [Seen(things[0], 1.0, 0.3), Seen(things[0], 1.2, 0.2), Seen(things[1], 5.0, 0.1)]
    sentences = [sentence for _ in range(40) for sentence in describe(room, seen, 100.0, rng)]
    text = " | ".join(sentences)
    assert all("office" in sentence and len(sentence.split()) <= 40 and sentence.isascii() for sentence in sentences)
    for words in ("two wooden desks close", "a person in red far away", "white walls and a wooden floor"):
        assert words in text
    assert "dim" not in text
    assert all("dim office" in sentence for sentence in describe(room, seen, 20.0, rng))
    assert all("desk" not in sentence for sentence in describe(room, [], 100.0, rng))


def test_inventory_holds_its_solids():
    room = make_room(11)
    items, owner = room.inventory()
    assert len(owner) == len(room.geoms)
    assert {"door", "window"} & {item.noun for item in items}
    for geom, index in zip(room.geoms, owner):
        if index >= 0:
            low = np.array(geom.position) - geom.span() - np.array(items[index].centre) + items[index].half
            high = np.array(items[index].centre) + items[index].half - geom.position - geom.span()
            assert min(low.min(), high.min()) > -1e-9


def test_a_piece_keeps_its_parts_names():
    piece, item = Piece(), Piece()
    item.box((0, 0, 0), (0.1, 0.1, 0.1), "red")
    piece.add(item.name("mug", "red"), 0, 0, 0.7, 0.0)
    piece.box((0, 0, 0), (1, 1, 0.7), "wood0")
    assert [geom.tag.noun for geom in piece.name("table", "wood0").geoms] == ["mug", "table"]


def test_rendered_views_have_two_sentences(renders, tmp_path):
    shard = render_room(5, 1, RenderConfig(1, 3, 48, 32, seed=5))
    assert shard["captions"].shape == (3, 2)
    assert shard["captions"].dtype.kind == "U"
    assert all(len(text.split()) >= 3 and text.isascii() for text in shard["captions"].ravel())
    assert (shard["captions"][:, 0] != shard["captions"][:, 1]).all()
    np.savez(tmp_path / "shard.npz", **shard)
    with np.load(tmp_path / "shard.npz", allow_pickle=False) as again:
        assert (again["captions"] == shard["captions"]).all()
