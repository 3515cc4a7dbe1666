"""Cameras in a process of their own: each publishes numbered images at a rate of its own, and then falls silent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import rclpy
from node_runner import node_environment
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rig import WAIT, image
from sensor_msgs.msg import Image


@dataclass(frozen=True)
class CameraPlan:
    """What one camera sends: ``count`` images, stamped 1, 2, 3 ... seconds, ``rate`` a second.

    A rate of 0 sends without a pause until every other camera is done.
    """

    rate: float
    count: int = 0


class Cameras:
    """A process that plays cameras, ready to start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self) -> None:
        """Begins to send."""
        assert self._process.stdin is not None
        self._process.stdin.write("start\n")
        self._process.stdin.flush()

    def is_done(self) -> bool:
        """Whether everything was sent."""
        return self._process.poll() is not None

    def sent(self) -> dict[str, int]:
        """How many images each camera sent; waits for the end."""
        output, _ = self._process.communicate(timeout=WAIT)
        assert self._process.returncode == 0
        counts: dict[str, int] = json.loads(output)
        return counts


@contextmanager
def cameras(domain_id: int, **plans: CameraPlan) -> Iterator[Cameras]:
    """Starts a process that plays the cameras (by namespace), and waits until each is heard."""
    command = [sys.executable, __file__, json.dumps({name: asdict(plan) for name, plan in plans.items()})]
    with subprocess.Popen(
        command, env=node_environment(domain_id), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Cameras(process)
        finally:
            process.kill()


def play(publishers: Mapping[str, Publisher], plans: Mapping[str, CameraPlan]) -> dict[str, int]:
    """Publishes what is planned; returns how many images of each camera."""
    sent = dict.fromkeys(plans, 0)
    message = image()
    begin = time.monotonic()

    def send(name: str) -> None:
        sent[name] += 1
        message.header.stamp.sec = sent[name]
        publishers[name].publish(message)

    while paced := {
        name: begin + sent[name] / plan.rate for name, plan in plans.items() if plan.rate and sent[name] < plan.count
    }:
        name, due = min(paced.items(), key=lambda item: item[1])
        floods = [name for name, plan in plans.items() if not plan.rate]
        while (left := due - time.monotonic()) > 0:
            for flood in floods:
                send(flood)
            if not floods:
                time.sleep(left)
        send(name)
    return sent


def main() -> None:
    plans = {name: CameraPlan(**plan) for name, plan in json.loads(sys.argv[1]).items()}
    rclpy.init()
    node = rclpy.create_node("cameras")
    quality = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers = {name: node.create_publisher(Image, f"{name}/image", quality) for name in plans}
    deadline = time.monotonic() + WAIT
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.05)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(play(publishers, plans)), flush=True)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
