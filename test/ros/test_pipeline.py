"""What exists while the node is configured, and that it is gone after cleanup."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from rig import Rig, image, stamp_of
from sensor_msgs.msg import Image

MakeRig = Callable[..., Rig]


def topics(rig: Rig) -> set[str]:
    """The topics of the camera."""
    return {name for name, _ in rig.node.get_topic_names_and_types() if name.startswith("/front/")}


def test_cleanup_frees_the_network_and_removes_the_topics(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["front"])
    rig.listen(Image, "front/depth/image")
    rig.send("front/image", image(1))
    rig.answer("front/depth/image")
    network = weakref.ref(rig.pipeline.network.estimator)
    rig.depth_node.trigger_deactivate()
    assert "clip_depth_worker" not in {thread.name for thread in threading.enumerate()}
    assert network() is not None
    rig.depth_node.trigger_cleanup()
    assert network() is None
    rig.forget()
    rig.until(lambda: topics(rig) <= {"/front/image"})


def test_a_node_can_be_configured_and_activated_again(make_rig: MakeRig) -> None:
    rig = make_rig()
    for second in (1, 2, 3):
        rig.listen(Image, "depth/image")
        rig.until(lambda: rig.publisher(Image, "image").get_subscription_count() == 1)
        rig.send("image", image(second))
        assert stamp_of(rig.answer("depth/image"))[0] == second
        rig.forget()
        rig.depth_node.trigger_deactivate()
        rig.depth_node.trigger_cleanup()
        rig.depth_node.autostart()


def test_an_inactive_node_does_not_listen(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.depth_node.trigger_deactivate()
    rig.until(lambda: rig.node.count_subscribers("/image") == 0)
    rig.depth_node.trigger_activate()
    rig.send("image", image(5))
    assert stamp_of(rig.answer("depth/image"))[0] == 5
