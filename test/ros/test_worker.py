"""One encode for all cameras, the newest frame wins, and nothing that goes wrong with one frame stops the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from rig import Rig, depth_array, image, picture, stamp_of
from sensor_msgs.msg import Image

MakeRig = Callable[..., Rig]


@contextmanager
def busy(rig: Rig) -> Iterator[threading.Event]:
    """Keeps the network at work on the frame it has until the block ends; the event is set when it has one."""
    entered, leave = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        entered.set()
        leave.wait(20)

    hook = rig.pipeline.network.estimator.encoder.register_forward_pre_hook(wait)
    try:
        yield entered
    finally:
        hook.remove()
        leave.set()


def test_cameras_of_different_sizes_share_one_encode(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["front", "rear", "arm"])
    sizes = {"front": (64, 48), "rear": (96, 32), "arm": (64, 48)}
    for name in sizes:
        rig.listen(Image, f"{name}/depth/image")
        rig.publisher(Image, f"{name}/image")
    with busy(rig) as entered:
        rig.send("front/image", image(1, "first"))
        rig.until(entered.is_set)
        # While the network is busy with the first frame, all three cameras send: they become one batch.
        for seed, (name, size) in enumerate(sizes.items()):
            rig.send(f"{name}/image", image(2, name, *size, seed=seed))
        rig.until(lambda: all(camera.stream.counters.received.total for camera in rig.pipeline.cameras))
        rig.until(lambda: rig.pipeline.cameras[0].stream.counters.received.total == 2)
    for seed, (name, size) in enumerate(sizes.items()):
        answer = rig.answer(f"{name}/depth/image", 2 if name == "front" else 1)
        assert stamp_of(answer) == (2, 7, name)
        alone = rig.pipeline.network.estimator.run([picture(*size, seed)])[0]["space_clip"].depth[0].numpy()
        np.testing.assert_allclose(depth_array(answer), alone, atol=1e-4)
    assert rig.encodes[:2] == [1, 3]


def test_the_newest_frame_wins_and_the_others_are_counted(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    counters = rig.pipeline.cameras[0].stream.counters
    with busy(rig) as entered:
        rig.send("image", image(1))
        rig.until(entered.is_set)
        for second in range(2, 7):
            rig.send("image", image(second))
            rig.until(lambda second=second: counters.received.total == second)
    rig.answer("depth/image", 2)
    rig.settle()
    assert [stamp_of(message)[0] for message in rig.heard["depth/image"]] == [1, 6]
    assert (counters.dropped, counters.published.total) == (4, 2)


def test_a_dead_camera_never_holds_the_others(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["dead", "alive"])
    rig.listen(Image, "alive/depth/image", "dead/depth/image")
    for second in range(1, 6):
        rig.send("alive/image", image(second))
        assert stamp_of(rig.answer("alive/depth/image", second))[0] == second
    assert rig.heard["dead/depth/image"] == []


def test_a_larger_image_than_before_is_taken_in_its_stride(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    for second, (width, height) in enumerate([(64, 48), (320, 240), (1, 1), (1280, 720), (48, 64)], start=1):
        rig.send("image", image(second, width=width, height=height))
        answer = rig.answer("depth/image", second)
        assert (answer.width, answer.height, stamp_of(answer)[0]) == (width, height, second)


def test_an_unexpected_error_costs_one_frame(make_rig: MakeRig, capfd: pytest.CaptureFixture[str]) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")

    def fail(*_: Any) -> None:
        raise RuntimeError("the network broke")

    hook = rig.pipeline.network.estimator.encoder.register_forward_pre_hook(fail)
    for second in (1, 2):
        rig.send("image", image(second))
        values = rig.status("camera", lambda values, status, n=second: values["frames failed"] == str(n))
        assert values["last error"] == "/image: RuntimeError: the network broke"
    hook.remove()
    rig.send("image", image(3))
    assert stamp_of(rig.answer("depth/image"))[0] == 3
    logged = capfd.readouterr().err
    assert logged.count("Traceback") == 1
    assert "the network broke" in logged
