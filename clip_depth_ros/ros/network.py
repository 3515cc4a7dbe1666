"""What the node has loaded: run for pictures, and described for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from clip_depth_ros.depth.device_cloud import CloudOptions
from clip_depth_ros.depth.estimator import DepthEstimator, DepthResult
from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.ros.diagnostics import MEBIBYTE, OK, WARN, Remark
from clip_depth_ros.ros.parameters import Settings


@dataclass(frozen=True)
class Network:
    """The estimator of a configured node.

    Attributes:
        estimator: the network.
        device_name: what people know its device by.
        makes_clouds: whether points are made where the network runs: on a GPU as a part of its graph. On a CPU they are
            made faster of the depth.
    """

    estimator: DepthEstimator
    device_name: str
    makes_clouds: bool = False

    @property
    def notes(self) -> list[str]:
        """What whoever starts the node should be told of its heads."""
        return [head.note for head in self.estimator.heads.values() if head.note]

    @classmethod
    def load(cls, settings: Settings) -> Network:
        """Loads what ``settings`` ask for.

        Raises:
            BadInput: the weights cannot be used, or the device is not there.
        """
        estimator = DepthEstimator.from_settings(settings.estimator)
        name = str(estimator.device)
        if estimator.device.type == "cuda":
            name += f" ({torch.cuda.get_device_name(estimator.device)})"  # now: a device that broke cannot be asked
        return cls(estimator, name, makes_clouds=estimator.device.type == "cuda")

    def run(
        self,
        images: Sequence[np.ndarray],
        cameras: Sequence[CameraModel | None],
        tokens: bool,
        heads: Collection[str] | None = None,
        clouds: Sequence[CloudOptions | None] = (),
        outside: Sequence[np.ndarray | None] = (),
    ) -> list[DepthResult]:
        """Runs the estimator once for all pictures (see :meth:`DepthEstimator.run`); the results are on the host."""
        made = clouds if self.makes_clouds else ()
        return self.estimator.run(images, cameras, tokens, heads, to_host=True, clouds=made, outside=outside)

    def device_answers(self) -> bool:
        """Returns whether the device takes work after an error of CUDA; False where there is none to ask.

        Some errors are of one call. The others break a process's link to the device: every later call fails.
        """
        if self.estimator.device.type != "cuda":
            return False
        try:
            torch.cuda.synchronize(self.estimator.device)
        except RuntimeError:
            return False
        return True

    def free_memory(self) -> None:
        """Hands back what is kept ready for later runs, which become slower the first time."""
        with suppress(RuntimeError):  # a device that broke says so at the next run
            self.estimator.release()
        free_cached_memory()

    def values(self) -> dict[str, str]:
        """Returns what to show, with the memory in use now."""
        encoder, device = self.estimator.encoder, self.estimator.device
        values = {
            "device": self.device_name,
            **self.estimator.path,
            "encoder": encoder.config.name,
            "encoder identity": self.estimator.identity[:12],
            "heads": ", ".join(self.estimator.heads),
        }
        if device.type == "cuda":
            values["device memory [MiB]"] = f"{torch.cuda.memory_allocated(device) / MEBIBYTE:.0f}"
            values["device memory peak [MiB]"] = f"{torch.cuda.max_memory_allocated(device) / MEBIBYTE:.0f}"
        return values

    def scale(self, camera_problem: str) -> Remark:
        """Returns whether depth is metric under a camera's lens; ``camera_problem`` is empty when its lens is known."""
        canonical = [head for head in self.estimator.heads if head in self.estimator.canonical_focal_px]
        if not canonical:
            return Remark(OK, "as trained: the weights name no focal length, so another lens changes the scale")
        if camera_problem:
            return Remark(WARN, f"depth is not metric under this lens: {camera_problem}")
        return Remark(OK, "metric for this lens")


def free_cached_memory() -> None:
    """Hands the GPU memory that nothing uses any more back to the device, for whoever needs it next."""
    if torch.cuda.is_initialized():
        with suppress(RuntimeError):  # a device that broke keeps it
            torch.cuda.empty_cache()
