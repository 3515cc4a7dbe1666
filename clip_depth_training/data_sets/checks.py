"""Reads every sample of a data set in the making, and says what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import Sample
from clip_depth_training.data_sets.files import BadSample, read_pair, sample_file, to_sample
from clip_depth_training.data_sets.index import Entry, Index, bad_sample

_PERCENTILES = (1, 50, 99)
_LISTED = 5


@dataclass
class Summary:
    """What the samples of a set hold.

    Attributes:
        units_per_metre: of ``histogram``.
        samples: pictures with ground truth.
        sizes: how many pictures there are of each size, ``(width, height)`` in pixels.
        focal_lengths: how many there are of each fx, rounded to 0.01 pixels; None where it is not known.
        pixels: of all pictures together.
        in_range: pixels whose depth is within the set's range.
        histogram: ``(65536,)`` int64, how many pixels have a depth of so many units.
    """

    units_per_metre: float
    samples: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    focal_lengths: Counter[float | None] = field(default_factory=Counter)
    pixels: int = 0
    in_range: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(1 << 16, np.int64))

    def add(self, sample: Sample, depth_range: tuple[float, float]) -> None:
        """Counts a sample in."""
        readings = sample.depth[sample.depth > 0]
        self.samples += 1
        self.sizes[sample.depth.shape[1], sample.depth.shape[0]] += 1
        focal = None if sample.intrinsics is None else round(float(sample.intrinsics[0, 0]), 2)
        self.focal_lengths[focal] += 1
        self.pixels += sample.depth.size
        self.in_range += int(((readings > depth_range[0]) & (readings < depth_range[1])).sum())
        units = np.rint(readings * np.float32(self.units_per_metre)).astype(np.int64)
        self.histogram += np.bincount(units, minlength=len(self.histogram))

    @property
    def readings(self) -> int:
        """Pixels with depth."""
        return int(self.histogram.sum())

    def percentiles(self) -> list[float]:
        """Returns the 1st, 50th and 99th percentile of the depth in metres; NaN without any."""
        if not self.readings:
            return [float("nan")] * len(_PERCENTILES)
        below = np.cumsum(self.histogram)
        ranks = [np.ceil(percent / 100 * self.readings) for percent in _PERCENTILES]
        return [float(np.searchsorted(below, rank)) / self.units_per_metre for rank in ranks]

    def lines(self, index: Index) -> list[str]:
        """Returns the summary for people, a line each."""
        limited = f" of {index.limited_from} (--limit)" if index.limited_from else ""
        sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in self.sizes.most_common(_LISTED))
        share = 100 * self.readings / max(1, self.pixels)
        inside = 100 * self.in_range / max(1, self.readings)
        low, middle, high = self.percentiles()
        near, far = index.depth_range_m
        lines = [
            f"samples               {self.samples}{limited}",
            f"skipped               {len(index.skipped)}",
            *(f"  {bad['file']} {bad['reason']}" for bad in index.skipped[:_LISTED]),
            f"without ground truth  {len(index.without_ground_truth)}",
            f"picture sizes         {sizes}{', ...' if len(self.sizes) > _LISTED else ''}",
            f"pixels with depth     {share:.1f} %, of which {inside:.1f} % between {near:g} and {far:g} m",
            f"depth 1/50/99 %       {low:.3f} / {middle:.3f} / {high:.3f} m",
            f"focal length fx       {self._focal_text()}",
        ]
        if index.principal_point == "assumed":
            lines.append("principal point       assumed at the centre of the pictures that have no calibration")
        return [*lines, *(f"note: {note}" for note in index.notes)]

    def _focal_text(self) -> str:
        known = sorted(value for value in self.focal_lengths if value is not None)
        unknown = self.focal_lengths[None]
        if len(known) > _LISTED:
            text = f"{known[0]:.2f} to {known[-1]:.2f} px ({len(known)} different)"
        else:
            text = ", ".join(f"{value:.2f} px ({self.focal_lengths[value]})" for value in known)
        return ", ".join(part for part in (text, f"unknown ({unknown})" if unknown else "") if part)


def check_samples(
    index: Index, folder: Path, camera_size: tuple[int, int] | None, workers: int, skip_bad: bool
) -> tuple[Summary, dict[int, dict[str, str]]]:
    """Reads every sample, whole.

    Args:
        index: the samples.
        folder: the folder of the index.
        camera_size: width and height that every stored picture must have, or None.
        workers: threads; OpenCV decodes outside Python's lock.
        skip_bad: whether a bad sample is gathered instead of raised.

    Returns:
        What the good samples hold, and of each bad one, by its number, ``{"file", "reason"}``.

    Raises:
        BadInput: the first bad sample in the order of the index.
    """
    summary, lock = Summary(index.depth_units_per_metre), Lock()
    root = index.folder_of_samples(folder)

    def check(entry: Entry) -> BadSample | None:
        try:
            sample = _checked(root, entry, index, camera_size)
        except BadSample as error:
            return error
        with lock:
            summary.add(sample, index.depth_range_m)
        return None

    bad: dict[int, dict[str, str]] = {}
    executor = ThreadPoolExecutor(max(1, workers))
    try:
        results: Iterator[BadSample | None] = executor.map(check, index.samples)
        for number, error in enumerate(track(results, f"checking {index.name}", total=len(index.samples))):
            if error is None:
                continue
            if not skip_bad:
                raise bad_sample(error.file, error.reason) from error
            bad[number] = {"file": str(error.file), "reason": error.reason}
    finally:
        executor.shutdown(cancel_futures=True)
    return summary, bad


def _checked(root: Path, entry: Entry, index: Index, camera_size: tuple[int, int] | None) -> Sample:
    """Returns a sample that training can use, or raises what is wrong with it."""
    image, raw = read_pair(root, entry)
    size = (image.shape[1], image.shape[0])
    if camera_size is not None and size != camera_size:
        raise BadSample(
            sample_file(root, entry.image),
            f"is {size[0]}x{size[1]}, but its camera's calibration is for {camera_size[0]}x{camera_size[1]}",
        )
    sample = to_sample(root, entry, index, image, raw)
    if entry.depth is not None and not sample.depth.any():
        where = "everywhere in the crop" if index.crop else "everywhere"
        raise BadSample(sample_file(root, entry.depth), f"has no depth reading: it is 0 {where}")
    return sample
