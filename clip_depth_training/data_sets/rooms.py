"""Rendered rooms as training data, held in memory at the encoder's input size."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import Batch

SHARD_PATTERN = "room_*.npz"


class RoomSet(Dataset[Batch]):
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
        packed = folder / f"packed_{len(shards)}"
        if not packed.is_dir():
            _pack(shards, packed)
        self.rooms = len(shards)
        self.images, self.millimetres, self.focal = (
            np.load(packed / f"{name}.npy", mmap_mode="r") for name in ("rgb", "depth", "focal")
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        """Returns one view as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns several views at once."""
        images, millimetres, focal = (torch.from_numpy(a[indices]) for a in (self.images, self.millimetres, self.focal))
        return Batch(images, millimetres.float() / 1000, focal)

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


def _pack(shards: Sequence[Path], packed: Path) -> None:
    """Writes the rooms of ``shards`` as three arrays into the new folder ``packed``."""
    first = _read(shards[0])
    temporary = packed.with_name(f".{packed.name}.{os.getpid()}")
    temporary.mkdir()
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for file in track(shards, "packing rooms"):
        parts.append(_read(file))
        if parts[-1][0].shape[1:] != first[0].shape[1:]:
            raise BadInput(
                f"{file} has pictures of another size than {shards[0]}: keep sets of different sizes in different "
                "folders."
            )
    for index, name in enumerate(("rgb", "depth", "focal")):
        np.save(temporary / f"{name}.npy", np.concatenate([part[index] for part in parts]))
    temporary.replace(packed)


def _read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pictures, depth in millimetres and focal lengths of one room."""
    try:
        with np.load(file, allow_pickle=False) as shard:
            images, depth, intrinsics = shard["rgb"], shard["depth"], shard["intrinsics"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BadInput(
            f"{file} is not a rendered room ({error}): delete it and run `clip-depth-train render` again."
        ) from error
    if images.shape[:3] != depth.shape or len(intrinsics) != len(images):
        raise BadInput(
            f"{file} holds {images.shape} pictures but {depth.shape} depth: delete it and run "
            "`clip-depth-train render` again."
        )
    return images, depth, np.sqrt(intrinsics[:, 0] * intrinsics[:, 1]).astype(np.float32)
