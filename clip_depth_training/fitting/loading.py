"""A recipe's data for the trainer."""

from __future__ import annotations

from typing import Any

import lightning
from torch.utils.data import DataLoader

from clip_depth_ros.errors import BadInput
from clip_depth_training import distributed
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import same
from clip_depth_training.data_sets.sampler import EvenParts, SameSizes, StepBatches, StepSampler
from clip_depth_training.recipe import Recipe

_WORKERS_FOR_FILES = 2
_PREFETCH = 4  # batches a worker reads ahead


class TrainingData(lightning.LightningDataModule):
    """A recipe's two data sets; batches are numbered by step, so that a resumed run goes on exactly."""

    def __init__(self, recipe: Recipe) -> None:
        """Opens the data.

        Raises:
            BadInput: there is none, it is damaged, or a batch does not divide by the processes.
        """
        super().__init__()
        self.recipe = recipe
        self.train, self.validation = open_data_set(recipe.train), open_data_set(recipe.validation)
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
