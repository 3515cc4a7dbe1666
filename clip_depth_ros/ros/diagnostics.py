"""What the node says of itself on /diagnostics: every camera's numbers, and a reason wherever output is missing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from clip_depth_ros.ros.arrivals import publisher_types, transport, why_no_images
from clip_depth_ros.ros.parameters import Settings

if TYPE_CHECKING:
    from clip_depth_ros.ros.frames import Camera
    from clip_depth_ros.ros.pipeline import Pipeline

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
# What is wrong with what is there matters more than what is not there.
_SEVERITY = (OK, WARN, STALE, ERROR)
MEBIBYTE = float(1 << 20)


@dataclass(frozen=True)
class Remark:
    """One sentence and how bad it is."""

    level: bytes
    sentence: str


class Reporter:
    """Builds the node's diagnostics from what the cameras count."""

    def __init__(self, node: LifecycleNode, settings: Callable[[], Settings]) -> None:
        """``settings`` returns the settings in force."""
        self._node = node
        self._settings = settings
        self._reported: dict[str, tuple[int, int]] = {}

    def report(self, state: str, problem: str, pipeline: Pipeline | None) -> DiagnosticArray:
        """Returns one status for the node and one for each camera.

        Args:
            state: label of the lifecycle state.
            problem: why the last transition failed, empty when it did not.
            pipeline: the network and the cameras, None while the node is not configured.
        """
        settings = self._settings()
        message = DiagnosticArray(status=[self._node_status(state, problem, settings, pipeline)])
        message.header.stamp = self._now()
        if pipeline is None:
            return message
        for camera in pipeline.cameras:
            remarks = self._remarks(settings, pipeline, camera) if state == "active" else []
            stream = camera.stream
            values = {
                **camera_values(camera),
                "share of batches [%]": f"{100 * pipeline.runner.batches.share(stream.name):.0f}",
                "scale": pipeline.network.scale(camera.calibration_problem).sentence,
                "image publishers": self._node.count_publishers(stream.image_topic),
                "outputs subscribed to": ", ".join(camera.outputs.heard()) or "none",
            }
            part = f"camera {stream.name}".rstrip()
            message.status.append(self._status(part, stream.image_topic, values, remarks, state))
        return message

    def _now(self) -> Time:
        """Returns ROS time, or the wall clock's while simulated time has not begun."""
        now = self._node.get_clock().now()
        return (now if now.nanoseconds else Clock(clock_type=ClockType.SYSTEM_TIME).now()).to_msg()

    def _node_status(self, state: str, problem: str, settings: Settings, pipeline: Pipeline | None) -> DiagnosticStatus:
        values = {"state": state, "weights": ", ".join(settings.weights), "transport": transport(os.environ)}
        if pipeline is not None:
            values |= {**pipeline.runner.values(), "main output": settings.main_head}
        values["host memory [MiB]"] = f"{_resident_memory() / MEBIBYTE:.0f}"
        remarks: list[Remark] = []
        if pipeline is not None:
            remarks += pipeline.runner.remarks()
        if problem:
            remarks.append(Remark(ERROR, problem))
        elif state != "active":
            remarks.append(Remark(WARN, f"{state}: no output until the node is active"))
        return self._status("node", "", values, remarks, state)

    def _remarks(self, settings: Settings, pipeline: Pipeline, camera: Camera) -> list[Remark]:
        """Returns what is to be said of an active camera."""
        stream, counters, network = camera.stream, camera.stream.counters, pipeline.network
        remarks = [Remark(WARN, sentence) for sentence in (*stream.mismatches, *camera.outputs.mismatches)]
        before = self._reported.get(stream.name, (0, 0))
        self._reported[stream.name] = (counters.rejected, counters.failed)
        if pipeline.runner.lost:
            remarks.append(Remark(ERROR, "no output, because the network's device does not work any more"))
        elif counters.failed > before[1]:
            remarks.append(Remark(ERROR, counters.last_error))
        elif counters.rejected > before[0]:
            remarks.append(Remark(WARN, counters.last_error))
        age = counters.received.age
        if (time.monotonic() - stream.opened if age is None else age) > settings.diagnostics_timeout:
            remarks.append(self._silence(camera, age))
        problem, wanted = camera.points_problem, camera.outputs.wanted(settings)
        if wanted and problem:
            if settings.rectify:
                remarks.append(Remark(ERROR, f"no output, because images cannot be rectified: {problem}"))
            elif wanted.points:
                remarks.append(Remark(WARN, f"no points: {problem}"))
        if wanted and network.scale(camera.calibration_problem).level != OK:
            remarks.append(network.scale(camera.calibration_problem))
        if not wanted:
            remarks.append(Remark(OK, "nobody subscribes, so the network rests"))
        return remarks

    def _silence(self, camera: Camera, age: float | None) -> Remark:
        """Returns what to say of a camera that sends nothing: an error where its images seem to get lost."""
        stream = camera.stream
        is_published = bool(publisher_types(self._node, stream.image_topic))
        if age is not None:
            why = "though its publisher is there" if is_published else "and its publisher is gone"
            return Remark(STALE, f"no image for {age:.1f} s, {why}")
        return Remark(ERROR if is_published else STALE, why_no_images(self._node, stream))

    def _status(
        self, part: str, hardware: str, values: Mapping[str, object], remarks: Sequence[Remark], otherwise: str
    ) -> DiagnosticStatus:
        sentences = [remark.sentence for remark in remarks if remark.sentence]
        return DiagnosticStatus(
            level=max((remark.level for remark in remarks), key=_SEVERITY.index, default=OK),
            name=f"{self._node.get_name()}: {part}",
            hardware_id=hardware,
            message="; ".join(sentences) or otherwise,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )


def camera_values(camera: Camera) -> dict[str, object]:
    """Returns a camera's numbers under the names shown, times in milliseconds over the last 600 published frames."""
    counters = camera.stream.counters
    values: dict[str, object] = {
        "input rate [Hz]": f"{counters.received.hertz():.2f}",
        "output rate [Hz]": f"{counters.published.hertz():.2f}",
    }
    for name, (half, most) in counters.percentiles().items():
        shown = name.replace("_", " ")
        values |= {f"{shown} p50 [ms]": f"{half:.2f}", f"{shown} p99 [ms]": f"{most:.2f}"}
    return {
        **values,
        "frames received": counters.received.total,
        "frames published": counters.published.total,
        "frames dropped for a newer one": counters.dropped,
        "frames over max_rate": counters.limited,
        "frames nobody subscribed to": counters.skipped,
        "frames rejected": counters.rejected,
        "frames failed": counters.failed,
        "frames unanswered since the device broke": counters.unanswered,
        "backward stamps": counters.backward_stamps,
        "zero stamps": counters.zero_stamps,
        "calibration": str(camera.stream.calibration.current),
        "points": camera.points_problem or "possible",
        "last error": counters.last_error or "none",
    }


def _resident_memory() -> int:
    """Returns the bytes of memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
