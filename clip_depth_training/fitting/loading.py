"""A recipe's data for the trainer."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from clip_depth_ros.errors import BadInput
from clip_depth_training import distributed
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import Batch, DepthDataSet, Sample, same
from clip_depth_training.data_sets.sampler import EvenParts, SameSizes, StepBatches, StepSampler
from clip_depth_training.recipe import Recipe

_WORKERS_FOR_FILES = 2
_PREFETCH = 4  # batches a worker reads ahead


class SomeOf(DepthDataSet):
    """Some samples of a data set."""

    def __init__(self, data: DepthDataSet, indices: list[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int) -> Sample:
        """Reads one sample."""
        return self.data.sample(self.indices[index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns several samples as one batch."""
        return self.data.__getitems__([self.indices[index] for index in indices])

    @property
    def description(self) -> dict[str, Any]:
        """The data set's own, with the number of samples that are left."""
        about = self.data.description
        told = f"{len(self)} of its {len(self.data)} samples: {about['source']}"
        return {**about, "samples": len(self), "source": told}


def open_parts(recipe: Recipe) -> tuple[DepthDataSet, DepthDataSet]:
    """Opens what a recipe learns from and what it measures on.

    Few samples are drawn by the recipe's seed; those to learn from are the first of the drawn order and those to
    measure on the last, so that they differ where both are of one data set.

    Raises:
        BadInput: there are no such data, they are damaged, or they are fewer than asked for.
    """
    train, validation = open_data_set(recipe.train), open_data_set(recipe.validation)
    wanted, measured = recipe.samples, recipe.validation_samples
    if wanted is None and measured is None:
        return train, validation
    together = recipe.train.resolve() == recipe.validation.resolve()
    for key, count, data in (("samples", wanted, train), ("validation_samples", measured, validation)):
        if count is None and together:
            raise BadInput(
                f"{recipe.train} is both train and validation of the recipe {recipe.name}: give samples and "
                "validation_samples, so that they differ."
            )
        if count is not None and count > len(data):
            raise BadInput(f"{key} of the recipe {recipe.name} is {count}, but there are {len(data)}: lower it.")
    if together and (wanted or 0) + (measured or 0) > len(train):
        raise BadInput(
            f"samples and validation_samples of the recipe {recipe.name} are {wanted} and {measured}, more than the "
            f"{len(train)} of {recipe.train}: lower them."
        )
    if wanted is not None:
        train = SomeOf(train, _drawn(len(train), recipe.seed)[:wanted])
    if measured is not None:
        validation = SomeOf(validation, sorted(_drawn(len(validation), recipe.seed)[-measured:]))
    return train, validation


def _drawn(count: int, seed: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


class TrainingData(lightning.LightningDataModule):
    """A recipe's two data sets; batches are numbered by step, so that a resumed run goes on exactly."""

    def __init__(self, recipe: Recipe) -> None:
        """Opens the data.

        Raises:
            BadInput: there is none, it is damaged, or a batch does not divide by the processes.
        """
        super().__init__()
        self.recipe = recipe
        self.train, self.validation = open_parts(recipe)
        self.steps = recipe.total_steps(len(self.train))
        distributed.share(recipe.batch_size)
        self._parts = EvenParts(
            len(self.validation), recipe.validation_batch, distributed.rank(), distributed.world_size()
        )
        self._sampler(0)  # refuses what it must before the network is built

    def validation_share(self, number: int) -> int:
        """Returns how many samples of validation batch ``number`` count."""
        return self._parts.own(number)

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns batches from the trainer's present step on."""
        assert self.trainer is not None
        batches = StepBatches(self.train, self.recipe.train_size, self.recipe.seed)
        return self._loader(batches, self._sampler(self.trainer.global_step), self.train.description["kind"])

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns this process's share of the validation samples, in order."""
        return self._loader(SameSizes(self.validation), self._parts, self.validation.description["kind"])

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Raises what a loader's worker found wrong with the data."""
        if isinstance(batch, BadInput):
            raise batch
        return batch

    def _sampler(self, start: int) -> StepSampler:
        return StepSampler(
            len(self.train),
            self.recipe.batch_size,
            self.steps,
            self.recipe.seed,
            start,
            distributed.rank(),
            distributed.world_size(),
        )

    def _loader(self, data: Any, sampler: Any, kind: str) -> DataLoader[Any]:
        workers = self.recipe.workers
        if workers is None:
            workers = 0 if kind == "rooms" else _WORKERS_FOR_FILES
        more: dict[str, Any] = {"prefetch_factor": _PREFETCH, "persistent_workers": True} if workers else {}
        return DataLoader(data, batch_sampler=sampler, collate_fn=same, num_workers=workers, **more)
