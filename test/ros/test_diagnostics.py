"""What the node says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.parameter import Parameter
from rig import Peer, Rig, camera_info, image, remove
from sensor_msgs.msg import Image, PointCloud2

from clip_depth_ros.ros.depth_node import DepthNode

MakeRig = Callable[..., Rig]
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


def test_the_node_says_what_it_runs(make_rig: MakeRig) -> None:
    rig = make_rig(precision="fp32")
    values = rig.status("node", lambda values, status: status.level == OK and status.message == "active")
    estimator = rig.pipeline.network.estimator
    expected = {
        "state": "active",
        "device": "cpu",
        "precision": "fp32",
        "encoder": "tiny",
        "encoder identity": estimator.encoder.identity()[:12],
        "heads": "space_clip",
        "weights": rig.depth_node.parameters.settings.weights[0],
        "batches": "0",
        "pictures a batch": "nan",
        "most pictures a batch": "no limit",
        "times out of memory": "0",
    }
    assert {key: values[key] for key in expected} == expected
    assert float(values["host memory [MiB]"]) > 50


def test_a_running_camera_shows_rates_times_and_counts(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["front"])
    rig.listen(Image, "front/depth/image")
    rig.listen(PointCloud2, "front/depth/points")
    rig.send("front/camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    for second in range(1, 11):
        rig.send("front/image", image(second))
        rig.answer("front/depth/points", second)
    values = rig.status(
        "camera front", lambda values, status: status.level == OK and values["frames published"] == "10"
    )
    assert values["frames received"] == "10"
    counted = ("dropped for a newer one", "over max_rate", "nobody subscribed to", "rejected", "failed")
    assert [values[f"frames {name}"] for name in counted] == ["0"] * 5
    assert float(values["input rate [Hz]"]) > 1
    assert float(values["output rate [Hz]"]) > 1
    times = {name: float(values[f"{name} [ms]"]) for name in ("latency p50", "latency p99", "node cost p50")}
    steps = [float(values[f"{name} p50 [ms]"]) for name in ("wait", "read", "network", "write")]
    assert 0 < times["node cost p50"] < times["latency p50"] <= times["latency p99"]
    assert all(step >= 0 for step in steps)
    told = [values[name] for name in ("calibration", "points", "last error")]
    assert told == ["plumb_bob 64x48, focal lengths 50.00 and 50.00 px", "possible", "none"]
    assert values["scale"].startswith("as trained: the weights name no focal length")
    assert (values["share of batches [%]"], rig.values("node")["pictures a batch"]) == ("100", "1.00")


def test_a_bad_message_is_a_warning_that_passes(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    bad = image()
    bad.encoding = "holographic"
    rig.send("image", bad)
    values = rig.status("camera", lambda values, status: status.level == WARN and values["frames rejected"] == "1")
    assert values["last error"].startswith("/image: The image's encoding 'holographic' is unknown")
    assert values["last error"] in values["message"]
    rig.send("image", image(2))
    rig.status("camera", lambda values, status: status.level == OK and values["frames published"] == "1")


def test_an_idle_camera_is_fine(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.publisher(Image, "image").publish(image())
    values = rig.status("camera", lambda values, status: status.level == OK and values["frames received"] == "1")
    assert values["message"] == "nobody subscribes, so the network rests"


def test_a_node_that_cannot_configure_says_why(make_rig: MakeRig, tmp_path: Any) -> None:
    rig = make_rig(network="stranger")
    values = rig.status("node", lambda values, status: status.level == ERROR)
    assert values["message"].startswith("cannot configure: ")
    assert "stranger.safetensors" in values["message"]
    assert values["state"] == "unconfigured"


def test_simulated_time_that_has_not_begun_stops_nothing(ros_context: Any, weights: dict[str, str]) -> None:
    values = {"weights": [weights["plain"]], "device": "cpu", "diagnostics.period": 0.1, "use_sim_time": True}
    node = DepthNode(
        context=ros_context,
        use_global_arguments=False,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    peer = Peer(ros_context, node)
    try:
        node.autostart()
        peer.listen(Image, "depth/image")
        peer.send("image", image(3))
        assert peer.answer("depth/image").header.stamp.sec == 3
        peer.status("camera", lambda values, status: values["frames published"] == "1")
        assert peer.heard["/diagnostics"][-1].header.stamp.sec > 1_600_000_000
    finally:
        peer.close()
        remove(node)
