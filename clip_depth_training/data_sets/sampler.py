"""Which pictures each training step sees, and which part of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch, DepthDataSet

_CROP_STREAM = 1  # keeps these draws apart from those of the augmentation
_PARTS = ("images", "depth", "focal")


@dataclass(frozen=True)
class StepIndices:
    """The samples of a step, or one process's part of them.

    Attributes:
        step: the optimiser step, from 0.
        indices: samples of the data set.
        first: place of the first of them in the whole batch over all processes.
    """

    step: int
    indices: tuple[int, ...]
    first: int = 0


class StepSampler(Sampler[StepIndices]):
    """Batches of a shuffled data set, numbered by training step: step s gets the same samples in every run.

    ``start`` is the step to begin with, so that a resumed training sees what an uninterrupted one would have seen. With
    ``processes`` each yields its ``rank``-th slice of the same batches.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        steps: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if samples < batch_size:
            raise BadInput(
                f"The data set has {samples} pictures, fewer than one batch of {batch_size}: add pictures, or lower "
                "batch_size."
            )
        if batch_size % processes:
            raise BadInput(
                f"batch_size {batch_size} does not divide by {processes} processes: it is the whole batch over all of "
                "them, so set a multiple of their number."
            )
        self._samples, self._batch, self._steps, self._seed, self._start = samples, batch_size, steps, seed, start
        self._part = batch_size // processes
        self._first = rank * self._part

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[StepIndices]:
        per_round = self._samples // self._batch
        order: Tensor | None = None
        for step in range(self._start, self._steps):
            position = step % per_round
            if order is None or position == 0:
                generator = torch.Generator().manual_seed(self._seed * 100_003 + step // per_round)
                order = torch.randperm(self._samples, generator=generator)
            begin = position * self._batch + self._first
            yield StepIndices(step, tuple(order[begin : begin + self._part].tolist()), self._first)


class StepBatches(Dataset[Batch]):
    """A data set by :class:`StepIndices`; every sample is cropped at random to one size where ``size`` says so.

    A crop depends on seed, step and place in the batch alone, in whichever process or worker it is made. It moves the
    principal point; focal lengths stay.
    """

    def __init__(self, data: DepthDataSet, size: tuple[int, int] | None, seed: int) -> None:
        self.data, self.size, self.seed = data, size, seed

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, chosen: StepIndices) -> Batch | BadInput:
        """Returns the batch; what is wrong with it comes back as a value, as workers mangle exceptions."""
        try:
            if self.size is None:
                return self.data.__getitems__(list(chosen.indices))
            return _joined([self._cropped(chosen, place) for place in range(len(chosen.indices))])
        except BadInput as error:
            return BadInput(str(error))

    def _cropped(self, chosen: StepIndices, place: int) -> Batch:
        assert self.size is not None
        index, (rows, columns) = chosen.indices[place], self.size
        batch = self.data.__getitems__([index])
        height, width = batch.depth.shape[1:]
        if height < rows or width < columns:
            raise BadInput(
                f"{self.data.sample(index).name} is {width}x{height}, smaller than train_size {columns}x{rows}: lower "
                "train_size in the recipe."
            )
        draw = np.random.default_rng((self.seed, chosen.step, chosen.first + place, _CROP_STREAM))
        top, left = int(draw.integers(height - rows + 1)), int(draw.integers(width - columns + 1))
        area = (slice(None), slice(top, top + rows), slice(left, left + columns))
        return replace(batch, images=batch.images[area], depth=batch.depth[area])


class EvenParts(Sampler[list[int]]):
    """A data set's samples in order, a process's share of them, in as many batches for every process.

    A share that is shorter ends with a batch of the first sample; :meth:`own` says how many of a batch count.
    """

    def __init__(self, samples: int, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        self._mine = list(range(rank, samples, processes))
        self._batch = batch_size
        self._batches = math.ceil(math.ceil(samples / processes) / batch_size)

    def __len__(self) -> int:
        return self._batches

    def own(self, batch: int) -> int:
        """Returns how many samples of batch number ``batch`` count."""
        return max(0, min(self._batch, len(self._mine) - batch * self._batch))

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._batches):
            part = self._mine[number * self._batch : (number + 1) * self._batch]
            yield part or [0]


class SameSizes(Dataset[Any]):
    """A data set whose samples may differ in size: a batch is a list of batches of one size each."""

    def __init__(self, data: DepthDataSet) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, indices: list[int]) -> list[Batch] | BadInput:
        """Returns the samples in order; what is wrong with them comes back as a value."""
        try:
            single = [self.data.__getitems__([index]) for index in indices]
            runs: list[list[Batch]] = []
            for batch in single:
                if runs and runs[-1][0].images.shape == batch.images.shape:
                    runs[-1].append(batch)
                else:
                    runs.append([batch])
            return [_joined(run) for run in runs]
        except BadInput as error:
            return BadInput(str(error))


def _joined(batches: list[Batch]) -> Batch:
    """Returns batches of one size as one."""
    images, depth, focal = (torch.cat([getattr(batch, name) for batch in batches]) for name in _PARTS)
    captions = tuple(caption for batch in batches for caption in batch.captions)
    return Batch(images, depth, focal, captions if len(captions) == len(images) else ())
