"""Bags in and out, without ROS: the names other parts use."""

from __future__ import annotations

from clip_depth_ros.replay.messages import BagMessage, TopicInfo, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.writer import BagWriter

__all__ = ["BagMessage", "BagReader", "BagWriter", "TopicInfo", "header_stamp_ns"]
