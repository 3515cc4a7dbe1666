"""Recordings with a known scene: messages, and the pose of a robot that drives a curve, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from recordings import START_NS, TYPES, stamped_header

WIDTH, HEIGHT, FOCAL = 64, 48, 50.0
CENTRE = (31.5, 23.5)
CAMERA_FRAME, LIDAR_FRAME = "camera_optical", "lidar"

# The camera looks along the base's x axis: its z is the base's x, its x the base's -y, its y the base's -z (REP 103).
BASE_FROM_CAMERA = np.array([[0, 0, 1, 0.3], [-1, 0, 0, 0.1], [0, -1, 0, 0.5], [0, 0, 0, 1.0]])
OPTICAL_QUATERNION = (-0.5, 0.5, -0.5, 0.5)
LIDAR_YAW = 0.7
BASE_FROM_LIDAR = np.array(
    [
        [math.cos(LIDAR_YAW), -math.sin(LIDAR_YAW), 0, -0.1],
        [math.sin(LIDAR_YAW), math.cos(LIDAR_YAW), 0, 0.0],
        [0, 0, 1, 0.9],
        [0, 0, 0, 1.0],
    ]
)
MS = 1_000_000
LATE = 30 * MS  # a scan is stamped so long after its picture
Message = tuple[str, int, Any]
SPEED, TURN = 1.5, 0.8  # metres a second along the odometry's x axis, radians a second


def make(kind: str, /, **values: Any) -> Any:
    return TYPES.types[kind](**values)


def odom_from_base(time_ns: int) -> np.ndarray:
    """Where the robot is: it slides along x while it turns about z, both steadily."""
    seconds = (time_ns - START_NS) / 1e9
    yaw = TURN * seconds
    return np.array(
        [
            [math.cos(yaw), -math.sin(yaw), 0, SPEED * seconds],
            [math.sin(yaw), math.cos(yaw), 0, 0.2],
            [0, 0, 1, 0],
            [0, 0, 0, 1.0],
        ]
    )


def transform(time_ns: int, parent: str, child: str, translation: Any, quaternion: Any) -> Any:
    x, y, z = (float(value) for value in translation)
    qx, qy, qz, qw = (float(value) for value in quaternion)
    return make(
        "geometry_msgs/msg/TransformStamped",
        header=stamped_header(time_ns, parent),
        child_frame_id=child,
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        ),
    )


def yaw_quaternion(yaw: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)


def static_transforms() -> tuple[str, int, Any]:
    camera = transform(START_NS, "base", CAMERA_FRAME, BASE_FROM_CAMERA[:3, 3], OPTICAL_QUATERNION)
    lidar = transform(START_NS, "base", LIDAR_FRAME, BASE_FROM_LIDAR[:3, 3], yaw_quaternion(LIDAR_YAW))
    return "/tf_static", START_NS, make("tf2_msgs/msg/TFMessage", transforms=[camera, lidar])


def odometry(first_ns: int, last_ns: int, step_ns: int = 70_000_000) -> list[tuple[str, int, Any]]:
    """Transforms at times that are neither the pictures' nor the scans'."""
    messages = []
    for time in range(first_ns, last_ns + step_ns, step_ns):
        yaw = TURN * (time - START_NS) / 1e9
        pose = transform(time, "odom", "base", odom_from_base(time)[:3, 3], yaw_quaternion(yaw))
        messages.append(("/tf", time, make("tf2_msgs/msg/TFMessage", transforms=[pose])))
    return messages


def picture(time_ns: int, frame: str = CAMERA_FRAME, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return image(time_ns, pixels, "rgb8", frame)


def image(time_ns: int, pixels: np.ndarray, encoding: str, frame: str = CAMERA_FRAME) -> Any:
    pixels = np.ascontiguousarray(pixels)
    return make(
        "sensor_msgs/msg/Image",
        header=stamped_header(time_ns, frame),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.strides[0],
        data=pixels.view(np.uint8).reshape(-1),
    )


def calibration(
    time_ns: int,
    frame: str = CAMERA_FRAME,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    focal: float = FOCAL,
    centre: tuple[float, float] = CENTRE,
    model: str = "plumb_bob",
    distortion: Any = (0.0,) * 5,
    projection: Any = None,
) -> Any:
    k = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    p = np.hstack([k, np.zeros((3, 1))]) if projection is None else np.asarray(projection, np.float64)
    region = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=stamped_header(time_ns, frame),
        height=size[1],
        width=size[0],
        distortion_model=model,
        d=np.array(distortion, np.float64),
        k=k.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=p.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def cloud(
    time_ns: int, points: np.ndarray, kind: str = "<f4", offset: int = 4, padding: int = 5, frame: str = LIDAR_FRAME
) -> Any:
    """A cloud of one row whose x, y, z begin ``offset`` bytes into each point, with ``padding`` bytes after."""
    dtype = np.dtype(kind)
    step = offset + 3 * dtype.itemsize + padding
    raw = np.full((len(points), step), 0xAB, np.uint8)
    values = np.ascontiguousarray(points, dtype).view(np.uint8).reshape(len(points), 3 * dtype.itemsize)
    raw[:, offset : offset + values.shape[1]] = values
    number = 8 if dtype.itemsize == 8 else 7
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=offset + axis * dtype.itemsize, datatype=number, count=1)
        for axis, name in enumerate("xyz")
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=stamped_header(time_ns, frame),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=dtype.byteorder == ">",
        point_step=step,
        row_step=step * len(points),
        data=raw.reshape(-1),
        is_dense=False,
    )


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def points_on_pixels(depth: np.ndarray) -> np.ndarray:
    """The points (N, 3) in the camera's frame that a pinhole camera sees on the pixels with depth, by hand."""
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    return np.stack([(columns - CENTRE[0]) / FOCAL * z, (rows - CENTRE[1]) / FOCAL * z, z], axis=1)


def sparse_depth(seed: int) -> np.ndarray:
    """(H, W) metres on every eighth pixel, too far apart for one to hide another."""
    depth = np.zeros((HEIGHT, WIDTH))
    depth[2::8, 3::8] = np.random.default_rng(seed).uniform(2, 40, depth[2::8, 3::8].shape)
    return depth


def lidar_drive(seconds: float = 1.0, scan_of: Any = None) -> tuple[list[Message], list[np.ndarray]]:
    """A robot that drives a curve; each scan, 30 ms after its picture, holds what lies on chosen pixels of it."""
    messages, truths = [static_transforms()], []
    messages += odometry(START_NS, START_NS + round(seconds * 1e9) + 100 * MS)
    for number in range(round(seconds * 10)):
        time = START_NS + 50 * MS + number * 100 * MS
        truths.append(sparse_depth(number) if scan_of is None else scan_of(number))
        world = moved(odom_from_base(time) @ BASE_FROM_CAMERA, points_on_pixels(truths[-1]))
        scan = moved(np.linalg.inv(odom_from_base(time + LATE) @ BASE_FROM_LIDAR), world)
        messages += [
            ("/front/camera_info", time, calibration(time)),
            ("/front/image", time, picture(time, seed=number)),
            ("/points", time + LATE, cloud(time + LATE, scan)),
        ]
    return messages, truths
