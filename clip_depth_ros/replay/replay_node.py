"""ROS executable ``replay_node``: plays a bag (ROS 1 or 2) into a ROS graph, in a loop when asked."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.player import PACES, BagPlayer
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.resources import resolve
from clip_depth_ros.ros.fastdds import profile_environment

_MOST = 3600.0
_PARAMETERS = (
    ("bag", "", "Bag to play: a folder or file path, or package://clip_depth_ros/..."),
    ("rate", 1.0, f"Pace, 0 to {_MOST:g}: 1.0 as recorded, 2.0 twice as fast, 0.0 as fast as publishing goes."),
    ("loop", False, "Start again at the end."),
    ("topics", [""], "Topics of the bag to play; [''] plays all of them."),
    ("pace", PACES[0], "What the recorded pace is: 'receive' times or 'header' stamps."),
    ("wait_timeout", 10.0, f"Time to wait for a first subscriber before playing, 0 to {_MOST:g} s."),
)


class ReplayNode(Node):
    """Plays one bag, from a thread of its own, while the executor answers parameter requests.

    Every message is published with the stamp it was recorded with; in a loop, stamps therefore go back at each start.

    Attributes:
        finished: everything asked for was played, or playing failed.
        failed: playing ended by an error.

    Raises:
        BadInput: a parameter is out of range, or the bag cannot be played.
    """

    def __init__(self, **options: Any) -> None:
        """Opens the bag; ``options`` are those of ``rclpy.node.Node``, such as ``context``."""
        super().__init__("replay", **options)
        try:
            self._declare()
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise BadInput(f"A parameter of replay_node is not accepted: {error}.") from error
        bag = self._string("bag")
        if not bag:
            raise BadInput("The parameter bag is empty: give the bag to play, as `-p bag:=PATH`.")
        self._loop = self.get_parameter("loop").get_parameter_value().bool_value
        self._wait_s = self._number("wait_timeout")
        topics = [topic for topic in self.get_parameter("topics").get_parameter_value().string_array_value if topic]
        self._reader = BagReader(resolve(bag))
        for warning in self._reader.warnings:
            self.get_logger().warning(warning)
        self._player = BagPlayer(
            self,
            self._reader,
            topics=topics or None,
            rate=self._number("rate"),
            pace=self._string("pace"),
        )
        for topic in self._player.skipped:
            self.get_logger().warning(f"not played, its message type is not installed: {topic}")
        self.finished = False
        self.failed = False
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Starts playing."""
        self._thread.start()

    def close(self) -> None:
        """Stops playing and lets the bag go."""
        self._player.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._player.close()
        self._reader.close()
        self.destroy_node()

    def _run(self) -> None:
        try:
            self._play()
        except Exception as error:  # whatever it is, the process must end instead of waiting for this thread
            self.failed = True
            self.get_logger().error(f"playing {self._reader.path} failed: {error}")
        finally:
            self.finished = True

    def _play(self) -> None:
        log = self.get_logger()
        log.info(f"{self._reader.path}: {', '.join(self._player.topics)}; {self._reader.duration_s:.1f} s recorded")
        if not self._player.wait_for_subscribers(self._wait_s):
            log.warning(f"nobody subscribed within {self._wait_s:g} s: playing to nobody")
        while not self._player.stopped:
            count = self._player.play()
            log.debug(f"played {count} messages")
            if not self._loop:
                break

    def _string(self, name: str) -> str:
        return self.get_parameter(name).get_parameter_value().string_value

    def _number(self, name: str) -> float:
        value = self.get_parameter(name).value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= _MOST:
            raise BadInput(f"The parameter {name} is {value!r}: give a number from 0 to {_MOST:g}.")
        return float(value)

    def _declare(self) -> None:
        for name, default, description in _PARAMETERS:
            # A number may come without its point (`rate:=2`), which ROS takes for another type.
            descriptor = ParameterDescriptor(
                description=description, read_only=True, dynamic_typing=isinstance(default, float)
            )
            self.declare_parameter(name, default, descriptor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the node until the bag is played, or SIGINT or SIGTERM; returns the exit code (1: failed, 2: bad input)."""
    os.environ.update(profile_environment(os.environ))
    # rclpy's own handlers would take the context away while the thread still publishes on it.
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node: ReplayNode | None = None
    try:
        node = ReplayNode()
        node.start()
        while not (asked_to_end.is_set() or node.finished):
            rclpy.spin_once(node, timeout_sec=0.2)
        return 1 if node.failed else 0
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
