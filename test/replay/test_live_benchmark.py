"""The live benchmark against processes that lose images where the test says so, and against the real node."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from recordings import PERIOD_NS, START_NS, camera_messages, write_bag

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.live_topics import DEPTH, Inputs
from clip_depth_ros.replay.messages import IMAGE, header_stamp_ns
from clip_depth_ros.replay.node_command import node_environment
from clip_depth_ros.replay.reader import BagReader

pytest.importorskip("rclpy", reason="needs rclpy")
from clip_depth_ros.replay.live import LiveFailure
from clip_depth_ros.replay.live_benchmark import LiveOptions, LiveStopped, measure_live
from clip_depth_ros.replay.receiver import Spool

PEER = Path(__file__).with_name("answering_node.py")
FRAMES = 10
SHORT = LiveOptions(seconds=0.0, images=30, most_seconds=30.0, timeout_s=60.0, topics=(DEPTH,), search=False)
INPUTS = Inputs("/camera/image", IMAGE)


@pytest.fixture
def live(tmp_path, ros_domain_id):
    """Runs the benchmark on a recording of ten images against the answering node."""
    bag = write_bag(tmp_path / "bag", camera_messages(FRAMES))
    environment = node_environment(os.environ, ros_domain_id)
    environment["PYTHONPATH"] = os.pathsep.join([str(PEER.parent), environment.get("PYTHONPATH", "")])

    def run(rates, *arguments, options=SHORT, results=None):
        command = [sys.executable, str(PEER), *arguments]
        with BagReader(bag) as reader:
            return measure_live(
                reader,
                INPUTS,
                command,
                environment,
                rates,
                log=tmp_path / "node.log",
                results=results,
                options=options,
            )

    return run


def _node_is_gone() -> bool:
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and str(PEER).encode() in (folder / "cmdline").read_bytes():
                return False
        except OSError:
            continue
    return True


def _numbers(images: int) -> list[int]:
    """Numbers of the images that are sent: each pass begins a second after the newest stamp of the one before."""
    step = FRAMES - 1 + 1_000_000_000 // PERIOD_NS
    return [index // FRAMES * step + index % FRAMES for index in range(images)]


def test_lost_images_are_told_apart_and_the_first_pass_is_kept(live, tmp_path):
    search = {"search": True, "search_seconds": 0.0, "search_images": 20, "search_budget_s": 0.1}
    options = LiveOptions(**{**vars(SHORT), **search})
    losses = ("--drops", "5", "--never-heard", "7", "--answer-lost", "4")
    with Spool(tmp_path) as results:
        found = live([5.0], *losses, options=options, results=results)
        kept = [(one.topic, header_stamp_ns(one.data)) for one in results.messages()]
    (run,) = found["runs"]
    never_heard = {number for number in _numbers(30) if number % 7 == 0}
    dropped = {number for number in _numbers(30) if number % 5 == 0} - never_heard
    unanswered = {number for number in _numbers(30) if number % 4 == 0} - never_heard - dropped
    lost = never_heard | dropped | unanswered
    assert (run["sent"], run["received"], run["unexpected"]) == (30, 30 - len(lost), 0)
    assert run["dropped"] == len(lost)
    assert run["dropped_by_node"] == len(dropped)
    assert run["dropped_reasons"] == {"dropped for a newer one": len(dropped)}
    assert run["lost_by_dds"] == len(never_heard) + len(unanswered)
    assert (run["lost_on_the_way_in"], run["lost_on_the_way_out"]) == (len(never_heard), len(unanswered))
    answered = [number for number in range(FRAMES) if number not in lost]
    assert kept == [(DEPTH, START_NS + number * PERIOD_NS) for number in answered]
    assert run["rate"] == 5.0
    assert run["offered_hz"] == pytest.approx(50.0)  # images 0.1 s apart, five times as fast
    assert 0 < run["sent_hz"] <= 50.5
    assert len(run["latencies"]["ms"]) == len(run["latencies"]["t_s"]) == run["received"]
    assert run["latencies"]["t_s"] == sorted(run["latencies"]["t_s"])
    assert max(run["latencies"]["ms"]) == pytest.approx(run["latency_ms"]["max"])
    assert run["latency_ms"]["max"] >= run["latency_ms"]["p50"] > 0
    assert 0 < found["start_up_s"] < 60
    assert found["highest_rate_hz"] is None
    (tried,) = found["search"]
    assert tried["received"] < tried["sent"] == 20
    assert tried["held"] is False
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert _node_is_gone()


def test_as_fast_as_it_is_taken_loses_nothing_and_the_search_ends(live):
    options = LiveOptions(
        **{**vars(SHORT), "search": True, "search_seconds": 0.0, "search_images": 5, "search_budget_s": 2.0}
    )
    found = live([0.0], options=options)
    (run,) = found["runs"]
    assert (run["sent"], run["received"], run["dropped"], run["lost_by_dds"]) == (30, 30, 0, 0)
    assert run["offered_hz"] is None
    tried = {one["offered_hz"]: one for one in found["search"]}
    assert tried
    assert all(one["sent"] == 5 for one in tried.values())
    held = [rate for rate, one in tried.items() if one["held"]]
    assert found["highest_rate_hz"] == (max(held) if held else None)


@pytest.fixture
def hears_ctrl_c():
    """This process takes SIGINT as Ctrl-C, also where the tests were started in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_keeps_what_was_measured_and_ends_the_node(live, tmp_path):
    with Spool(tmp_path) as results:

        def interrupt() -> None:
            deadline = time.monotonic() + 60
            while len(results) < 5 and time.monotonic() < deadline:
                time.sleep(0.02)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(LiveStopped, match="Ctrl-C") as stopped:
            live([1.0, 2.0], options=LiveOptions(**{**vars(SHORT), "images": 10**6}), results=results)
        thread.join()
        assert len(results) >= 5
    assert stopped.value.by_user
    (run,) = stopped.value.live["runs"]
    assert run["rate"] == 1.0
    assert run["sent"] >= run["received"] >= 5
    assert run["dropped"] == run["lost_by_dds"] + run["dropped_by_node"]
    assert _node_is_gone()


def test_a_node_that_dies_at_the_third_rate_leaves_two_and_who_says_nothing_is_not_blamed(live, monkeypatch):
    monkeypatch.setattr("clip_depth_ros.replay.live._REPORT_S", 0.2)
    first_of_third_pass = _numbers(21)[-1]
    options = LiveOptions(**{**vars(SHORT), "images": 10})
    with pytest.raises(LiveStopped, match="The node ended with code 7") as stopped:
        live([8.0, 4.0, 2.0], "--dies-at", str(first_of_third_pass), "--reports-nothing", options=options)
    assert not stopped.value.by_user
    runs = stopped.value.live["runs"]
    assert [(run["rate"], run["received"]) for run in runs] == [(8.0, 10), (4.0, 10)]
    assert {run[name] for run in runs for name in ("dropped_by_node", "lost_by_dds", "dropped_reasons")} == {None}


def test_a_node_that_never_answers_is_given_up_after_the_time_stated(live):
    with pytest.raises(LiveFailure, match=r"too little came on /camera/depth/image within 4 s"):
        live([1.0], "--silent", options=LiveOptions(**{**vars(SHORT), "timeout_s": 4.0}))
    assert _node_is_gone()


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(live, rate):
    with pytest.raises(BadInput, match="replay rate"):
        live([1.0, rate])
