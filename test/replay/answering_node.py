"""A node in a process of its own that answers images with depth and loses some on purpose, by their stamps.

An image's number is how many tenths of a second its stamp is after the recording's start; those before count as -1.
Options name numbers: an image whose number leaves no remainder is lost in that way.
"""

from __future__ import annotations

import argparse
import os
import signal

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from recordings import PERIOD_NS, START_NS
from sensor_msgs.msg import Image

from clip_depth_ros.replay.live_topics import DEPTH, NAMESPACE
from clip_depth_ros.replay.messages import header_stamp_ns, with_header_stamp


class AnsweringNode(Node):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__("answering")
        self.options = options
        self.counts = {"received": 0, "published": 0, "dropped for a newer one": 0}
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.answers = self.create_publisher(Image, DEPTH, qos)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.depth = serialize_message(Image(width=1, height=1, encoding="32FC1", step=4, data=bytes(4)))
        self.create_subscription(Image, f"{NAMESPACE}/image", self.answer, qos, raw=True)
        if not options.reports_nothing:
            self.create_timer(0.1, self.report)

    def answer(self, data: bytes) -> None:
        stamp = header_stamp_ns(data)
        number = (stamp - START_NS) // PERIOD_NS if stamp >= START_NS else -1
        if self.options.silent or _hits(number, self.options.never_heard):
            return
        if 0 <= self.options.dies_at <= number:
            os._exit(7)
        self.counts["received"] += 1
        if _hits(number, self.options.drops):
            self.counts["dropped for a newer one"] += 1
            return
        self.counts["published"] += 1
        if not _hits(number, self.options.answer_lost):
            self.answers.publish(with_header_stamp(self.depth, stamp))

    def report(self) -> None:
        values = [KeyValue(key=f"frames {name}", value=str(count)) for name, count in self.counts.items()]
        camera = DiagnosticStatus(name="answering: camera", hardware_id=f"{NAMESPACE}/image", values=values)
        self.diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name="answering: node"), camera]))


def _hits(number: int, divisor: int) -> bool:
    return divisor > 0 and number >= 0 and number % divisor == 0


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--never-heard", "--drops", "--answer-lost"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--dies-at", type=int, default=-1)
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--reports-nothing", action="store_true")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = AnsweringNode(parser.parse_args())
    try:
        while True:
            rclpy.spin_once(node, timeout_sec=0.2)
    except KeyboardInterrupt:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
