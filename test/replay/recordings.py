"""Recordings made for a test: a small camera, in every container a bag can come in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
WIDTH, HEIGHT = 32, 24
IMAGE_TYPE = "sensor_msgs/msg/Image"
TYPES = get_typestore(Stores.ROS2_JAZZY)


def stamped_header(stamp_ns: int, frame_id: str = "camera_optical_frame") -> Any:
    stamp = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return TYPES.types["std_msgs/msg/Header"](stamp, frame_id)


def image(stamp_ns: int, pixels: np.ndarray, encoding: str) -> Any:
    height, width = pixels.shape[:2]
    raw = np.ascontiguousarray(pixels)
    data = raw.view(np.uint8).reshape(-1)
    return TYPES.types["sensor_msgs/msg/Image"](
        stamped_header(stamp_ns), height, width, encoding, 0, raw.strides[0], data
    )


def camera_info(stamp_ns: int, width: int = WIDTH, height: int = HEIGHT) -> Any:
    k = np.array([30.0, 0, width / 2, 0, 30.0, height / 2, 0, 0, 1])
    p = np.hstack([k.reshape(3, 3), np.zeros((3, 1))]).reshape(-1)
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return TYPES.types["sensor_msgs/msg/CameraInfo"](
        stamped_header(stamp_ns), height, width, "plumb_bob", np.zeros(5), k, np.eye(3).reshape(-1), p, 0, 0, region
    )


def camera_messages(frames: int = 4, width: int = WIDTH, height: int = HEIGHT) -> list[tuple[str, int, Any]]:
    """Topic, receive time and message of a few frames: camera_info, rgb8 and 16UC1 depth."""
    rng = np.random.default_rng(1)
    messages: list[tuple[str, int, Any]] = []
    for index in range(frames):
        time_ns = START_NS + index * PERIOD_NS
        rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        depth = rng.integers(500, 5000, (height, width), dtype=np.uint16)
        messages += [
            ("/camera/camera_info", time_ns, camera_info(time_ns, width, height)),
            ("/camera/image", time_ns + 1, image(time_ns, rgb, "rgb8")),
            ("/camera/depth/image", time_ns + 2, image(time_ns, depth, "16UC1")),
        ]
    return messages


def write_bag(
    path: Path,
    messages: Sequence[tuple[str, int, Any]],
    storage: str = "MCAP",
    compression: str = "NONE",
    version: int = 8,
) -> Path:
    """Writes a bag with rosbags itself, so that the reader is not tested against our own writer."""
    writer = Writer(path, version=version, storage_plugin=StoragePlugin[storage])
    writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], time_ns, TYPES.serialize_cdr(message, kind))
    return path
