"""What every data set gives: pictures with ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Pictures with ground truth.

    Attributes:
        images: ``(B, H, W, 3)`` uint8 RGB.
        depth: ``(B, H, W)`` float32 metres along Z; 0 = no reading.
        focal: ``(B,)`` float32, geometric mean of fx and fy in pixels of ``images``.
    """

    images: Tensor
    depth: Tensor
    focal: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Returns the batch on ``device``."""
        return Batch(*(part.to(device, non_blocking=non_blocking) for part in (self.images, self.depth, self.focal)))


def same(batch: Any) -> Any:
    """The collate function: samples come from :meth:`RoomSet.__getitems__` as a batch already."""
    return batch
