from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from clip_depth_ros.replay.node_process import NodeProcess

POLITE = """
import signal, sys, time
def leave(*_):
    print("leaving"); sys.exit(0)
signal.signal(signal.SIGINT, leave)
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", child.pid, flush=True)
time.sleep(60)
"""


def _process(tmp_path, source):
    return NodeProcess([sys.executable, "-u", "-c", source], os.environ, tmp_path / "log.txt")


def _wait_for(process, word):
    deadline = time.monotonic() + 20
    while word not in process.log_tail():
        assert time.monotonic() < deadline
        assert process.running(), process.log_tail()
        time.sleep(0.02)


def _gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_ends_as_by_ctrl_c_and_leaves_its_log(tmp_path):
    with _process(tmp_path, POLITE) as process:
        _wait_for(process, "ready")
        assert process.exit_code is None
        assert process.stop() == 0
    assert process.exit_code == 0
    assert process.log_tail().splitlines() == ["ready", "leaving"]
    assert _gone(process.pid)


def test_an_exception_ends_it(tmp_path):
    process = _process(tmp_path, POLITE)

    def interrupted():
        with process:
            _wait_for(process, "ready")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not process.running()
    assert _gone(process.pid)


def test_one_that_does_not_listen_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("clip_depth_ros.replay.node_process._INTERRUPT_WAIT_S", 0.3)
    monkeypatch.setattr("clip_depth_ros.replay.node_process._TERMINATE_WAIT_S", 0.3)
    with _process(tmp_path, STUBBORN) as process:
        _wait_for(process, "ready")
        child = int(process.log_tail().split()[1])
    assert process.exit_code == -signal.SIGKILL
    assert _gone(process.pid)
    deadline = time.monotonic() + 10
    while not _gone(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _gone(child)


def test_one_that_ended_by_itself_is_noticed(tmp_path):
    with _process(tmp_path, "import sys; print('no weights'); sys.exit(3)") as process:
        deadline = time.monotonic() + 20
        while process.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.exit_code == 3
        assert process.log_tail() == "no weights"
        assert process.stop() == 3


def test_it_is_not_reached_by_ctrl_c_at_this_terminal(tmp_path):
    with _process(tmp_path, POLITE) as process:
        _wait_for(process, "ready")
        assert os.getsid(process.pid) == process.pid
