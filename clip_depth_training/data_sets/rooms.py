"""Rendered rooms as training data, held in memory at the encoder's input size."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import require_space
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import Batch, DepthDataSet, Sample

SHARD_PATTERN = "room_*.npz"
_ARRAYS = ("rgb", "depth", "intrinsics", "captions")
DEPTH_RANGE_M = (0.1, 10.0)  # what a head for rooms usually spans; depth itself is kept up to 65 m
_LONGEST_CAPTION = 280  # characters; ASCII bytes keep 60,000 views' sentences at 34 MB
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile)


class RoomSet(DepthDataSet):
    """The views of a folder that ``clip-depth-train render`` wrote.

    The rooms' shards are packed once into plain arrays beside them, which are then mapped into memory: a second start
    takes no time.
    """

    def __init__(self, folder: Path) -> None:
        """Packs (when there are new rooms) and maps the rooms of ``folder``.

        Raises:
            BadInput: a folder without rooms, a damaged shard, or shards of different sizes.
        """
        shards = sorted(folder.glob(SHARD_PATTERN))
        if not shards:
            raise BadInput(f"{folder} holds no rendered rooms ({SHARD_PATTERN}): run `clip-depth-train render` first.")
        packed = folder / f"packed_views_{len(shards)}"
        if not packed.is_dir():
            _pack_once(shards, packed)
        self.folder, self.rooms = folder, len(shards)
        self.images, self.millimetres, self.intrinsics, self._captions = (
            np.load(packed / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
        )
        self.focal = np.sqrt(self.intrinsics[:, 0] * self.intrinsics[:, 1]).astype(np.float32)

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Returns one view."""
        fx, fy, cx, cy = self.intrinsics[index].astype(np.float64)
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        depth = self.millimetres[index].astype(np.float32) / 1000
        return Sample(np.array(self.images[index]), depth, matrix, f"view {index} of {self.folder}")

    @property
    def description(self) -> dict[str, Any]:
        """What the set is, JSON-ready."""
        return {
            "kind": "rooms",
            "name": self.folder.name,
            "split": "",
            "samples": len(self),
            "source": f"{len(self)} views of {self.rooms} simulated rooms, rendered by `clip-depth-train render`.",
            "depth_range_m": list(DEPTH_RANGE_M),
        }

    def captions_of(self, index: int) -> tuple[str, ...]:
        """Returns the sentences about one view; none where the rooms were rendered without."""
        return tuple(text.decode("ascii") for text in self._captions[index] if text)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns several views at once, each with one of its captions (the even views their first)."""
        images, millimetres, focal = (torch.from_numpy(a[indices]) for a in (self.images, self.millimetres, self.focal))
        captions = [self.captions_of(index) for index in indices]
        chosen = tuple(texts[index % len(texts)] for index, texts in zip(indices, captions) if texts)
        # A caption belongs to its place in the batch: a batch has all of them or none.
        return Batch(images, millimetres.float() / 1000, focal, chosen if len(chosen) == len(indices) else ())

    def row_means(self, depth_range: tuple[float, float], views: int = 4000) -> Tensor:
        """Returns the mean depth (metres) of each picture row over about ``views`` views spread evenly over the set.

        It is the better of the trivial predictions: floors are near the bottom of a picture.
        """
        chosen = self.millimetres[:: max(1, len(self) // views)]
        depth = chosen.astype(np.float32) / 1000
        mask = (depth > depth_range[0]) & (depth < depth_range[1])
        total, count = np.where(mask, depth, 0).sum((0, 2), dtype=np.float64), mask.sum((0, 2))
        return torch.from_numpy(total / np.maximum(count, 1)).float()


def set_description(folder: Path) -> dict[str, Any]:
    """Returns what ``clip-depth-train render`` noted about a folder's rooms, for the provenance of weights."""
    file = folder / "set.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read ({error}): it is written by `clip-depth-train render`.") from error


def _pack_once(shards: Sequence[Path], packed: Path) -> None:
    """Packs where no other process of the same training has: they start together."""
    try:
        with FileLock(packed.with_name("packing.lock")):
            if not packed.is_dir():
                for unfinished in packed.parent.glob(".packed_views_*"):  # of a process that was killed
                    shutil.rmtree(unfinished, ignore_errors=True)
                _pack(shards, packed)
                for before in packed.parent.glob("packed_views_*"):  # of fewer rooms
                    if before != packed:
                        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise BadInput(
            f"{packed} cannot be written ({error.strerror or error}): keep the rooms in a folder you can write to."
        ) from error


def _pack(shards: Sequence[Path], packed: Path) -> None:
    """Writes the rooms of ``shards`` as plain arrays into the new folder ``packed``, a room at a time."""
    first = _read(shards[0])
    sizes = [_views(file) for file in shards]
    # Arrays mapped from a file on a full disk end the process without a word.
    require_space(packed.parent, sum(sizes) * sum(part[0].nbytes for part in first))
    temporary = packed.with_name(f".{packed.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        arrays = [
            np.lib.format.open_memmap(
                temporary / f"{name}.npy", mode="w+", dtype=part.dtype, shape=(sum(sizes), *part.shape[1:])
            )
            for name, part in zip(_ARRAYS, first)
        ]
        start = 0
        for file, views in zip(track(shards, "packing rooms"), sizes):
            parts = _read(file)
            if parts[0].shape[1:] != first[0].shape[1:]:
                raise BadInput(
                    f"{file} has pictures of another size than {shards[0]}: keep sets of different sizes in different "
                    "folders."
                )
            for array, part in zip(arrays, parts):
                array[start : start + views] = part
            start += views
        for array in arrays:
            array.flush()
        temporary.replace(packed)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _views(file: Path) -> int:
    """Returns the number of views in a shard, without reading its pictures."""
    try:
        with np.load(file, allow_pickle=False) as shard:
            return len(shard["intrinsics"])
    except _UNREADABLE as error:
        raise _damaged(file, error) from error


def _read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns pictures, depth in millimetres, intrinsics (V, 4) and captions (V, 2) as bytes of one room."""
    try:
        with np.load(file, allow_pickle=False) as shard:
            images, depth, intrinsics = shard["rgb"], shard["depth"], shard["intrinsics"]
            captions = shard["captions"] if "captions" in shard else np.zeros((len(images), 2), "U1")
            texts = np.char.encode(captions.astype(np.str_), "ascii", "replace").astype(f"S{_LONGEST_CAPTION}")
    except _UNREADABLE as error:
        raise _damaged(file, error) from error
    if images.shape[:3] != depth.shape or len(intrinsics) != len(images) or texts.shape != (len(images), 2):
        raise BadInput(
            f"{file} holds {images.shape} pictures but {depth.shape} depth: delete it and run "
            "`clip-depth-train render` again."
        )
    return images, depth, intrinsics.astype(np.float32), texts


def _damaged(file: Path, error: Exception) -> BadInput:
    return BadInput(f"{file} is not a rendered room ({error}): delete it and run `clip-depth-train render` again.")
