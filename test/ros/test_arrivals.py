"""A camera whose images do not arrive: the reason, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rig import Rig, image
from sensor_msgs.msg import CompressedImage, Image

from clip_depth_ros.resources import share_path
from clip_depth_ros.ros.arrivals import transport
from clip_depth_ros.ros.fastdds import PROFILE, profile_environment

MakeRig = Callable[..., Rig]
Status = dict[str, str]


def silent(rig: Rig, sentence: str) -> str:
    """Waits until the camera's diagnostics hold ``sentence``; returns its level as a number."""
    levels: list[bytes] = []

    def told(values: Status, status: object) -> bool:
        levels[:] = [status.level]
        return sentence in status.message

    rig.status("camera", told)
    return levels[0]


def test_nobody_publishes(make_rig: MakeRig) -> None:
    assert silent(make_rig(diagnostics__timeout=0.1), "nobody publishes /image") == b"\x03"


def test_only_the_other_transport_is_published(make_rig: MakeRig) -> None:
    rig = make_rig(diagnostics__timeout=0.1)
    rig.node.create_publisher(CompressedImage, "image/compressed", 1)
    silent(rig, "somebody publishes /image/compressed: set image_transport to compressed")


def test_another_type_is_published(make_rig: MakeRig, ros_domain_id: int) -> None:
    rig = make_rig(diagnostics__timeout=0.1)
    other = rclpy.Context()  # one DDS participant cannot hold two types of a topic, so another one
    rclpy.init(context=other, domain_id=ros_domain_id)
    try:
        node = rclpy.create_node("driver", context=other, use_global_arguments=False)
        node.create_publisher(CompressedImage, "image", 1)
        assert silent(rig, "/image carries sensor_msgs/msg/CompressedImage") == b"\x02"
        node.destroy_node()
    finally:
        rclpy.shutdown(context=other)


def test_a_publisher_that_is_not_heard_points_to_the_fast_dds_profile(make_rig: MakeRig) -> None:
    rig = make_rig(diagnostics__timeout=0.1)
    rig.publisher(Image, "image")
    assert silent(rig, "/image has a publisher, but no image gets here") == b"\x02"
    silent(rig, f"_DEFAULT_PROFILES_FILE={share_path(PROFILE)}")


def test_the_nodes_own_transport_is_shown() -> None:
    assert "large messages may be lost" in transport({})
    assert str(share_path(PROFILE)) in transport({})
    assert transport(profile_environment({})) == "set for large messages, or chosen by the user"


def test_a_quality_that_cannot_match_is_named(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig(diagnostics__timeout=0.1, **{"qos_overrides./image.subscription.reliability": "reliable"})
    rig.node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    silent(rig, "a publisher of /image offers a RELIABILITY this node cannot match")
    assert silent(rig, "no image: match the publisher's QoS") == b"\x02"
    assert "No data will be received: a publisher of /image" in capfd.readouterr().err


def test_a_subscriber_that_asks_too_much_is_named(make_rig: MakeRig) -> None:
    rig = make_rig()
    quality = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    rig.node.create_subscription(Image, "depth/image", lambda message: None, quality)
    silent(rig, "a subscriber of /depth/image asks for a DURABILITY this node does not offer")


def test_a_camera_that_stopped_is_stale(make_rig: MakeRig) -> None:
    rig = make_rig(diagnostics__timeout=0.2)
    rig.send("image", image())
    assert silent(rig, " s, though its publisher is there") == b"\x03"
