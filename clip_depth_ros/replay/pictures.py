"""What the demo leaves beside its report: one picture to look at, and a cloud."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from clip_depth_ros.depth.pictures import side_by_side, stacked
from clip_depth_ros.depth.ply import write_ply
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.replay.cloud import cloud_arrays
from clip_depth_ros.replay.page import StripFrame
from clip_depth_ros.replay.reader import BagReader

_SHOWN = 3


def write_overview(path: Path, frames: list[StripFrame], head: str) -> None:
    """Draws a few frames spread over the recording, one under the other; none leaves no file.

    Raises:
        BadInput: it cannot be written.
    """
    if not frames:
        path.unlink(missing_ok=True)
        return
    chosen = [frames[index] for index in np.linspace(0, len(frames) - 1, min(_SHOWN, len(frames))).round().astype(int)]
    drawn = [side_by_side(one.rgb, one.depths[head], one.truth, f"at {one.t_s:.1f} s") for one in chosen]
    with replacing(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(stacked(drawn), cv2.COLOR_RGB2BGR)):
            raise BadInput(f"{path} cannot be written: free some space, or choose another folder.")


def write_middle_cloud(path: Path, answers: BagReader, topic: str) -> None:
    """Writes the cloud from the middle of a node's answers; where no cloud came, no file is left."""
    clouds = answers.topics.get(topic)
    if clouds is None:
        path.unlink(missing_ok=True)
        return
    for index, message in enumerate(answers.messages([topic])):
        if index == clouds.count // 2:
            write_ply(path, *cloud_arrays(answers.decode(message)))
