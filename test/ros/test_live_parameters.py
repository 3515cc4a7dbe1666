"""Parameters of a live node: rejected with a reason and nothing changed, or changed at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest
from rclpy.parameter import Parameter
from rig import Rig

from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.depth_node import DepthNode
from clip_depth_ros.ros.parameters import BY_NAME

MakeRig = Callable[..., Rig]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("points.stride", 0, "out of range"),
        ("points.stride", 65, "out of range"),
        ("points.stride", "2", "Wrong parameter type"),
        ("points.stride", 2.5, "Wrong parameter type"),
        ("max_rate", -0.5, "max_rate holds -0.5: each must be from 0 to 1000"),
        ("max_rate", [float("nan")], "each must be from 0 to 1000"),
        ("max_rate", [5.0, 5.0], "max_rate holds 2 numbers and cameras 1 names"),
        ("max_rate", "fast", "Wrong parameter type"),
        ("diagnostics.timeout", 0.05, "out of range"),
        ("diagnostics.timeout", float("nan"), "out of range"),
        ("depth.encoding", "64FC1", "must be one of '32FC1', '16UC1'"),
        ("encoding_override", "rgb9", "encoding_override is 'rgb9'"),
        ("points.organised", 1, "Wrong parameter type"),
        ("cameras", ["left"], "cameras is fixed by configure"),
        ("weights", ["/nowhere.safetensors"], "weights is fixed by configure"),
        ("device", "cuda", "device is fixed by configure"),
        ("rectify", True, "rectify is fixed by configure"),
        ("autostart", False, "read-only"),
    ],
)
def test_a_rejected_change_leaves_the_node_as_it_was(make_rig: MakeRig, name: str, value: Any, reason: str) -> None:
    rig = make_rig()
    before, descriptor = rig.depth_node.parameters.settings, rig.depth_node.describe_parameter(name)
    assert reason in rig.set(**{name: value})[0]
    assert rig.depth_node.parameters.settings is before
    kept = rig.depth_node.get_parameter(name).value
    assert (tuple(kept) if isinstance(kept, (list, array)) else kept) == getattr(before, name.replace(".", "_"))
    assert rig.depth_node.describe_parameter(name) == descriptor


def test_what_changes_at_run_time_does_and_all_the_rest_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    changes: dict[str, Any] = {
        "main_output": "space_clip",
        "encoding_override": "bgr8",
        "depth.encoding": "16UC1",
        "depth.minimum": 0.5,
        "depth.maximum": 4.0,
        "points.stride": 3,
        "points.minimum": 0.25,
        "points.maximum": 8.0,
        "points.edge_threshold": 0.0,
        "points.organised": False,
        "max_rate": [12.5],
        "diagnostics.period": 0.2,
        "diagnostics.timeout": 1.0,
    }
    assert set(changes) == {spec.name for spec in BY_NAME.values() if spec.at_run_time}
    for name, value in changes.items():
        assert rig.set(**{name: value}) == []
        kept = getattr(rig.depth_node.parameters.settings, name.replace(".", "_"))
        assert (list(kept) if isinstance(kept, tuple) else kept) == value


def test_a_range_moves_in_one_request(make_rig: MakeRig) -> None:
    rig = make_rig(depth__minimum=1.0, depth__maximum=2.0)
    assert "depth.minimum (3 m) is not below depth.maximum (2 m)" in rig.set(depth__minimum=3.0)[0]
    both = [Parameter("depth.minimum", value=3.0), Parameter("depth.maximum", value=4.0)]
    assert rig.depth_node.set_parameters_atomically(both).successful
    settings = rig.depth_node.parameters.settings
    assert (settings.depth_minimum, settings.depth_maximum) == (3.0, 4.0)


def test_whole_numbers_are_taken_where_a_rate_is_meant(make_rig: MakeRig) -> None:
    rig = make_rig(max_rate=10)
    assert rig.depth_node.parameters.settings.max_rate == (10.0,)
    assert rig.set(max_rate=15, diagnostics__period=2) == []
    assert list(rig.depth_node.get_parameter("max_rate").value) == [15.0]
    assert rig.depth_node.get_parameter("diagnostics.period").value == 2.0


def test_cameras_and_their_rates_change_in_one_request(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["left", "right"], max_rate=[5.0, 0.0])
    rig.depth_node.trigger_deactivate()
    rig.depth_node.trigger_cleanup()
    assert "set both in one request" in rig.set(cameras=["left"])[0]
    both = [Parameter("cameras", value=["left"]), Parameter("max_rate", value=[7.0])]
    assert rig.depth_node.set_parameters_atomically(both).successful
    assert rig.depth_node.parameters.settings.max_rate_of("left") == 7.0


def test_fixed_parameters_change_after_cleanup(make_rig: MakeRig) -> None:
    rig = make_rig(cameras=["left"])
    rig.depth_node.trigger_deactivate()
    assert "fixed by configure" in rig.set(cameras=["right"])[0]
    rig.depth_node.trigger_cleanup()
    assert rig.set(cameras=["right"]) == []
    rig.depth_node.trigger_configure()
    assert [camera.stream.image_topic for camera in rig.pipeline.cameras] == ["/right/image"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("points.stride", 0, "Parameter points.stride"),
        ("points.stride", "two", "Parameter points.stride is 'two' of type STRING: give it a value of type INTEGER"),
        ("cameras", "front", "Parameter cameras is 'front' of type STRING: give it a value of type STRING_ARRAY"),
        ("heads", ["a b"], "Parameter heads holds 'a b'"),
        ("depth.minimum", 2000.0, "Parameter depth.minimum"),
        ("max_rate", [5.0, 5.0], "Parameter max_rate holds 2 numbers and cameras 1 names"),
    ],
)
def test_a_bad_value_at_launch_is_one_sentence(ros_context: Any, name: str, value: Any, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        DepthNode(context=ros_context, use_global_arguments=False, parameter_overrides=[Parameter(name, value=value)])
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_a_parameter_there_is_not_is_pointed_out(make_rig: MakeRig, capfd: pytest.CaptureFixture[str]) -> None:
    rig = make_rig(**{"points.strid": 4, "qos_overrides./depth/image.publisher.depth": 5})
    assert rig.depth_node.parameters.unknown() == ["points.strid"]
    assert "There is no parameter 'points.strid'" in capfd.readouterr().err
