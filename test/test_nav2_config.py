"""config/nav2_costmap.yaml, read by ROS's own parser, against what Nav2 declares and what the node publishes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_depth_ros.resources import share_path

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

COSTMAPS = ("local_costmap", "global_costmap")
WAIT = 60.0  # seconds until something that should happen counts as not happening
# What Nav2's voxel layer declares (Humble, Jazzy and Kilted agree). It ignores other names, and throws for other types:
# 5 where it wants 5.0 stops Nav2.
LAYER = {
    "plugin": str,
    "enabled": bool,
    "footprint_clearing_enabled": bool,
    "max_obstacle_height": float,
    "origin_z": float,
    "z_resolution": float,
    "z_voxels": int,
    "unknown_threshold": int,
    "mark_threshold": int,
    "combination_method": int,
    "publish_voxel_map": bool,
    "observation_sources": str,
}
SOURCE = {
    "topic": str,
    "sensor_frame": str,
    "data_type": str,
    "marking": bool,
    "clearing": bool,
    "min_obstacle_height": float,
    "max_obstacle_height": float,
    "obstacle_min_range": float,
    "obstacle_max_range": float,
    "raytrace_min_range": float,
    "raytrace_max_range": float,
    "observation_persistence": float,
    "expected_update_rate": float,
}


def _parameters(context: Any, costmap: str) -> dict[str, Any]:
    """Returns what a costmap node of this name is given by the file."""
    node = rclpy.create_node(
        costmap,
        namespace=costmap,
        context=context,
        cli_args=["--ros-args", "--params-file", str(share_path("config/nav2_costmap.yaml"))],
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        return {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}
    finally:
        node.destroy_node()


def _below(parameters: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Returns the parameters of one group, without those of the groups inside it."""
    names = {name: name.removeprefix(f"{prefix}.") for name in parameters if name.startswith(f"{prefix}.")}
    return {short: parameters[name] for name, short in names.items() if "." not in short}


def _sources(parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    names = parameters["clip_depth_layer.observation_sources"].split()
    return {name: _below(parameters, f"clip_depth_layer.{name}") for name in names}


@pytest.mark.parametrize("costmap", COSTMAPS)
def test_nav2_knows_every_parameter_and_its_type(ros_context: Any, costmap: str) -> None:
    parameters = _parameters(ros_context, costmap)
    assert "clip_depth_layer" in parameters["plugins"]
    groups = [(_below(parameters, "clip_depth_layer"), LAYER)]
    groups += [(source, SOURCE) for source in _sources(parameters).values()]
    assert len(groups) == 3
    for values, declared in groups:
        assert values
        assert {name: type(value) for name, value in values.items()} == {name: declared.get(name) for name in values}


def test_both_costmaps_see_the_cloud_alike(ros_context: Any) -> None:
    local, world = (_parameters(ros_context, costmap) for costmap in COSTMAPS)
    layer = {name: value for name, value in local.items() if name.startswith("clip_depth_layer.")}
    assert layer
    assert layer == {name: value for name, value in world.items() if name.startswith("clip_depth_layer.")}


@pytest.mark.parametrize("costmap", COSTMAPS)
def test_heights_and_ranges_fit_together(ros_context: Any, costmap: str) -> None:
    parameters = _parameters(ros_context, costmap)
    layer, sources = _below(parameters, "clip_depth_layer"), list(_sources(parameters).values())
    (mark,) = (source for source in sources if source["marking"])
    (clear,) = (source for source in sources if source["clearing"])
    grid_top = layer["origin_z"] + layer["z_voxels"] * layer["z_resolution"]
    assert layer["z_voxels"] <= 16
    assert mark["max_obstacle_height"] <= grid_top
    assert clear["min_obstacle_height"] < 0.0 < mark["min_obstacle_height"]
    assert mark["obstacle_min_range"] < mark["obstacle_max_range"] < clear["raytrace_max_range"]


def test_ranges_lie_within_what_the_shipped_model_measures(ros_context: Any) -> None:
    from clip_depth_ros.depth.checkpoint import read_metadata
    from clip_depth_ros.depth.config import EstimatorConfig
    from clip_depth_ros.resources import resolve

    config = EstimatorConfig.from_yaml(share_path("config/demo.yaml"))
    weights = [read_metadata(resolve(path)) for path in config.weights]
    ((nearest, farthest),) = [head.head["valid_range"] for head in weights if head.method == config.heads[0]]
    for source in _sources(_parameters(ros_context, "local_costmap")).values():
        assert nearest <= source.get("obstacle_min_range", nearest)
        assert max(source.get("obstacle_max_range", 0.0), source.get("raytrace_max_range", 0.0)) <= farthest


@pytest.fixture
def depth_node(ros_context: Any, tmp_path: Path) -> Iterator[Any]:
    """A running node with its default names and a small random network."""
    from networks import TINY, tiny_encoder, tiny_head
    from rclpy.parameter import Parameter

    from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
    from clip_depth_ros.ros.depth_node import DepthNode

    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, CheckpointMetadata(method="space_clip", encoder=TINY), tiny_head(), tiny_encoder())
    overrides = [Parameter("weights", value=[str(weights)]), Parameter("device", value="cpu")]
    node = DepthNode(context=ros_context, parameter_overrides=overrides, use_global_arguments=False)
    node.autostart()
    yield node
    node.close()
    node.destroy_node()


def test_a_costmap_hears_the_node(ros_context: Any, depth_node: Any) -> None:
    """Each source subscribes as Nav2 does, by its topic, type and QoS, and a cloud with float x, y, z arrives."""
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

    sources = _sources(_parameters(ros_context, "local_costmap"))
    assert {source["data_type"] for source in sources.values()} == {PointCloud2.__name__}
    # In Nav2's own namespace: on Humble and Jazzy a relative topic would be looked for there.
    costmap = rclpy.create_node("local_costmap", namespace="local_costmap", context=ros_context)
    heard: dict[str, list[Any]] = {name: [] for name in sources}
    sensor_data = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
    for name, source in sources.items():
        costmap.create_subscription(PointCloud2, source["topic"], heard[name].append, sensor_data)
    camera = rclpy.create_node("camera", context=ros_context)
    images = camera.create_publisher(Image, "image", 1)
    infos = camera.create_publisher(CameraInfo, "camera_info", 1)
    image = Image(width=64, height=48, encoding="rgb8", step=192, data=bytes(64 * 48 * 3))
    image.header.frame_id = "camera_optical_frame"
    info = CameraInfo(width=64, height=48, k=[50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0])
    info.p = [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    executor = SingleThreadedExecutor(context=ros_context)
    for node in (depth_node, costmap, camera):
        executor.add_node(node)
    deadline = time.monotonic() + WAIT
    due = 0.0
    while not all(heard.values()):
        now = time.monotonic()
        assert now < deadline, f"no cloud reached {[name for name in heard if not heard[name]]}"
        if now >= due:  # a camera's pace: a flood would keep this thread busy, and the node's worker waiting for it
            infos.publish(info)
            images.publish(image)
            due = now + 0.2
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    for messages in heard.values():
        fields = {field.name: field.datatype for field in messages[0].fields}
        assert {fields.get(axis) for axis in "xyz"} == {PointField.FLOAT32}
        # With sensor_frame empty, Nav2 looks from the cloud's own frame.
        assert messages[0].header.frame_id == "camera_optical_frame"
    costmap.destroy_node()
    camera.destroy_node()
