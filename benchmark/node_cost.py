"""What the running node costs without its network: ``python -m benchmark.node_cost``.

Starts the real node as a process of its own, sends 640x480 images over real DDS, subscribes to depth, colour and
points, and reads the node's own timing from /diagnostics. Node cost is the time from the image callback's entry to
the return of the last publish, minus the network. Each run prints a row; the JSON holds all of them with hardware,
versions and settings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from benchmark.hardware import hardware
from clip_depth_ros.files import replacing
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.resources import resolve
from clip_depth_ros.ros.fastdds import profile_environment
from clip_depth_ros.ros.images import colour_message

OUTPUTS = {"depth/image": Image, "depth/image_color": Image, "depth/points": PointCloud2}
TIMES = (
    "node cost p50",
    "node cost p99",
    "read p50",
    "read p99",
    "network p50",
    "network p99",
    "write p50",
    "write p99",
)


def main() -> int:
    """Runs the benchmark; returns 0, or 1 when the node did not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="package://clip_depth_ros/config/demo.yaml", help="ROS parameter file")
    parser.add_argument("--frames", type=int, default=200, help="images a run (default 200)")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second, Hz (default 10)")
    parser.add_argument("--runs", type=int, default=3, help="runs, each with a node of its own (default 3)")
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT, pixels (default 640x480)")
    parser.add_argument("--without-points", action="store_true", help="subscribe to depth and colour only")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark_results/node_cost.json"), help="JSON")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    # Inherited by the node: its images must get through, and nobody else's should.
    os.environ.update(profile_environment(os.environ))
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    outputs = {name: kind for name, kind in OUTPUTS.items() if name != "depth/points" or not arguments.without_points}
    print("| run | " + " | ".join(f"{name} [ms]" for name in TIMES) + " | published of sent |")
    print("|---" * (len(TIMES) + 2) + "|")
    rows = []
    for run in range(arguments.runs):
        row = _run_once(arguments, width, height, outputs)
        if row is None:
            return 1
        rows.append(row)
        cells = [f"{float(row[f'{name} [ms]']):.2f}" for name in TIMES]
        print(f"| {run + 1} | {' | '.join(cells)} | {row['frames published']} of {arguments.frames} |", flush=True)
    settings = {key: str(value) for key, value in vars(arguments).items()}
    report = {"settings": settings, "topics": list(outputs), "hardware": hardware(), "runs": rows}
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(report, indent=2))
    machine = ", ".join(f"{name} {value}" for name, value in hardware().items())
    print(f"\nTopics on: {', '.join(outputs)}. Measured on: {machine}. Wrote {arguments.output}.")
    return 0


def _run_once(arguments: argparse.Namespace, width: int, height: int, outputs: dict[str, Any]) -> dict[str, str] | None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "clip_depth_ros.ros.depth_node", "--ros-args"]
        command += ["--params-file", str(resolve(arguments.config)), "-r", "__ns:=/camera"]
        with NodeProcess(command, os.environ, Path(folder) / "node.log") as process:
            client = Client(width, height, outputs)
            try:
                if not client.wait_until_active(process):
                    print(f"The node did not become active. Its log ends:\n{process.log_tail()}", file=sys.stderr)
                    return None
                return client.measure(arguments.frames, arguments.rate)
            finally:
                client.close()


class Client:
    """The other side: a camera, its calibration, and a subscriber of every output."""

    def __init__(self, width: int, height: int, outputs: dict[str, Any]) -> None:
        rclpy.init()
        self.node = Node("benchmark", namespace="/camera")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "image", 1)
        self.infos = self.node.create_publisher(CameraInfo, "camera_info", 1)
        for name, kind in outputs.items():
            # Raw: what the receiver spends on decoding would be taken from the node on a small machine.
            self.node.create_subscription(kind, name, lambda data: None, qos_profile_sensor_data, raw=True)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.values: dict[str, str] = {}
        self.picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        focal = 0.8 * width
        self.info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
        self.info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
        self.info.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]

    def wait_until_active(self, process: NodeProcess, timeout_s: float = 120.0) -> bool:
        """Waits until the node subscribes to the images; False when it ended or took too long."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and process.running():
            self.executor.spin_once(timeout_sec=0.1)
            if self.images.get_subscription_count() and self.infos.get_subscription_count():
                return True
        return False

    def measure(self, frames: int, rate: float) -> dict[str, str]:
        """Sends images at ``rate`` Hz and returns the node's diagnostics of the camera after the last."""
        start = time.monotonic()
        for index in range(frames):
            header = Header(frame_id="camera")
            header.stamp = self.node.get_clock().now().to_msg()
            self.info.header = header
            self.infos.publish(self.info)
            self.images.publish(colour_message(header, self.picture))
            while (left := start + (index + 1) / rate - time.monotonic()) > 0:
                self.executor.spin_once(timeout_sec=left)
        end = time.monotonic() + 5.0  # the next report holds the last frames
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.1)
        return self.values

    def close(self) -> None:
        """Ends this side."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            if "node cost p50 [ms]" in values:
                self.values = values


if __name__ == "__main__":
    sys.exit(main())
