"""Rendered rooms as a data set: what shards hold comes out again."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rooms_on_disk import write_rooms

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets import rooms as room_sets
from clip_depth_training.data_sets.base import DepthDataSet
from clip_depth_training.data_sets.rooms import RoomSet


def test_views_come_back_in_order(tmp_path):
    rooms = RoomSet(write_rooms(tmp_path, 3, views=4))
    assert isinstance(rooms, DepthDataSet)
    assert (len(rooms), rooms.rooms) == (12, 3)
    shard = np.load(tmp_path / "room_000001.npz")
    batch = rooms.__getitems__([4, 7])
    assert (batch.images.numpy() == shard["rgb"][[0, 3]]).all()
    assert np.allclose(batch.depth.numpy() * 1000, shard["depth"][[0, 3]], atol=0.01)
    assert np.allclose(batch.focal, 32 * np.sqrt(1.2))
    sample = rooms.sample(7)
    assert (sample.image == shard["rgb"][3]).all()
    assert np.allclose(sample.intrinsics, [[32, 0, 16], [0, 38.4, 16], [0, 0, 1]])
    assert sample.depth.dtype == np.float32
    assert np.isclose(sample.focal, 32 * np.sqrt(1.2))


def test_captions_alternate_and_belong_to_their_view(tmp_path):
    rooms = RoomSet(write_rooms(tmp_path, 2))
    for index in range(6):
        shard = np.load(tmp_path / f"room_{index // 3:06d}.npz")
        assert rooms.captions_of(index) == tuple(shard["captions"][index % 3])
    batch = rooms.__getitems__([3, 0, 5])
    assert batch.captions == (rooms.captions_of(3)[1], rooms.captions_of(0)[0], rooms.captions_of(5)[1])
    assert rooms[2].captions == rooms.captions_of(2)[:1]


def test_rooms_without_captions_load(tmp_path):
    rooms = RoomSet(write_rooms(tmp_path, 2, captions=False))
    assert rooms.captions_of(1) == ()
    assert rooms[1].captions == ()


def test_description_is_json_and_counts(tmp_path):
    described = json.loads(json.dumps(RoomSet(write_rooms(tmp_path, 2)).description))
    assert described["samples"] == 6
    assert described["kind"] == "rooms"
    assert described["depth_range_m"] == [0.1, 10.0]


def test_new_rooms_are_packed_and_nothing_is_left_over(tmp_path):
    killed_while_packing = tmp_path / ".packed_views_2.4711"
    killed_while_packing.mkdir()
    (killed_while_packing / "depth.npy").write_bytes(b"half of it")
    assert len(RoomSet(write_rooms(tmp_path, 2))) == 6
    assert len(RoomSet(write_rooms(tmp_path, 3))) == 9
    assert [folder.name for folder in tmp_path.glob("packed*")] == ["packed_views_3"]
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("damage", [b"", b"not a shard"])
def test_a_damaged_shard_is_one_sentence(tmp_path, damage):
    (write_rooms(tmp_path, 2) / "room_000001.npz").write_bytes(damage)
    with pytest.raises(BadInput, match="room_000001") as error:
        RoomSet(tmp_path)
    assert "\n" not in str(error.value)
    assert not [file for file in tmp_path.iterdir() if file.is_dir()]


def test_sizes_are_not_mixed(tmp_path):
    write_rooms(tmp_path, 2)
    write_rooms(tmp_path / "other", 1, size=48)
    (tmp_path / "other" / "room_000000.npz").rename(tmp_path / "room_000002.npz")
    with pytest.raises(BadInput, match="another size"):
        RoomSet(tmp_path)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    """Three views of 32x32: 9,216 bytes of colours, 6,144 of millimetres and their captions and cameras each."""
    write_rooms(tmp_path, 2)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=30_000))
    with pytest.raises(BadInput, match=r"free, but .* will be written: free some space"):
        RoomSet(tmp_path)
    assert not [file for file in tmp_path.iterdir() if "packed" in file.name]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    write_rooms(tmp_path, 1)
    (tmp_path / "packing.lock").mkdir()
    with pytest.raises(BadInput, match=r"packed_views_1 cannot be written .*: keep the rooms in a folder"):
        RoomSet(tmp_path)


def test_processes_that_start_together_pack_once(tmp_path, monkeypatch):
    write_rooms(tmp_path, 4)
    packings = []

    def slowly(shards, packed):
        packings.append(packed)
        time.sleep(0.2)
        pack(shards, packed)

    pack = room_sets._pack
    monkeypatch.setattr(room_sets, "_pack", slowly)
    with ThreadPoolExecutor(3) as together:
        opened = list(together.map(RoomSet, [tmp_path] * 3))
    assert [len(rooms) for rooms in opened] == [12] * 3
    assert len(packings) == 1


def test_row_means_are_the_rows_means(tmp_path):
    rooms = RoomSet(write_rooms(tmp_path, 2))
    depth = np.concatenate([np.load(file)["depth"] for file in sorted(tmp_path.glob("room_*.npz"))]) / 1000
    assert np.allclose(rooms.row_means((0.1, 20.0)), depth.mean((0, 2)), atol=1e-4)
