"""Pictures of a few validation samples for TensorBoard: image, truth, prediction and error side by side."""

from __future__ import annotations

from typing import Any

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from clip_depth_ros.depth.colour import colourise, depth_range
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.fitting.averaging import exchanged
from clip_depth_training.fitting.loading import TrainingData

_LARGEST_ERROR = 0.5  # of the truth; white in the error's picture


class Pictures(Callback):
    """After each validation logs a row for the same few samples, spread evenly over the validation set."""

    def __init__(self, data: TrainingData, count: int = 4) -> None:
        total = len(data.validation)
        self._data = data.validation
        self._chosen = sorted({number * total // count for number in range(count)})

    @torch.no_grad()
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws with whichever of the raw weights and their average this validation found better."""
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not boards or not trainer.is_global_zero:
            return
        training: Any = pl_module
        errors = {name: float(trainer.callback_metrics[f"{name}/metric/abs_rel"]) for name in ("raw", "average")}
        for number, index in enumerate(self._chosen):
            batch = self._data[index].to(training.device)
            if errors["average"] < errors["raw"]:
                with exchanged(training.method.trained, training.average.module):
                    depth = self._predicted(trainer, training, batch)
            else:
                depth = self._predicted(trainer, training, batch)
            picture = row(batch.images[0].cpu().numpy(), batch.depth[0].cpu().numpy(), depth)
            boards[0].experiment.add_image(f"validation/{number}", picture, trainer.global_step, dataformats="HWC")

    def _predicted(self, trainer: lightning.Trainer, training: Any, batch: Batch) -> np.ndarray:
        with trainer.precision_plugin.forward_context():
            return training.method.metres(batch)[0].float().cpu().numpy()


def row(image: np.ndarray, truth: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns image, truth, prediction and relative error side by side.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        truth: ``(H, W)`` float32 metres, 0 = none.
        depth: ``(H, W)`` float32 metres, predicted.

    Returns:
        ``(H, 4 W, 3)`` uint8 RGB. Both depths are coloured by the truth's range; the error goes from black (none) to
        white (half of the truth and more) and is black where there is no truth.
    """
    near, far = depth_range(truth)
    error = np.abs(depth - truth) / np.where(truth > 0, truth, 1)
    shade = np.where(truth > 0, np.clip(error / _LARGEST_ERROR, 0, 1) * 255, 0).astype(np.uint8)
    errors = cv2.cvtColor(cv2.applyColorMap(shade, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB)
    return np.concatenate([image, colourise(truth, near, far), colourise(depth, near, far), errors], axis=1)
