"""The RViz config and the Foxglove layout, as far as they can be checked where neither program is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from recordings import camera_info, camera_messages, write_bag

from clip_depth_ros.messages.camera_info import camera_from_message
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.result_bag import ResultBag

CONFIG = Path(__file__).resolve().parents[2] / "config"
# What rviz_common and rviz_default_plugins register, of the kinds that are used.
PANELS = {"rviz_common/Displays", "rviz_common/Views", "rviz_common/Time", "rviz_common/Selection"}
DISPLAYS = {f"rviz_default_plugins/{name}" for name in ("Axes", "Camera", "Grid", "Image", "PointCloud2", "TF")}
TOOLS = {f"rviz_default_plugins/{name}" for name in ("FocusCamera", "Interact", "Measure", "MoveCamera", "Select")}
PANEL_KINDS = {"Image", "3D", "DiagnosticSummary", "DiagnosticStatusPanel", "Plot"}
NODE_TOPICS = {"/diagnostics": "diagnostic_msgs/msg/DiagnosticArray"}


@pytest.fixture(scope="module")
def topics(tmp_path_factory) -> dict[str, str]:
    """Topic and type of everything in a result bag, and of what only the node sends."""
    folder = tmp_path_factory.mktemp("bags")
    source = write_bag(folder / "input", camera_messages(1))
    camera = camera_from_message(camera_info(0))
    with BagReader(source) as reader, ResultBag(folder / "result", {"head": (0.1, 10.0)}) as bag:
        bag.copy_from(reader, "/camera/camera_info")
        (message,) = reader.messages(["/camera/image"])
        rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
        depth = np.ones((camera.height, camera.width), np.float32)
        bag.write(message, reader.decode(message).header, rgb, {"head": depth}, camera)
    with BagReader(folder / "result") as result:
        return {name: topic.type for name, topic in result.topics.items()} | NODE_TOPICS


def test_rviz_shows_topics_there_are_with_plugins_there_are(topics):
    document = yaml.safe_load((CONFIG / "replay.rviz").read_text())
    manager = document["Visualization Manager"]
    assert {panel["Class"] for panel in document["Panels"]} <= PANELS
    assert {tool["Class"] for tool in manager["Tools"]} <= TOOLS
    assert manager["Transformation"]["Current"]["Class"] == "rviz_default_plugins/TF"
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"
    displays = manager["Displays"]
    assert {display["Class"] for display in displays} <= DISPLAYS
    names = [display["Name"] for display in displays]
    assert len(set(names)) == len(names)
    (time,) = (panel for panel in document["Panels"] if panel["Class"] == "rviz_common/Time")
    assert time["SyncSource"] in names
    kinds = {"rviz_default_plugins/Image": "sensor_msgs/msg/Image"}
    kinds["rviz_default_plugins/PointCloud2"] = "sensor_msgs/msg/PointCloud2"
    shown = {display["Topic"]["Value"]: kinds[display["Class"]] for display in displays if "Topic" in display}
    assert shown == {name: topics[name] for name in shown}
    assert set(shown) == {"/camera/image", "/camera/depth/image", "/camera/depth/image_color", "/camera/depth/points"}
    for display in displays:
        if "Topic" in display:
            # What ros2 bag play and the node offer; a subscriber that asks for more would hear nothing.
            assert display["Topic"]["Reliability Policy"] in ("Reliable", "Best Effort")
            assert display["Topic"]["Durability Policy"] == "Volatile"
    (points,) = (display for display in displays if display["Class"].endswith("PointCloud2"))
    assert (points["Color Transformer"], points["Position Transformer"]) == ("RGB8", "XYZ")


def test_rviz_stands_in_the_frame_of_made_bags():
    from clip_depth_ros.replay.make_bag import FRAME_ID

    document = yaml.safe_load((CONFIG / "replay.rviz").read_text())
    assert document["Visualization Manager"]["Global Options"]["Fixed Frame"] == FRAME_ID
    layout = json.loads((CONFIG / "replay_foxglove.json").read_text())
    assert layout["configById"]["3D!points"]["followTf"] == FRAME_ID


def test_rviz_looks_along_the_camera_from_behind():
    view = yaml.safe_load((CONFIG / "replay.rviz").read_text())["Visualization Manager"]["Views"]["Current"]
    # RViz's Orbit: the eye is at distance (cos yaw cos pitch, sin yaw cos pitch, sin pitch) from the focal point.
    yaw, pitch, distance = view["Yaw"], view["Pitch"], view["Distance"]
    focus = np.array([view["Focal Point"][axis] for axis in "XYZ"])
    eye = focus + distance * np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    assert eye[2] < 0 < focus[2]  # behind the camera, looking forward along z
    assert eye[1] < 0  # above: y is down
    assert abs(eye[0]) < 0.01


def _leaves(node) -> list[str]:
    return [node] if isinstance(node, str) else _leaves(node["first"]) + _leaves(node["second"])


def _check_splits(node) -> None:
    if not isinstance(node, str):
        assert node["direction"] in ("row", "column")
        assert 0 < node["splitPercentage"] < 100
        for part in ("first", "second"):
            _check_splits(node[part])


def test_foxglove_layout_has_every_panel_once_and_topics_there_are(topics):
    document = json.loads((CONFIG / "replay_foxglove.json").read_text())
    panels = document["configById"]
    assert sorted(_leaves(document["layout"])) == sorted(panels)
    _check_splits(document["layout"])
    assert {name.partition("!")[0] for name in panels} <= PANEL_KINDS
    for name, panel in panels.items():
        kind = name.partition("!")[0]
        if kind == "Image":
            assert topics[panel["imageMode"]["imageTopic"]] == "sensor_msgs/msg/Image"
            assert topics[panel["imageMode"]["calibrationTopic"]] == "sensor_msgs/msg/CameraInfo"
        elif kind == "3D":
            assert {topics[topic] for topic in panel["topics"]} == {"sensor_msgs/msg/PointCloud2"}
        else:
            assert topics[panel["topicToRender"]] == "diagnostic_msgs/msg/DiagnosticArray"
