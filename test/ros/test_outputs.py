"""What the node publishes: which topics, with which values and headers, and only what somebody wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.qos import ReliabilityPolicy
from rig import Peer, Rig, camera_info, depth_array, image, picture, remove, stamp_of, stamped
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from clip_depth_ros.depth.estimator import DepthResult
from clip_depth_ros.depth.heads import DepthPrediction
from clip_depth_ros.ros.calibration import CalibrationKeeper
from clip_depth_ros.ros.depth_node import DepthNode
from clip_depth_ros.ros.network import Network
from clip_depth_ros.ros.outputs import CameraOutputs, Picture, valid_range
from clip_depth_ros.ros.parameters import Settings

MakeRig = Callable[..., Rig]


def raw_depth(rig: Rig, *arguments: Any) -> np.ndarray:
    """The estimator's own depth of ``picture(*arguments)``."""
    return rig.pipeline.network.estimator.run([picture(*arguments)])[0]["space_clip"].depth[0].numpy()


def cloud_array(message: PointCloud2) -> np.ndarray:
    """(height, width, 4) float32: x, y, z, rgb."""
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 4)


def test_depth_is_the_estimators_with_the_images_header_and_size(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.send("image", image(12, "front_optical", 80, 60, nanoseconds=345))
    answer = rig.answer("depth/image")
    assert stamp_of(answer) == (12, 345, "front_optical")
    assert (answer.width, answer.height, answer.encoding, answer.step) == (80, 60, "32FC1", 320)
    depth = depth_array(answer)
    assert np.ptp(depth) > 0.1
    np.testing.assert_allclose(depth, raw_depth(rig, 80, 60), atol=1e-5)


def test_every_topic_of_one_frame_carries_its_header(make_rig: MakeRig) -> None:
    rig = make_rig()
    topics = {
        "depth/image": Image,
        "depth/camera_info": CameraInfo,
        "depth/points": PointCloud2,
        "depth/image_color": Image,
        "clip/tokens": Image,
        "clip/embedding": Image,
    }
    for topic, kind in topics.items():
        rig.listen(kind, topic)
    rig.send("camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.send("image", image(5))
    for topic in topics:
        assert stamp_of(rig.answer(topic)) == (5, 7, "camera"), topic
    colour = rig.heard["depth/image_color"][0]
    assert (colour.encoding, colour.width, colour.height) == ("rgb8", 64, 48)
    info = rig.heard["depth/camera_info"][0]
    assert (info.width, info.height, info.k[0], info.p[0]) == (64, 48, 50.0, 50.0)


def test_depth_outside_the_range_is_nan_and_never_a_wall(make_rig: MakeRig) -> None:
    rig = make_rig()
    raw = raw_depth(rig)
    low, high = (float(value) for value in np.quantile(raw, (0.3, 0.7)))
    assert rig.set(depth__maximum=high) == []
    assert rig.set(depth__minimum=low) == []
    rig.listen(Image, "depth/image")
    rig.send("image", image())
    depth = depth_array(rig.answer("depth/image"))
    inside = (raw > low + 1e-4) & (raw < high - 1e-4)
    outside = (raw < low - 1e-4) | (raw > high + 1e-4)
    assert inside.sum() > 500
    assert outside.sum() > 500
    assert np.isnan(depth[outside]).all()
    np.testing.assert_allclose(depth[inside], raw[inside], atol=1e-5)
    # The range is for points and colours too.
    assert rig.set(depth__encoding="16UC1") == []
    rig.send("image", image(2))
    millimetres = depth_array(rig.answer("depth/image", 2))
    assert (millimetres[outside] == 0).all()
    np.testing.assert_allclose(millimetres[inside], raw[inside] * 1000, atol=0.6)


def test_parameters_narrow_the_heads_range_and_never_widen_it(make_rig: MakeRig) -> None:
    rig = make_rig(depth__maximum=500.0)
    prediction = rig.pipeline.network.estimator.run([picture()])[0]["space_clip"]
    assert valid_range(prediction, rig.depth_node.parameters.settings) == prediction.valid_range == (0.001, 10.0)
    rig.set(depth__minimum=2.0)
    rig.set(depth__maximum=3.0)
    assert valid_range(prediction, rig.depth_node.parameters.settings) == (2.0, 3.0)


@pytest.fixture(params=[False, True], ids=["points of the depth", "points of the network"])
def makes_clouds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the network makes the points, as it does on a GPU."""
    load = Network.load
    makes = bool(request.param)
    monkeypatch.setattr(Network, "load", lambda settings: replace(load(settings), makes_clouds=makes))
    return makes


def test_points_are_rays_times_depth_with_the_images_colour(make_rig: MakeRig, makes_clouds: bool) -> None:
    rig = make_rig(points__edge_threshold=0.0)
    rig.listen(Image, "depth/image")
    rig.listen(PointCloud2, "depth/points")
    rig.send("camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.send("image", image())
    cloud = rig.answer("depth/points")
    assert (cloud.width, cloud.height, cloud.point_step, cloud.is_dense) == (64, 48, 16, False)
    points, depth = cloud_array(cloud), depth_array(rig.answer("depth/image"))
    rows, columns = np.mgrid[:48, :64]
    np.testing.assert_allclose(points[..., 2], depth, atol=1e-6)
    np.testing.assert_allclose(points[..., 0], (columns - 31.5) / 50 * depth, atol=1e-5)
    np.testing.assert_allclose(points[..., 1], (rows - 23.5) / 50 * depth, atol=1e-5)
    colours = points[..., 3].copy().view(np.uint32)
    expected = picture().astype(np.uint32)
    np.testing.assert_array_equal(colours, expected[..., 0] << 16 | expected[..., 1] << 8 | expected[..., 2])
    # Every points.* parameter changes the next cloud.
    near = float(np.nanmedian(depth))
    for changes in ({"points__stride": 4}, {"points__maximum": near}, {"points__organised": False}):
        assert rig.set(**changes) == []
    rig.send("image", image(2))
    thinned = cloud_array(rig.answer("depth/points", 2))
    assert thinned.shape == (1, int((depth[::4, ::4] <= near).sum()), 4)
    assert (rig.pipeline.cameras[0].outputs._cloud is None) == makes_clouds


def test_only_wanted_topics_cost_work(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.publisher(Image, "image")
    rig.send("image", image(1))
    rig.status("camera", lambda values, status: values["frames nobody subscribed to"] == "1")
    assert rig.encodes == []
    rig.listen(Image, "depth/image_color")
    rig.send("image", image(2))
    assert stamp_of(rig.answer("depth/image_color")) == (2, 7, "camera")
    assert rig.encodes == [1]


def test_points_alone_without_camera_info_cost_no_network(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(PointCloud2, "depth/points")
    rig.send("image", image(1))
    values = rig.status("camera", lambda values, status: values["frames nobody subscribed to"] == "1")
    assert "no points: no camera_info arrived on /camera_info" in values["message"]
    assert rig.encodes == []


def test_tokens_alone_run_no_head(make_rig: MakeRig) -> None:
    rig = make_rig()
    ran: list[int] = []
    for head in rig.pipeline.network.estimator.heads.values():
        head.register_forward_hook(lambda *_: ran.append(1))
    rig.listen(Image, "clip/tokens")
    rig.send("image", image(1))
    assert rig.answer("clip/tokens").height == 17
    assert ran == []


def test_tokens_and_embedding_are_those_of_the_same_encode(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "clip/tokens", "clip/embedding")
    rig.send("image", image())
    tokens, embedding = (rig.answer(topic) for topic in ("clip/tokens", "clip/embedding"))
    expected = rig.pipeline.network.estimator.run([picture()], tokens=True)[0]
    np.testing.assert_allclose(depth_array(tokens), expected.tokens[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(depth_array(embedding), expected.embedding.numpy(), atol=1e-5)
    assert (tokens.height, tokens.width) == (17, 32)
    assert (embedding.height, embedding.width) == (1, 24)


def test_a_rectified_image_is_undistorted_first(make_rig: MakeRig, makes_clouds: bool) -> None:
    rig = make_rig(rectify=True, points__edge_threshold=0.0)
    rig.listen(Image, "depth/image_rect", "depth/image_color")
    rig.listen(CameraInfo, "depth/camera_info")
    rig.listen(PointCloud2, "depth/points")
    rig.publisher(Image, "image").publish(image(1))
    values = rig.status("camera", lambda values, status: values["frames nobody subscribed to"] == "1")
    assert "no output, because images cannot be rectified: no camera_info" in values["message"]
    info = camera_info()
    info.d = [-0.3, 0.08, 0.0, 0.0, 0.0]
    info.p[0] = info.p[5] = 30.0
    rig.send("camera_info", info)
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.send("image", image(2))
    depth = depth_array(rig.answer("depth/image_rect"))
    camera = rig.pipeline.cameras[0].stream.calibration.current.camera
    rectifier = rig.pipeline.cameras[0].geometry.get(camera).rectifier
    # P has the shorter focal length, so the border of the rectified image shows nothing: no reading there.
    assert 100 < rectifier.outside.sum() < 0.6 * depth.size
    assert np.isnan(depth[rectifier.outside]).all()
    estimate = rig.pipeline.network.estimator.run([rectifier(picture())], cameras=[rectifier.camera])
    inside = ~rectifier.outside
    np.testing.assert_allclose(depth[inside], estimate[0]["space_clip"].depth[0].numpy()[inside], atol=1e-5)
    answer = rig.answer("depth/camera_info")
    assert (stamp_of(answer), answer.k[0], answer.p[0], list(answer.d)) == ((2, 7, "camera"), 30.0, 30.0, [0.0] * 5)
    points = cloud_array(rig.answer("depth/points"))
    columns = np.arange(64)
    np.testing.assert_allclose(points[24, :, 0], (columns - 31.5) / 30 * points[24, :, 2], atol=1e-5)
    np.testing.assert_array_equal(points[..., 2], depth)
    assert "depth/image" not in {name for name, _ in rig.node.get_topic_names_and_types() if name == "/depth/image"}


def test_known_intrinsics_give_the_scale_of_this_lens(make_rig: MakeRig) -> None:
    rig = make_rig(network="canonical")
    rig.listen(Image, "depth/image")
    rig.send("image", image(1))
    unknown = depth_array(rig.answer("depth/image"))
    rig.status("camera", lambda values, status: "depth is not metric under this lens" in values["scale"])
    rig.send("camera_info", camera_info(focal=50.0))
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.send("image", image(2))
    known = depth_array(rig.answer("depth/image", 2))
    # The encoder sees 64x64 pixels of the 64x48: fx stays 50, fy becomes 50 * 64 / 48; the canonical length is 100.
    np.testing.assert_allclose(known, unknown * np.sqrt(50 * 50 * 64 / 48) / 100, rtol=1e-4)
    rig.status("camera", lambda values, status: values["scale"] == "metric for this lens")


def test_publishers_are_reliable_and_their_quality_can_be_overridden(make_rig: MakeRig) -> None:
    rig = make_rig(**{"qos_overrides./depth/points.publisher.reliability": "best_effort"})
    found = {}
    for topic in ("depth/image", "depth/points"):
        rig.until(lambda topic=topic: rig.node.get_publishers_info_by_topic(f"/{topic}"))
        found[topic] = rig.node.get_publishers_info_by_topic(f"/{topic}")[0].qos_profile.reliability
    assert found == {"depth/image": ReliabilityPolicy.RELIABLE, "depth/points": ReliabilityPolicy.BEST_EFFORT}


@pytest.mark.parametrize("seconds", [0, 2**31 - 1])
def test_extreme_stamps_come_back_unchanged(make_rig: MakeRig, seconds: int) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    message = stamped(image(), seconds, "", nanoseconds=0 if seconds == 0 else 999_999_999)
    rig.send("image", message)
    assert stamp_of(rig.answer("depth/image")) == stamp_of(message)


def test_further_heads_and_confidence_have_topics_of_their_own(ros_context: Any) -> None:
    node = DepthNode(context=ros_context, use_global_arguments=False)
    depth = torch.linspace(0.5, 12.0, 12).reshape(1, 3, 4)
    confidence = torch.linspace(0, 1, 12).reshape(1, 3, 4)
    result = DepthResult(
        {
            "space_clip": DepthPrediction(depth.clone(), (0.001, 10.0)),
            "second": DepthPrediction(depth.clone() / 2, (0.001, 3.0), confidence),
        },
        pooled=None,
        tokens=torch.zeros(1, 5, 8),
        embedding=None,
    )
    settings = replace(Settings.defaults(), heads=("space_clip", "second"))
    outputs = CameraOutputs(node, "front", settings)
    outputs.advertise(result)
    peer = Peer(ros_context, node)
    try:
        names = {name for name, _ in peer.node.get_topic_names_and_types() if name.startswith("/front/")}
        head = ("image", "camera_info", "points", "image_color")
        expected = {f"/front/{folder}depth/{name}" for folder in ("", "space_clip/", "second/") for name in head}
        confident = {"/front/depth/confidence", "/front/second/depth/confidence"}
        assert names == expected | confident | {"/front/clip/tokens"}
        peer.listen(Image, "front/second/depth/image", "front/second/depth/confidence")
        wanted = outputs.wanted(settings)
        assert wanted.folders == {"second": ("second", {"image", "confidence"})}
        assert wanted.heads == {"second"}
        assert wanted.clip == frozenset()
        for publisher in node._managed_entities:
            publisher.on_activate(None)
        message = image(9, width=4, height=3)
        calibration = CalibrationKeeper("/front/camera_info").current
        outputs.publish(Picture(message.header, picture(4, 3), None, calibration), result, wanted, settings)
        received = depth_array(peer.answer("front/second/depth/image"))
        reference = depth[0].numpy() / 2
        np.testing.assert_array_equal(np.isnan(received), reference > 3.0)
        np.testing.assert_allclose(received[reference <= 3.0], reference[reference <= 3.0])
        answer = peer.answer("front/second/depth/confidence")
        assert stamp_of(answer) == (9, 7, "camera")
        np.testing.assert_allclose(depth_array(answer), confidence[0].numpy())
        # The main output is whatever head the parameter names when a picture is read.
        peer.listen(Image, "front/depth/image")
        for seconds, main, divisor in ((10, "space_clip", 1), (11, "second", 2)):
            now = replace(settings, main_output=main)
            wanted = outputs.wanted(now)
            assert wanted.folders[""] == (main, {"image"})
            outputs.publish(Picture(image(seconds).header, picture(4, 3), None, calibration), result, wanted, now)
            received = depth_array(peer.answer("front/depth/image", seconds - 9))
            raw = depth[0].numpy() / divisor
            inside = raw < result[main].valid_range[1]
            np.testing.assert_allclose(received[inside], raw[inside])
    finally:
        peer.close()
        remove(node)
