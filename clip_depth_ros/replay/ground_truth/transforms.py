"""The transforms of a recording (``/tf``, ``/tf_static``), looked up at a time as tf2 does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from clip_depth_ros.errors import BadInput

MAXIMUM_GAP_NS = 1_000_000_000
"""Transforms farther apart than this (nanoseconds) are not interpolated, unless they are the same."""


class NoTransformError(LookupError):
    """Two frames are connected, but not at the time asked for."""


def rigid(translation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Returns the ``(4, 4)`` matrix of a translation ``(3,)`` in metres and a rotation ``(3, 3)``."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Returns the inverse of a rigid transform ``(4, 4)``."""
    rotation = matrix[:3, :3].T
    return rigid(-rotation @ matrix[:3, 3], rotation)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns ``points`` ``(N, 3)`` moved by a rigid transform ``(4, 4)``."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


class _Track:
    """Where one frame was in its parent over time."""

    def __init__(self, parent: str) -> None:
        self.parents = {parent}
        self.static: np.ndarray | None = None
        self._poses: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._times = np.zeros(0, np.int64)

    def add(self, time_ns: int, translation: np.ndarray, quaternion: np.ndarray, static: bool) -> None:
        if static:
            self.static = rigid(translation, Rotation.from_quat(quaternion).as_matrix())
        else:
            self._poses[time_ns] = (translation, quaternion)

    def at(self, time_ns: int) -> np.ndarray:
        """Returns parent <- child; between two poses linear in place, spherical linear in direction."""
        if self.static is not None:
            return self.static
        if len(self._times) != len(self._poses):
            self._times = np.sort(np.fromiter(self._poses, np.int64, len(self._poses)))
        later = int(np.searchsorted(self._times, time_ns))
        if later < len(self._times) and self._times[later] == time_ns:
            return self._pose(later)
        if later in (0, len(self._times)):
            raise NoTransformError("outside the time for which the recording has transforms")
        start, end = self._times[later - 1], self._times[later]
        first, second = self._pose(later - 1), self._pose(later)
        if end - start > MAXIMUM_GAP_NS and not np.allclose(first, second):
            raise NoTransformError(f"in a gap of {(end - start) / 1e9:.1f} s between transforms")
        part = (time_ns - start) / (end - start)
        turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([first[:3, :3], second[:3, :3]])))
        return rigid(first[:3, 3] * (1 - part) + second[:3, 3] * part, turn(part).as_matrix())

    def _pose(self, number: int) -> np.ndarray:
        translation, quaternion = self._poses[int(self._times[number])]
        return rigid(translation, Rotation.from_quat(quaternion).as_matrix())


class TransformBuffer:
    """A tree of frames that move against each other.

    Attributes:
        ignored: transforms that were no transforms (NaN, a quaternion of length 0, a frame in itself).
    """

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        self.ignored = 0

    @property
    def frames(self) -> list[str]:
        """Every frame by name."""
        return sorted(set(self._tracks).union(*(track.parents for track in self._tracks.values())))

    def add(
        self,
        parent: str,
        child: str,
        time_ns: int,
        translation: Iterable[float],
        quaternion: Iterable[float],
        static: bool = False,
    ) -> None:
        """Adds that ``child`` was at ``translation`` (metres), turned by ``quaternion`` (x, y, z, w), in ``parent``."""
        parent, child = frame_name(parent), frame_name(child)
        place, turn = np.array([*translation], np.float64), np.array([*quaternion], np.float64)
        if parent == child or not np.isfinite([*place, *turn]).all() or not turn.any():
            self.ignored += 1
            return
        track = self._tracks.setdefault(child, _Track(parent))
        track.parents.add(parent)
        track.add(time_ns, place, turn, static)

    def add_message(self, message: Any, static: bool) -> None:
        """Adds what a ``tf2_msgs/TFMessage`` holds."""
        for one in message.transforms:
            stamp, t, q = one.header.stamp, one.transform.translation, one.transform.rotation
            self.add(
                one.header.frame_id,
                one.child_frame_id,
                stamp.sec * 1_000_000_000 + stamp.nanosec,
                (t.x, t.y, t.z),
                (q.x, q.y, q.z, q.w),
                static,
            )

    def has(self, frame: str) -> bool:
        """Returns whether any transform names ``frame``."""
        return frame_name(frame) in self.frames

    def lookup(self, target: str, source: str, time_ns: int) -> np.ndarray:
        """Returns the transform ``(4, 4)`` that takes points in ``source`` to ``target`` at one time (nanoseconds).

        Raises:
            BadInput: a frame is unknown, has two parents, or no chain connects the two; the sentence lists the frames.
            NoTransformError: they are connected, but not at that time.
        """
        up_source, up_target = self._chains(target, source)
        result = np.eye(4)
        for child in up_source:
            result = self._tracks[child].at(time_ns) @ result
        down = np.eye(4)
        for child in up_target:
            down = self._tracks[child].at(time_ns) @ down
        return inverse(down) @ result

    def require_connection(self, target: str, source: str) -> None:
        """Raises the BadInput of :meth:`lookup`, whatever the time."""
        self._chains(target, source)

    def _chains(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """Returns the frames between each of the two and their nearest common ancestor."""
        from_source, from_target = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            raise BadInput(
                f"No chain of transforms connects the frame {source!r} (it hangs below {from_source[-1]!r}) to "
                f"{target!r} (below {from_target[-1]!r}): record the transform between them, or give --extrinsics; "
                f"the frames are {', '.join(self.frames)}."
            )
        return from_source[: from_source.index(common)], from_target[: from_target.index(common)]

    def _ancestors(self, frame: str) -> list[str]:
        """Returns ``frame`` and what it hangs below, up to the root."""
        frame = frame_name(frame)
        if not self.has(frame):
            known = f"it has {', '.join(self.frames)}" if self._tracks else "it has no transforms at all"
            raise BadInput(
                f"The frame {frame!r} is not in the recording's tf: {known}; record /tf and /tf_static, or give "
                "--extrinsics."
            )
        chain = [frame]
        while chain[-1] in self._tracks:
            parents = self._tracks[chain[-1]].parents
            if len(parents) > 1:
                raise BadInput(
                    f"The frame {chain[-1]!r} has {len(parents)} parents in the recording's tf "
                    f"({', '.join(sorted(parents))}): record one robot's tf, or give --extrinsics."
                )
            (parent,) = parents
            if parent in chain:
                raise BadInput(f"The recording's tf goes round in a circle: {' in '.join([*chain, parent])}.")
            chain.append(parent)
        return chain


def frame_name(name: str) -> str:
    """Returns a frame's name as tf2 writes it; tf 1 wrote a slash before."""
    return name.lstrip("/")
