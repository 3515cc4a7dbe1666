"""Sets of rooms: seeded, resumable, one sentence for what goes wrong, no process left behind."""

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_training.cli import main
from clip_depth_training.simulation.opengl import renderer_name
from clip_depth_training.simulation.render import FAR, RenderConfig, render_room
from clip_depth_training.simulation.room_set import _write_shard, prepare_folder, render_rooms

CONFIG = RenderConfig(rooms=2, views=2, width=48, height=32, seed=5)


def test_rendering_is_seeded_and_resumable(renders, tmp_path):
    first, again = render_room(5, 0, CONFIG), render_room(5, 0, CONFIG)
    for name, value in first.items():
        assert (value == again[name]).all(), name
    assert first["rgb"].shape == (2, 32, 48, 3)
    assert first["rgb"].std() > 5
    assert 100 < np.median(first["depth"]) < FAR * 1000
    done = list(render_rooms(CONFIG, tmp_path, workers=1))
    assert done[-1][:2] == (2, 4)
    assert done[-1][2] == renderer_name()
    (tmp_path / "room_000001.npz").unlink()
    before = (tmp_path / "room_000000.npz").stat().st_mtime_ns
    assert [step[:2] for step in render_rooms(CONFIG, tmp_path, workers=1)] == [(1, 2)]
    assert (tmp_path / "room_000000.npz").stat().st_mtime_ns == before
    shard = np.load(tmp_path / "room_000000.npz")
    assert (shard["rgb"] == first["rgb"]).all()


def test_a_disk_that_fills_is_one_sentence(renders, tmp_path):
    """A limit on the size of files is the full disk that a test can have."""
    resource = pytest.importorskip("resource")
    config = RenderConfig(rooms=2, views=6, width=160, height=120, seed=5)
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(BadInput, match=r"room_000000\.npz cannot be written") as error:
            _write_shard(config, 0, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(error.value)
    assert pickle.loads(pickle.dumps(error.value)).args == error.value.args  # it comes out of a worker
    assert list(tmp_path.iterdir()) == []


def test_command_says_who_drew(renders, tmp_path, capsys):
    options = ["--rooms", "1", "--views", "1", "--size", "32x32", "--sensor", "none", "--workers", "1"]
    assert main(["render", *options, "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"1 new views, drawn by {renderer_name()};" in said
    assert main(["render", *options, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("0 new views;")


def test_a_folder_holds_one_set(tmp_path):
    assert prepare_folder(CONFIG, tmp_path) == [0, 1]
    with pytest.raises(BadInput, match="another set"):
        prepare_folder(RenderConfig(2, 2, 48, 32, seed=6), tmp_path)
    described = json.loads((tmp_path / "set.json").read_text())
    assert described["generator"] >= 2
    assert described["sensor"] == "mild"
    (tmp_path / "set.json").write_text(json.dumps({**described, "generator": 1}))
    with pytest.raises(BadInput, match="another set"):
        prepare_folder(CONFIG, tmp_path)
    (tmp_path / "set.json").write_text(json.dumps(described))
    larger = RenderConfig(3, 2, 48, 32, seed=5)
    assert prepare_folder(larger, tmp_path) == [0, 1, 2]
    (tmp_path / "room_000001.npz").touch()
    assert prepare_folder(RenderConfig(4, 7, 48, 32, seed=5), tmp_path) == [0, 2, 3]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processes of /proc")
def test_a_killed_command_leaves_no_worker_behind(renders, tmp_path):
    command = [sys.executable, "-m", "clip_depth_training.cli", "render", "--rooms", "500", "--views", "4"]
    command += ["--size", "32x32", "--workers", "2", "-o", str(tmp_path / "out")]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path.cwd())
    try:
        assert _within(60, lambda: any((tmp_path / "out").glob("room_*.npz")))
        workers = _children(parent.pid)
        assert len(workers) >= 2
        parent.kill()
        parent.wait(10)
        assert _within(20, lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    finally:
        parent.kill()


def _children(parent):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()
