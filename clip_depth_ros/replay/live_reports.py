"""What a node says of itself on /diagnostics, as another process hears it."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

_HISTORY = 10


class NodeReports:
    """Keeps the latest of a node's diagnostics.

    Args:
        node: whose subscription it is; its executor calls it.
        image_topic: full name of the image topic of the camera whose counters are wanted.

    Attributes:
        node: values of the node's own status.
        problem: why it cannot work; empty while it can.
        camera_remark: what it last said of a camera when something was wrong with it.
        cameras: the values of the camera's status, one entry a report, oldest first.
    """

    def __init__(self, node: Node, image_topic: str) -> None:
        self.node: Mapping[str, str] = {}
        self.problem = ""
        self.camera_remark = ""
        self.cameras: list[dict[str, str]] = []
        self._image_topic = image_topic
        node.create_subscription(DiagnosticArray, "/diagnostics", self._listen, _HISTORY)

    def _listen(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            if status.name.endswith(": node"):
                self.node = values
                self.problem = status.message if status.level == DiagnosticStatus.ERROR else ""
                continue
            if status.hardware_id == self._image_topic:
                self.cameras.append(values)
            if status.level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR):
                self.camera_remark = status.message
