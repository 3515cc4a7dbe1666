"""Bad images sent to a running node: dropped, counted, named; the next good one comes out as it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from image_messages import make_image, some_pixels
from node_runner import RemoteNode
from rig import Rig, depth_array, image, picture, stamp_of, stamped
from sensor_msgs.msg import CompressedImage, Image


def _edited(**changes: Any) -> Image:
    message = image(1)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def _without_data() -> Image:
    message = Image(encoding="rgb8", width=60000, height=60000, step=180000)
    return stamped(message, 1)


def _shortened() -> Image:
    message = image(1)
    del message.data[-5:]
    return message


BAD_IMAGES: dict[str, Callable[[], Image]] = {
    "holds 9211 bytes instead of": _shortened,
    "holds 9216 bytes instead of 192 x 47": lambda: _edited(height=47),
    "has step 100, but a row of 64 pixels takes 192 bytes": lambda: _edited(step=100),
    "encoding 'holographic' is unknown": lambda: _edited(encoding="holographic"),
    "encoding '' is unknown": lambda: _edited(encoding=""),
    "encoding 32FC1 names no colours": lambda: _edited(encoding="32FC1"),
    "is 0x0 pixels": lambda: stamped(Image(encoding="rgb8"), 1),
    "says it is 60000x60000 pixels": _without_data,
}


@pytest.mark.parametrize("reason", BAD_IMAGES)
def test_a_bad_image_is_dropped_and_named_and_the_next_good_one_works(remote: RemoteNode, reason: str) -> None:
    remote.listen(Image, "depth/image")
    rejected = int(remote.status("camera", lambda values, status: True)["frames rejected"])
    outputs = len(remote.heard["depth/image"])
    remote.send("image", BAD_IMAGES[reason]())
    values = remote.status("camera", lambda values, status: int(values["frames rejected"]) == rejected + 1)
    assert values["last error"].startswith("/image: ")
    assert reason in values["last error"]
    second = 100 + outputs
    remote.send("image", image(second, "after", 72, 40, nanoseconds=5))
    answer = remote.answer("depth/image", outputs + 1)
    assert (stamp_of(answer), answer.width, answer.height) == ((second, 5, "after"), 72, 40)


@pytest.mark.parametrize("encoding", ["mono16", "bgr16", "bayer_rggb16"])
def test_big_endian_images_are_read_right(remote: RemoteNode, encoding: str) -> None:
    remote.listen(Image, "depth/image")
    pixels = some_pixels(encoding, 48, 64)
    depths = []
    for second, big_endian in enumerate((False, True), start=1):
        outputs = len(remote.heard["depth/image"])
        remote.send("image", stamped(make_image(encoding, pixels, big_endian=big_endian), second))
        depths.append(depth_array(remote.answer("depth/image", outputs + 1)))
    np.testing.assert_array_equal(depths[0], depths[1])
    assert np.ptp(depths[0]) > 0.01


def test_a_parameter_is_rejected_over_ros_with_its_reason(remote: RemoteNode) -> None:
    assert "out of range" in remote.set("points.stride", 100)
    assert "Wrong parameter type" in remote.set("points.stride", "many")
    assert "cameras is fixed by configure" in remote.set("cameras", ["left"])
    assert remote.set("points.stride", 2) == ""
    assert remote.set("points.stride", 1) == ""


def test_the_state_is_active_and_survives_all_that(remote: RemoteNode) -> None:
    assert remote.state() == "active"
    assert remote.process.running()


def test_truncated_jpegs_are_dropped(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(image_transport="compressed")
    rig.listen(Image, "depth/image")
    jpeg = cv2.imencode(".jpg", picture(64, 48))[1].tobytes()
    for count, data in enumerate((jpeg[: len(jpeg) // 2], b"", b"no picture at all"), start=1):
        rig.send("image/compressed", stamped(CompressedImage(format="jpeg", data=data), 1))
        values = rig.status("camera", lambda values, status, n=count: values["frames rejected"] == str(n))
        assert values["last error"].startswith("/image/compressed: ")
        rig.send("image/compressed", stamped(CompressedImage(format="jpeg", data=jpeg), count))
        assert stamp_of(rig.answer("depth/image", count))[0] == count
