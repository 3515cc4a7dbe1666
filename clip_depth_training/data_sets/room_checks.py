"""Checks of rendered rooms: every view of every room is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from zipfile import BadZipFile

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import Sample
from clip_depth_training.data_sets.checks import Summary
from clip_depth_training.data_sets.contact_sheet import contact_sheet
from clip_depth_training.data_sets.index import CONTACT_SHEET, Index, evenly
from clip_depth_training.data_sets.rooms import SHARD_PATTERN, RoomSet

_UNITS_PER_METRE = 1000.0
_DEPTH_RANGE_M = (0.1, 10.0)
_SHEET_SAMPLES = 24


def check_rooms(folder: Path, workers: int = 1) -> list[str]:
    """Reads every room, packs them, and draws the contact sheet into the folder.

    Args:
        folder: of ``clip-depth-train render``.
        workers: threads that read.

    Returns:
        The summary, a line each.

    Raises:
        BadInput: there is no room, or one is damaged; the sentence names it.
    """
    shards = sorted(folder.glob(SHARD_PATTERN))
    if not shards:
        raise BadInput(f"{folder} holds no rendered rooms ({SHARD_PATTERN}): run `clip-depth-train render` first.")
    summary, lock = Summary(_UNITS_PER_METRE), Lock()
    # Only what the summary needs: rooms have no index of files.
    index = Index("rooms", folder.name, "", ".", _UNITS_PER_METRE, _DEPTH_RANGE_M, "Rendered rooms.")

    def check(shard: Path) -> None:
        for sample in read_room(shard):
            with lock:
                summary.add(sample, _DEPTH_RANGE_M)

    executor = ThreadPoolExecutor(max(1, workers))
    try:
        for _ in track(executor.map(check, shards), "checking rooms", total=len(shards)):
            pass
    finally:
        executor.shutdown(cancel_futures=True)
    rooms = RoomSet(folder)
    shown = []
    for number in evenly(len(rooms), _SHEET_SAMPLES):
        batch = rooms[number]
        shown.append(Sample(batch.images[0].numpy(), batch.depth[0].numpy(), None, f"view {number}"))
    contact_sheet(shown, folder / CONTACT_SHEET)
    return [
        f"rooms                 {len(shards)}",
        *summary.lines(index),
        f"written               {folder / CONTACT_SHEET}",
    ]


def read_room(shard: Path) -> list[Sample]:
    """Returns the views of a room, each with some depth.

    Raises:
        BadInput: the shard is damaged, its parts do not belong together, or a view has no depth reading.
    """
    remedy = "delete it and run `clip-depth-train render` again."
    try:
        with np.load(shard, allow_pickle=False) as content:
            images, depth, intrinsics = content["rgb"], content["depth"], content["intrinsics"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BadInput(f"{shard} is not a rendered room ({error}): {remedy}") from error
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or depth.dtype != np.uint16
        or depth.shape != images.shape[:3]
        or intrinsics.shape != (len(images), 4)
    ):
        raise BadInput(
            f"{shard} holds {images.dtype} {images.shape} pictures, {depth.dtype} {depth.shape} depth and "
            f"{intrinsics.shape} intrinsics, which do not belong together: {remedy}"
        )
    views = []
    for number, (image, units, (fx, fy, cx, cy)) in enumerate(zip(images, depth, intrinsics)):
        if not units.any():
            raise BadInput(f"{shard} view {number} has no depth reading: {remedy}")
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        metres = units.astype(np.float32) / np.float32(_UNITS_PER_METRE)
        views.append(Sample(image, metres, matrix, f"{shard} view {number}"))
    return views
