"""Cameras of different rates share one encode, and each gets what its rate and the network's allow.

The cameras are a process of their own, over real DDS. No test looks at a clock: whatever the machine does meanwhile,
an image that came since the last batch began is in the next, unless the same camera sent a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from camera_process import CameraPlan, cameras
from networks import tiny_encoder, tiny_head
from rig import Rig, image, picture, stamp_of
from sensor_msgs.msg import Image

from clip_depth_ros.depth.estimator import DepthEstimator

MakeRig = Callable[..., Rig]


class Record:
    """What every camera had received and published whenever a batch began."""

    def __init__(self, rig: Rig) -> None:
        self._cameras = rig.pipeline.cameras
        self.batches: list[dict[str, tuple[int, int]]] = []
        rig.pipeline.network.estimator.encoder.register_forward_pre_hook(lambda *_: self.batches.append(self._now()))

    def _now(self) -> dict[str, tuple[int, int]]:
        counters = {camera.stream.name: camera.stream.counters for camera in self._cameras}
        return {name: (count.received.total, count.published.total) for name, count in counters.items()}

    def received(self, name: str) -> list[int]:
        """How many images of a camera had come at each batch."""
        return [batch[name][0] for batch in self.batches]

    def is_fair(self, name: str, first: int = 0, last: int | None = None) -> bool:
        """Whether a camera was in (nearly) every batch before which an image of it came, from ``first`` to ``last``.

        An image that comes while a batch is being put together counts for one batch and is in the next.
        """
        part = [batch[name] for batch in self.batches[first:last]]
        possible = sum(before[0] < after[0] for before, after in pairwise(part))
        answered = part[-1][1] - part[0][1]
        return possible > 0 and answered >= min(0.9 * possible, possible - 1)


def size_slower_than(period: float) -> int:
    """Returns the input size (pixels) at which the tiny network computes longer than ``period`` (s) on a picture.

    That is time on a processor, which is the same whatever else the machine does.
    """
    for size in range(64, 1024, 32):
        heavy = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", input_size=(size, size))
        times = []
        for _ in range(3):
            begin = time.thread_time()
            heavy.run([picture()])
            times.append(time.thread_time() - begin)
        if min(times) > period:
            return size
    raise AssertionError("this machine is too fast for the test")


def start(rig: Rig, *names: str) -> Record:
    """Subscribes to every camera's depth, and begins the record."""
    rig.listen(Image, *(f"{name}/depth/image" for name in names))
    return Record(rig)


def drained(rig: Rig) -> bool:
    """Whether every image received has met its fate."""
    counters = [camera.stream.counters for camera in rig.pipeline.cameras]
    return all(count.received.total == count.published.total + count.dropped for count in counters)


def test_cameras_of_5_15_and_30_hz(make_rig: MakeRig, ros_domain_id: int) -> None:
    rates = {"slow": 5.0, "middle": 15.0, "fast": 30.0}
    size = size_slower_than(0.035)  # so that it cannot keep up with 30 Hz
    rig = make_rig(cameras=list(rates), encoder__input_size=[size, size])
    record = start(rig, *rates)
    # The middle camera dies half way.
    plans = {name: CameraPlan(rate, round(rate * (2.4 if name == "middle" else 4.8))) for name, rate in rates.items()}
    with cameras(ros_domain_id, **plans) as process:
        process.start()
        rig.until(process.is_done)
        sent = process.sent()
    rig.until(lambda: drained(rig))  # each was answered, or replaced by a newer one of its own camera
    counters = {camera.stream.name: camera.stream.counters for camera in rig.pipeline.cameras}
    rig.until(lambda: all(len(rig.heard[f"{name}/depth/image"]) == counters[name].published.total for name in rates))
    heard = {name: [stamp_of(message)[0] for message in rig.heard[f"{name}/depth/image"]] for name in rates}
    for name in rates:
        assert all(before < after for before, after in pairwise(heard[name]))
        assert set(heard[name]) <= set(range(1, sent[name] + 1))
        assert record.is_fair(name)
    assert counters["slow"].received.total >= 0.9 * sent["slow"]
    assert counters["fast"].dropped > 0  # it outran the network

    death = record.received("middle").index(counters["middle"].received.total)
    for name in ("slow", "fast"):
        assert record.is_fair(name, 0, death)
        assert record.is_fair(name, death)

    published = sum(count.published.total for count in counters.values())
    assert len(rig.encodes) == len(record.batches) == rig.pipeline.runner.batches.total
    assert (sum(rig.encodes), max(rig.encodes)) == (published, 3)
    told = rig.status("node", lambda values, status: values["batches"] == str(len(rig.encodes)))
    assert float(told["pictures a batch"]) == pytest.approx(published / len(rig.encodes), abs=0.01)
    share = counters["slow"].published.total / len(rig.encodes)
    assert float(rig.values("camera slow")["share of batches [%]"]) == pytest.approx(100 * share, abs=1)


