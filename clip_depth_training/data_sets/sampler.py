"""Which pictures each training step sees."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from clip_depth_ros.errors import BadInput


class StepSampler(Sampler[list[int]]):
    """Batches of a shuffled data set, numbered by training step: step s gets the same indices in every run.

    ``start`` is the step to begin with, so that a resumed training sees what an uninterrupted one would have seen.
    """

    def __init__(self, samples: int, batch_size: int, steps: int, seed: int, start: int = 0) -> None:
        if samples < batch_size:
            raise BadInput(
                f"The data set has {samples} pictures, fewer than one batch of {batch_size}: render more, or lower "
                "batch_size."
            )
        self._samples, self._batch, self._steps, self._seed, self._start = samples, batch_size, steps, seed, start

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        per_round = self._samples // self._batch
        order: Tensor | None = None
        for step in range(self._start, self._steps):
            position = step % per_round
            if order is None or position == 0:
                generator = torch.Generator().manual_seed(self._seed * 100_003 + step // per_round)
                order = torch.randperm(self._samples, generator=generator)
            yield order[position * self._batch : (position + 1) * self._batch].tolist()
