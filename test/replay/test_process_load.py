"""What is seen of another process, against what that process is known to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from clip_depth_ros.replay.process_gpu import GpuUse, gpu_use
from clip_depth_ros.replay.process_load import ProcessLoad, cpu_seconds

BUSY = """
import sys, time
held = bytearray(int(sys.argv[1]) << 20)
while time.process_time() < float(sys.argv[2]):
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""
SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) printf '%s\\n' {gpus} ;;
--query-compute-apps=*) printf '%s\\n' {apps} ;;
*) exit 6 ;;
esac
"""


@pytest.fixture
def start():
    processes = []

    def run(mebibytes, seconds):
        command = [sys.executable, "-c", BUSY, str(mebibytes), str(seconds)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_cpu_time_is_what_the_process_says_of_itself(start):
    process = start(1, 0.3)
    used = float(process.stdout.readline())
    assert cpu_seconds(process.pid) == pytest.approx(used, abs=0.05)


def test_a_name_with_blanks_and_brackets_does_not_move_the_fields(tmp_path, start):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to(sys.executable)
    process = subprocess.Popen([str(odd), "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert 0 <= cpu_seconds(process.pid) < 60
    finally:
        process.kill()
        process.communicate()


def test_load_is_sampled_while_the_block_runs(start):
    process = start(64, 0.5)
    began = time.monotonic()
    with ProcessLoad(process.pid, period_s=0.15) as load:
        used = float(process.stdout.readline())
        time.sleep(0.5)  # idle
    length = time.monotonic() - began
    found = load.values()
    assert 0 < found["cpu_percent"]["mean"] <= 100 * used / (length - 0.1) + 5
    assert found["cpu_percent"]["mean"] < found["cpu_percent"]["max"]
    assert found["memory_mib"]["max"] >= found["memory_mib"]["end"] > 64


def test_a_process_that_is_gone_has_no_load(start):
    process = start(1, 0.0)
    process.kill()
    process.communicate()
    with ProcessLoad(process.pid, period_s=0.01) as load:
        time.sleep(0.05)
    assert load.values() == {"cpu_percent": None, "memory_mib": None, "gpu": None}


def _smi(tmp_path, monkeypatch, gpus, apps):
    program = tmp_path / "nvidia-smi"
    quoted = [" ".join(f"'{line}'" for line in lines) or "''" for lines in (gpus, apps)]
    program.write_text(SMI.format(gpus=quoted[0], apps=quoted[1]))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_gpus_of_a_process_are_those_the_driver_lists_it_on(tmp_path, monkeypatch):
    gpus = ["GPU-a, 40, 9000", "GPU-b, 70, 8000", "GPU-c, 99, 7000"]
    _smi(tmp_path, monkeypatch, gpus, ["12, GPU-a, 500", "12, GPU-b, 250", "13, GPU-c, 4000"])
    assert gpu_use(12) == GpuUse(70.0, 750.0, "process")
    assert gpu_use(14) is None
    assert gpu_use(14, uses_gpu=True) is None  # three GPUs: nobody can tell which


def test_in_a_container_the_only_gpu_is_taken_for_the_process_s(tmp_path, monkeypatch):
    _smi(tmp_path, monkeypatch, ["GPU-a, 40, 9000"], [])
    assert gpu_use(12, uses_gpu=True) == GpuUse(40.0, 9000.0, "gpu")
    assert gpu_use(12) is None


def test_what_the_driver_does_not_tell_is_none(tmp_path, monkeypatch):
    _smi(tmp_path, monkeypatch, ["GPU-a, [N/A], [N/A]"], ["12, GPU-a, [N/A]"])
    assert gpu_use(12) == GpuUse(None, None, "process")
    process = os.getpid()
    _smi(tmp_path, monkeypatch, ["GPU-a, 30, 9000"], [f"{process}, GPU-a, 700"])
    with ProcessLoad(process) as load:
        time.sleep(0.2)
    gpu = load.values()["gpu"]
    assert gpu == {
        "utilisation_percent": {"mean": 30.0, "max": 30.0},
        "memory_mib": {"max": 700.0},
        "memory_of": "process",
    }


def test_without_a_driver_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_use(os.getpid(), uses_gpu=True) is None
