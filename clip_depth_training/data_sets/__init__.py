"""Data sets: every kind gives pictures with depth in metres and the focal length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from clip_depth_training.data_sets.base import DepthDataSet


def open_data_set(folder: Path) -> DepthDataSet:
    """Opens a folder that ``prepare`` or ``render`` made, or an RGB-D folder as it is.

    Args:
        folder: holds ``index.json``; or rendered rooms, ``room_*.npz``; or ``rgb/``, ``depth/`` and
            ``intrinsics.json``.

    Raises:
        BadInput: it holds none of these, or they are damaged.
    """
    from clip_depth_training.data_sets.index import INDEX_FILE
    from clip_depth_training.data_sets.rgbd import is_rgbd, rgbd_set

    if (folder / INDEX_FILE).is_file():
        from clip_depth_training.data_sets.files import FileDataSet

        return FileDataSet(folder)
    if next(folder.glob("room_*.npz"), None) is not None:
        from clip_depth_training.data_sets.rooms import RoomSet

        return RoomSet(folder)
    if is_rgbd(folder):
        from clip_depth_training.data_sets.files import FileDataSet

        return FileDataSet(folder, rgbd_set(folder, folder).index)
    raise BadInput(f"{folder} is no data set: make one with `clip-depth-train prepare`, or render rooms into it.")
