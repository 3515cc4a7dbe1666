"""What every data set gives: pictures with ground truth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clip_depth_ros.errors import BadInput


@dataclass(frozen=True)
class Sample:
    """One picture with ground truth.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        depth: ``(H, W)`` float32 metres along Z; 0 = no reading.
        intrinsics: K ``(3, 3)`` float64 in pixels of ``image``, or None where nobody knows the camera.
        name: what to call the sample in messages: usually its file.
    """

    image: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray | None
    name: str

    @property
    def focal(self) -> float:
        """The geometric mean of fx and fy in pixels; NaN where nobody knows the camera."""
        return (
            float("nan") if self.intrinsics is None else float(np.sqrt(self.intrinsics[0, 0] * self.intrinsics[1, 1]))
        )


@dataclass(frozen=True)
class Batch:
    """Pictures of one size with ground truth.

    Attributes:
        images: ``(B, H, W, 3)`` uint8 RGB.
        depth: ``(B, H, W)`` float32 metres along Z; 0 = no reading.
        focal: ``(B,)`` float32, geometric mean of fx and fy in pixels of ``images``; NaN where nobody knows it.
        captions: a sentence about each picture; empty for data sets without words.
    """

    images: Tensor
    depth: Tensor
    focal: Tensor
    captions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Returns the batch on ``device``."""
        images, depth, focal = (
            part.to(device, non_blocking=non_blocking) for part in (self.images, self.depth, self.focal)
        )
        return replace(self, images=images, depth=depth, focal=focal)


class DepthDataSet(Dataset[Batch]):
    """Pictures with ground truth, by number."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of samples."""

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            BadInput: its files are missing or damaged; the sentence names them.
        """

    @property
    @abstractmethod
    def description(self) -> dict[str, Any]:
        """``kind``, ``name``, ``split``, ``samples``, ``source`` (a sentence for the weights' provenance) and
        ``depth_range_m`` (nearest, farthest), JSON-ready."""

    def __getitem__(self, index: int) -> Batch:
        """Returns one sample as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns several samples as one batch.

        Raises:
            BadInput: their sizes differ.
        """
        return collate([self.sample(index) for index in indices])


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples of one size.

    Raises:
        BadInput: their sizes differ; the sentence names two of them.
    """
    for sample in samples:
        if sample.image.shape != samples[0].image.shape:
            raise BadInput(
                f"{sample.name} is {sample.image.shape[1]}x{sample.image.shape[0]} but {samples[0].name} is "
                f"{samples[0].image.shape[1]}x{samples[0].image.shape[0]}: set train_size in the recipe, so that a "
                "batch has one size."
            )
    return Batch(
        torch.from_numpy(np.stack([sample.image for sample in samples])),
        torch.from_numpy(np.stack([sample.depth for sample in samples])),
        torch.tensor([sample.focal for sample in samples], dtype=torch.float32),
    )


def same(batch: Any) -> Any:
    """The collate function of loaders: :meth:`DepthDataSet.__getitems__` gives whole batches already."""
    return batch
