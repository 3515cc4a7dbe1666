"""The scores of one head on one recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.scores.cloud import CloudErrors, ray_lengths
from clip_depth_ros.replay.scores.constant import ConstantBaseline
from clip_depth_ros.replay.scores.flicker import Flicker
from clip_depth_ros.replay.scores.image import BANDS_M, REGIONS, SCALINGS, Comparison, compare, truth_inside
from clip_depth_ros.replay.scores.scale import scale_summary
from clip_depth_ros.replay.scores.state import State, Table, joined, part_of, shaped
from clip_depth_ros.replay.scores.sums import ABS_REL, PIXELS, ROWS, metrics, named, values

_FORMAT = 1


class Scores:
    """One head under one condition, fed frame by frame in the order of time.

    Memory: the last frame, fixed tables (under 1 MB), and 11 numbers a frame.

    Conventions are those of ``clip-depth-train evaluate``: truth strictly inside the range counts, the prediction is
    clipped to it (after the median scaling), metrics are computed for each image and averaged over images. By
    distance and by region, pixels of all images are pooled instead: there, an image counts as much as it has pixels.

    Args:
        range_m: nearest and farthest truth that counts, metres.

    Raises:
        BadInput: the range is not 0 < nearest < farthest.
    """

    def __init__(self, range_m: tuple[float, float]) -> None:
        near, far = (float(limit) for limit in range_m)
        if not 0 < near < far < math.inf:
            raise BadInput(f"The depth range {near:g} to {far:g} m must be 0 < nearest < farthest.")
        self.range_m = (near, far)
        self._frames = Table("t_s", "abs_rel", "abs_rel_median_scaled", "scale", "flicker")
        self._pixels = np.zeros(2, np.int64)  # with truth inside the range, and those of them with a prediction
        self._images = np.zeros((len(SCALINGS), len(NAMES)))  # nine metrics, summed over images
        self._sums = np.zeros((len(SCALINGS), *REGIONS, len(BANDS_M), ROWS))
        self._count = np.zeros((), np.int64)
        self._constant = ConstantBaseline(self.range_m)
        self._cloud = CloudErrors()
        self._flicker = Flicker(self.range_m)
        self._rays: np.ndarray | None = None
        self._lengths = np.empty(0)

    def add(
        self,
        t_s: float,
        prediction: np.ndarray,
        truth: np.ndarray | None,
        rgb: np.ndarray,
        rays: np.ndarray | None = None,
    ) -> None:
        """Adds a frame; nothing given is changed.

        Args:
            t_s: its time in seconds.
            prediction: ``(H, W)`` float32 metres; NaN and infinity lower the coverage and count in no metric.
            truth: ``(H, W)`` float32 metres, NaN for none; None for a frame without. A read-only array that is given to
                several ``Scores`` in turn is looked at once (then nobody may change it, through a view or otherwise).
            rgb: ``(H, W, 3)`` uint8, to tell which pixels are static. Give the recorded picture, not a degraded one,
                so that every condition is measured at the same pixels.
            rays: ``(H, W, 3)`` with z = 1 as ``CameraModel.rays`` gives them, NaN for none; None where the camera is
                not calibrated: then the frame adds nothing to ``cloud``.

        Raises:
            BadInput: the arrays are not of one size.
        """
        prediction = np.ascontiguousarray(prediction, np.float32)
        truth = None if truth is None else np.ascontiguousarray(truth, np.float32)
        _check_sizes(prediction, truth, rgb, rays)
        flicker = self._flicker.add(prediction, truth, rgb)
        comparison = None if truth is None else self._compare(prediction, truth)
        if comparison is None:
            self._frames.add(t_s, math.nan, math.nan, math.nan, flicker)
            return
        if rays is not None:
            self._cloud.add(comparison, self._ray_lengths(rays))
        self._sums += comparison.sums
        self._count += 1
        found = [metrics(sums) for sums in comparison.sums.sum(axis=(1, 2, 3))]
        rows = np.array([values(each) for each in found if each is not None])
        self._images += rows
        abs_rel, scaled = rows[:, NAMES.index("abs_rel")]
        self._frames.add(t_s, abs_rel, scaled, comparison.scale, flicker)

    def _compare(self, prediction: np.ndarray, truth: np.ndarray) -> Comparison | None:
        inside = truth_inside(truth, self.range_m)
        if inside is None:
            return None
        self._constant.add(inside)
        comparison = compare(prediction, inside, self.range_m)
        self._pixels += inside.pixels, 0 if comparison is None else comparison.truth.pixels
        return comparison

    def _ray_lengths(self, rays: np.ndarray) -> np.ndarray:
        """A camera's rays are the same read-only array for every frame: their lengths are computed once."""
        if rays is not self._rays or rays.flags.writeable:
            self._rays, self._lengths = rays, ray_lengths(rays)
        return self._lengths

    def frames(self) -> dict[str, list[float | None]]:
        """Returns the columns ``abs_rel``, ``abs_rel_median_scaled``, ``scale`` and ``flicker``, one entry a frame."""
        return {name: _plain(self._frames.column(name)) for name in self._frames.columns[1:]}

    def latest(self) -> dict[str, float]:
        """Returns those columns of the frame added last; NaN where there is no number."""
        return {name: value for name, value in self._frames.last().items() if name != "t_s"}

    def accuracy(self) -> dict[str, Any] | None:
        """Returns the scores of all frames so far as plain JSON; None without any pixel that has both depths.

        ``images`` counts the frames that have such a pixel. Every ``share`` is a part of all pixels compared.
        ``constant`` is over all truth inside the range, whatever has a prediction: it is the same for every head.
        ``cloud`` takes the same pixels and the same clipped predictions as the metrics.
        """
        if not self._count:
            return None
        images = self._images / int(self._count)
        return {
            "images": int(self._count),
            "range_m": list(self.range_m),
            "crop": "none",
            "coverage": int(self._pixels[1]) / int(self._pixels[0]),
            **{scaling: named(row) for scaling, row in zip(SCALINGS, images)},
            "constant": self._constant.result(),
            "bands": self._bands(),
            "regions": self._regions(),
            "cloud": self._cloud.result(),
            "scale": scale_summary(self._frames.column("t_s"), self._frames.column("scale")),
            "flicker": self._flicker.result(),
        }

    def _bands(self) -> list[dict[str, Any]]:
        sums = self._sums.sum(axis=(1, 2))
        pixels = sums[0, :, PIXELS]
        return [
            {
                "near_m": near,
                "far_m": far,
                "pixels": int(count),
                "share": float(count / pixels.sum()),
                **{scaling: metrics(sums[number, band]) for number, scaling in enumerate(SCALINGS)},
            }
            for band, (near, far, count) in enumerate(zip(BANDS_M, (*BANDS_M[1:], None), pixels))
        ]

    def _regions(self) -> dict[str, Any]:
        sums = self._sums.sum(axis=3)
        pixels = sums[0, ..., PIXELS]
        with np.errstate(invalid="ignore"):
            abs_rel = sums[..., ABS_REL] / pixels
        return {
            "rows": REGIONS[0],
            "columns": REGIONS[1],
            "share": (pixels / pixels.sum()).tolist(),
            **{f"{scaling}_abs_rel": [_plain(row) for row in grid] for scaling, grid in zip(SCALINGS, abs_rel)},
        }

    def state(self) -> State:
        """Returns all that :meth:`from_state` needs to go on with equal results, as arrays for ``numpy.savez``."""
        own = {
            "format": np.array(_FORMAT),
            "range_m": np.array(self.range_m),
            "frames": self._frames.array(),
            "pixels": self._pixels.copy(),
            "images": self._images.copy(),
            "sums": self._sums.copy(),
            "count": self._count.copy(),
        }
        parts = {"constant": self._constant.state(), "cloud": self._cloud.state(), "flicker": self._flicker.state()}
        return own | joined(parts)

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Scores:
        """Goes on from what :meth:`state` gave, or ``numpy.load`` read of it.

        Raises:
            BadInput: it is not the state of this version.
        """
        if "format" not in state or int(state["format"]) != _FORMAT:
            raise BadInput("The stored scores are of another version: start afresh.")
        try:
            near, far = np.asarray(state["range_m"]).tolist()
            scores = cls((near, far))
            scores._restore(state)
        except KeyError as error:
            raise BadInput(
                f"The stored scores have no {error}: they are of another version, so start afresh."
            ) from error
        return scores

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._frames.restore(np.asarray(state["frames"]))
        self._pixels = shaped(state, "pixels", self._pixels)
        self._images = shaped(state, "images", self._images)
        self._sums = shaped(state, "sums", self._sums)
        self._count = shaped(state, "count", self._count)
        for name, part in (("constant", self._constant), ("cloud", self._cloud), ("flicker", self._flicker)):
            part.restore(part_of(state, name))


def _check_sizes(prediction: np.ndarray, truth: np.ndarray | None, rgb: np.ndarray, rays: np.ndarray | None) -> None:
    given = {"picture": (rgb, 3), "ground truth": (truth, 2), "rays": (rays, 3)}
    if prediction.ndim != 2:
        raise BadInput(f"The depth has shape {prediction.shape}: give (H, W).")
    for name, (array, dimensions) in given.items():
        if array is not None and (array.ndim != dimensions or array.shape[:2] != prediction.shape):
            raise BadInput(
                f"The {name} has shape {array.shape} and the depth {prediction.shape}: bring both to one size first."
            )


def _plain(column: np.ndarray) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