def test_a_flood_from_one_camera_takes_nothing_from_another(make_rig: MakeRig, ros_domain_id: int) -> None:
    rig = make_rig(cameras=["flood", "calm"])
    record = start(rig, "flood", "calm")
    with cameras(ros_domain_id, flood=CameraPlan(0.0), calm=CameraPlan(10.0, 20)) as process:
        process.start()
        rig.until(process.is_done)
        sent = process.sent()
    rig.until(lambda: drained(rig))
    flood, calm = (camera.stream.counters for camera in rig.pipeline.cameras)
    assert sent["flood"] > 10 * sent["calm"]
    assert flood.dropped > 0
    assert calm.received.total >= 0.9 * sent["calm"]
    assert record.is_fair("calm")


def test_whoever_waits_longest_is_answered_first(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["one", "two", "three"])
    rig.listen(Image, *(f"{camera.stream.name}/depth/image" for camera in rig.pipeline.cameras))
    waiting = [rig.pipeline.cameras[index].stream for index in (2, 0, 1)]
    rig.send_at_once({stream.name: image(1) for stream in waiting})
    for stream in waiting:
        rig.answer(f"{stream.name}/depth/image")
    assert rig.encodes == [3]
    ages = [stream.counters.published.age for stream in waiting]
    assert ages == sorted(ages, reverse=True)


def test_each_camera_has_its_own_limit(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["often", "rare"], max_rate=[0.0, 0.001])
    rig.listen(Image, "often/depth/image", "rare/depth/image")

    def send(name: str, second: int) -> Any:
        counters = next(camera.stream.counters for camera in rig.pipeline.cameras if camera.stream.name == name)
        before = counters.received.total
        rig.send(f"{name}/image", image(second))
        rig.until(lambda: counters.received.total > before and drained_or_limited(counters))
        return counters.published.total, counters.limited

    def drained_or_limited(counters: Any) -> bool:
        return counters.received.total == counters.published.total + counters.dropped + counters.limited

    assert [send("often", second) for second in (1, 2, 3)] == [(1, 0), (2, 0), (3, 0)]
    assert [send("rare", second) for second in (1, 2, 3)] == [(1, 0), (1, 1), (1, 2)]
    assert "max_rate holds 3 numbers and cameras 2 names" in rig.set(max_rate=[1.0, 2.0, 3.0])[0]
    assert rig.set(max_rate=[0.001, 500.0]) == []  # the old limit's long wait goes with it
    assert [send("rare", 4), send("often", 4), send("often", 5)] == [(2, 2), (4, 0), (4, 1)]
    assert rig.set(max_rate=[0.0]) == []
    assert [send("often", 6), send("often", 7)] == [(5, 1), (6, 1)]


def test_one_camera_whose_images_cannot_be_read_costs_the_others_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["bad", "good"])
    rig.listen(Image, "bad/depth/image", "good/depth/image")
    broken = image()
    broken.data = broken.data[:-1]
    good, bad = rig.pipeline.cameras[1].stream.counters, rig.pipeline.cameras[0].stream.counters
    for second in range(1, 11):
        rig.send("bad/image", broken)
        rig.send("good/image", image(second))
        assert stamp_of(rig.answer("good/depth/image", second))[0] == second
    rig.until(lambda: bad.rejected + bad.dropped == good.published.total == 10)
    assert (good.dropped, bad.published.total) == (0, 0)
    assert rig.encodes == [1] * 10  # what cannot be read is in no batch
    np.testing.assert_equal(rig.pipeline.runner.batches.share("bad"), 0.0)
