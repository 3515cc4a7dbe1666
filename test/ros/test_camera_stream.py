"""What a camera's subscriptions take, count and leave out."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from rig import Rig, depth_array, image, picture, remove, stamp_of, stamped
from sensor_msgs.msg import CompressedImage, Image

from clip_depth_ros.ros.camera_stream import CameraStream

MakeRig = Callable[..., Rig]


def test_backward_and_zero_stamps_are_processed_and_counted(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    for count, (second, nanosecond) in enumerate([(10, 5), (10, 4), (3, 0), (0, 0), (4, 0)], start=1):
        rig.send("image", image(second, nanoseconds=nanosecond))
        assert stamp_of(rig.answer("depth/image", count)) == (second, nanosecond, "camera")
    values = rig.status("camera", lambda values, status: values["frames published"] == "5")
    assert (values["backward stamps"], values["zero stamps"]) == ("2", "1")


def test_best_effort_publishers_are_heard(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.publisher(Image, "image", reliable=False).publish(image(4))
    assert stamp_of(rig.answer("depth/image"))[0] == 4


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_compressed_images(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(image_transport="compressed", cameras=["front"])
    rig.listen(Image, "front/depth/image")
    encoded = cv2.imencode(f".{kind}", cv2.cvtColor(picture(80, 60), cv2.COLOR_RGB2BGR))[1]
    rig.send("front/image/compressed", stamped(CompressedImage(format=kind, data=encoded.tobytes()), 6, "lens"))
    answer = rig.answer("front/depth/image")
    assert (stamp_of(answer), answer.width, answer.height) == ((6, 7, "lens"), 80, 60)
    if kind == "png":
        expected = rig.pipeline.network.estimator.run([picture(80, 60)])[0]["space_clip"].depth[0].numpy()
        np.testing.assert_allclose(depth_array(answer), expected, atol=1e-5)


def test_a_wrong_label_is_corrected_by_encoding_override(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    assert rig.set(encoding_override="bgr8") == []
    rig.send("image", image())
    swapped = np.ascontiguousarray(picture()[..., ::-1])
    expected = rig.pipeline.network.estimator.run([swapped])[0]["space_clip"].depth[0].numpy()
    np.testing.assert_allclose(depth_array(rig.answer("depth/image")), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("offered", "rate", "taken"),
    [
        (30.0, 10.0, 100),  # late images do not add up to a lower rate
        (30.0, 12.5, 125),  # not rounded down to a divisor of the offered rate
        (10.0, 30.0, 300),  # slower than the limit: all
        (30.0, 0.0, 300),  # no limit
    ],
)
def test_max_rate_holds_on_average(make_rig: MakeRig, offered: float, rate: float, taken: int) -> None:
    stream: CameraStream = make_rig(max_rate=[rate]).pipeline.cameras[0].stream
    jitter = np.random.default_rng(0).normal(0, 0.002, 300)
    due = [stream._is_due(100.0 + index / offered + late) for index, late in enumerate(jitter)]
    assert abs(sum(due) - taken) <= 1


def test_max_rate_changes_at_run_time(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    assert rig.set(max_rate=0.001) == []
    for second in (1, 2, 3):
        rig.send("image", image(second))
        values = rig.status("camera", lambda values, status, n=second: values["frames received"] == str(n))
    assert values["frames over max_rate"] == "2"
    assert stamp_of(rig.answer("depth/image"))[0] == 1
    assert rig.set(max_rate=[0.0]) == []
    rig.send("image", image(4))
    assert stamp_of(rig.answer("depth/image", 2))[0] == 4


def test_remapping_the_image_moves_its_compressed_topic_along(ros_context: object, weights: dict[str, str]) -> None:
    from rclpy.parameter import Parameter

    from clip_depth_ros.ros.depth_node import DepthNode

    overrides = [
        Parameter(name, value=value)
        for name, value in {"weights": [weights["plain"]], "device": "cpu", "image_transport": "compressed"}.items()
    ]
    arguments = ["--ros-args", "-r", "image:=/driver/picture", "-r", "camera_info:=/driver/info"]
    node = DepthNode(context=ros_context, use_global_arguments=False, cli_args=arguments, parameter_overrides=overrides)
    try:
        node.trigger_configure()
        stream = node.pipeline.cameras[0].stream
        assert (stream.image_topic, stream.info_topic) == ("/driver/picture/compressed", "/driver/info")
    finally:
        remove(node)
