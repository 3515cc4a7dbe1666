"""A subscriber in a process of its own: prints one JSON line for each message, after `ready`.

Arguments: seconds to listen at most, number of messages to wait for, then topic=type pairs.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy

from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.player import message_class


def main() -> None:
    seconds, wanted = float(sys.argv[1]), int(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("listener")
    heard = []

    def listen(topic: str):
        def callback(data: bytes) -> None:
            heard.append(topic)
            line = {
                "topic": topic,
                "stamp": header_stamp_ns(data),
                "time": time.monotonic_ns(),
                "sha": hashlib.sha256(data).hexdigest(),
            }
            print(json.dumps(line), flush=True)

        return callback

    qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
    for argument in sys.argv[3:]:
        topic, _, kind = argument.partition("=")
        node.create_subscription(message_class(kind), topic, listen(topic), qos, raw=True)
    print("ready", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(heard) < wanted:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
