"""The node as users run it, a process of its own: lifecycle, weights, signals, parameters at launch."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from node_runner import node_command, node_environment, running_node
from rig import WAIT, image, stamp_of
from safetensors.torch import save_file
from sensor_msgs.msg import Image

from clip_depth_ros.ros.depth_node import Interrupt


def _bad_weights(folder: Path, good: str) -> dict[str, tuple[Path, str]]:
    """Files that are no weights for this node, with what must be said of them."""
    whole = Path(good).read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"visual.proj": torch.zeros(2, 2)}, folder / "foreign.safetensors")
    torch.save({"model": {"weight": torch.zeros(3)}}, folder / "zipped.pt")
    (folder / "pickled.pt").write_bytes(pickle.dumps({"weight": [1.0]}))
    return {
        "truncated": (folder / "truncated.safetensors", "truncated"),
        "foreign": (folder / "foreign.safetensors", "clip-depth import"),
        "zipped": (folder / "zipped.pt", "pickled"),
        "pickled": (folder / "pickled.pt", "pickled"),
        "missing": (folder / "missing.safetensors", "does not exist"),
    }


def test_lifecycle_and_weights_that_cannot_be_loaded(
    process_domain_id: int, weights: dict[str, str], tmp_path: Path
) -> None:
    bad = _bad_weights(tmp_path, weights["plain"])
    bad["another encoder's"] = (Path(weights["stranger"]), "")
    log = tmp_path / "log.txt"
    with running_node(
        process_domain_id, log, weights=f"[{weights['plain']}]", device="cpu", autostart="false"
    ) as remote:
        assert remote.state() == "unconfigured"
        for path, what in bad.values():
            assert remote.set("weights", [str(path)]) == ""
            assert not remote.change("configure")
            assert remote.state() == "unconfigured"
            assert f"Cannot configure: {path}" in log.read_text() or str(path) in log.read_text()
            assert what in log.read_text()
            message = remote.status("node", lambda values, status: status.message.startswith("cannot conf"))["message"]
            assert "\n" not in message
        assert remote.set("weights", [weights["plain"]]) == ""
        if not torch.cuda.is_available():
            assert remote.set("device", "cuda") == ""
            assert not remote.change("configure")
            assert "Parameter device is 'cuda'" in log.read_text()
        assert remote.set("device", "cpu") == ""
        assert remote.change("configure")
        remote.listen(Image, "depth/image")
        assert remote.change("activate")
        remote.send("image", image(1))
        remote.answer("depth/image", 1)
        assert remote.change("deactivate")
        remote.node.create_publisher(Image, "image", 1).publish(image(2))
        remote.settle()
        assert len(remote.heard["depth/image"]) == 1
        assert remote.change("activate")
        remote.until(lambda: remote.publisher(Image, "image").get_subscription_count() > 0)
        remote.send("image", image(3))
        assert stamp_of(remote.answer("depth/image", 2))[0] == 3
        assert remote.change("deactivate")
        assert remote.change("cleanup")
        assert remote.state() == "unconfigured"
        remote.until(lambda: remote.node.count_publishers("depth/image") == 0)
        assert remote.change("shutdown")
        assert remote.state() == "finalized"
        os.kill(remote.process.pid, signal.SIGTERM)
        remote.until(lambda: remote.process.exit_code is not None)
        assert remote.process.exit_code == 0, log.read_text()
        assert "Traceback" not in log.read_text()


def test_interrupting_a_busy_node_ends_it_with_code_0(
    process_domain_id: int, weights: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    with running_node(process_domain_id, log, weights=f"[{weights['plain']}]", device="cpu") as remote:
        remote.listen(Image, "depth/image")
        for second in range(20):
            remote.send("image", image(second, width=640, height=480))
        remote.answer("depth/image")
        os.kill(remote.process.pid, signal.SIGINT)
        os.kill(remote.process.pid, signal.SIGINT)  # Ctrl-C under ros2 launch comes twice
        remote.until(lambda: remote.process.exit_code is not None)
        assert remote.process.exit_code == 0, log.read_text()
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_node_that_is_still_loading_with_code_0(
    process_domain_id: int, weights: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log.txt"
    with running_node(process_domain_id, log, weights=f"[{weights['plain']}]", device="cpu") as remote:
        remote.until(lambda: "clip_depth" in remote.node.get_node_names(), 2 * WAIT)
        os.kill(remote.process.pid, number)
        remote.until(lambda: remote.process.exit_code is not None)
        assert remote.process.exit_code == 0, log.read_text()
        assert "Traceback" not in log.read_text()


def test_a_signal_in_code_that_is_run_from_c_ends_with_code_0() -> None:
    script = (
        "import ctypes, signal\n"
        "from clip_depth_ros.ros.depth_node import Interrupt\n"
        "signal.signal(signal.SIGTERM, Interrupt())\n"
        "run = ctypes.pythonapi.PyRun_String\n"
        "run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int] + 2 * [ctypes.py_object]\n"
        "try:\n"
        "    run(b'import signal; signal.raise_signal(signal.SIGTERM)', 257, {}, {})\n"
        "except KeyboardInterrupt:\n"
        "    print('caught')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caught\n", "")


def test_a_signal_that_comes_on_the_way_out_changes_nothing() -> None:
    interrupt = Interrupt()
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        interrupt.over = True
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--params-file", "/nowhere.yaml"], "Error opening YAML file"),
        (["--no-such-flag"], "no-such-flag"),
        (["-p", "cameras:=[front, 1]"], "cameras:=[front, 1]"),
    ],
)
def test_arguments_ros_cannot_read_end_with_code_2(process_domain_id: int, arguments: list[str], sentence: str) -> None:
    command = [*node_command(), *arguments]
    result = subprocess.run(
        command, env=node_environment(process_domain_id), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"points__stride": 0}, "Parameter points.stride"),
        ({"points__stride": "two"}, "Parameter points.stride is 'two' of type STRING"),
        ({"cameras": "front"}, "Parameter cameras is 'front' of type STRING"),
    ],
)
def test_a_bad_parameter_at_launch_ends_with_code_2(
    process_domain_id: int, parameters: dict[str, Any], sentence: str
) -> None:
    result = subprocess.run(
        node_command(**parameters), env=node_environment(process_domain_id), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
