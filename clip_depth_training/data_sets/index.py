"""The index of a data set folder, and how one is made: checked sample by sample, written last."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.data_sets.crops import CROPS

if TYPE_CHECKING:
    from clip_depth_training.data_sets.checks import Summary

INDEX_FILE = "index.json"
CONTACT_SHEET = "contact_sheet.png"
FORMAT = 1
KINDS = ("nyu_sync", "nyu_labelled", "kitti_eigen", "rgbd", "bag")
SPLITS = ("train", "test", "validation", "")
_LARGEST_UNIT = 65535
_SHEET_SAMPLES = 24

Camera = tuple[float, float, float | None, float | None]
"""fx, fy, cx, cy in pixels of the stored picture; cx and cy None where only the focal length is known."""


@dataclass(frozen=True)
class Entry:
    """One sample of an index.

    Attributes:
        image: the picture's file, relative to the index's root.
        depth: the depth picture's file, likewise; None for a picture without ground truth.
        fx: focal length in pixels of the stored picture, or None where nobody knows the camera.
        fy: likewise.
        cx: principal point in pixels, or None where nobody knows it: then the picture's centre is taken.
        cy: likewise.
    """

    image: str
    depth: str | None = None
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None


@dataclass
class Index:
    """What ``index.json`` says.

    Attributes:
        kind: one of :data:`KINDS`.
        name: what to call the set.
        split: one of :data:`SPLITS`.
        root: folder that the samples' files are relative to, absolute or relative to the folder of the index.
        depth_units_per_metre: units of the 16-bit depth pictures; 0 is no reading.
        depth_range_m: nearest and farthest depth (metres) that count.
        source: a sentence about where the data come from.
        crop: None, or one of :data:`~clip_depth_training.data_sets.crops.CROPS`, made at reading.
        intrinsics_distorted: the pictures are not rectified; the intrinsics leave their distortion out.
        principal_point: ``"assumed"`` where it is the centre of the picture for lack of a calibration.
        samples: pictures with ground truth.
        without_ground_truth: pictures that the source lists without ground truth; they are no samples.
        skipped: ``{"file", "reason"}`` of each bad sample that was left out.
        limited_from: how many samples there were before ``--limit`` took some of them; 0 when it was not used.
        notes: sentences that whoever uses the set should know.
    """

    kind: str
    name: str
    split: str
    root: str
    depth_units_per_metre: float
    depth_range_m: tuple[float, float]
    source: str
    crop: str | None = None
    intrinsics_distorted: bool = False
    principal_point: str = "calibrated"
    samples: list[Entry] = field(default_factory=list)
    without_ground_truth: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    limited_from: int = 0
    notes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Writes ``folder/index.json`` whole or not at all, and returns its path."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        with replacing(folder / INDEX_FILE) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return folder / INDEX_FILE

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Reads ``folder/index.json``.

        Raises:
            BadInput: it is missing, damaged, or of another format; the sentence says what is wrong.
        """
        file = folder / INDEX_FILE
        remedy = "make the set again with `clip-depth-train prepare`."
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"{file} cannot be read ({error.strerror}): {remedy}") from error
        except ValueError as error:
            raise BadInput(f"{file} is not JSON ({error}): {remedy}") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise BadInput(f"{file} is not an index of format {FORMAT}: {remedy}")
        try:
            samples = [Entry(**entry) for entry in content.pop("samples")]
            near, far = (float(value) for value in content.pop("depth_range_m"))
            known = {part.name for part in fields(cls)}
            index = cls(
                samples=samples,
                depth_range_m=(near, far),
                **{name: value for name, value in content.items() if name in known},
            )
            index._check()
        except (TypeError, KeyError, ValueError) as error:
            raise BadInput(f"{file} is not an index ({type(error).__name__}: {error}): {remedy}") from error
        return index

    def folder_of_samples(self, folder: Path) -> Path:
        """Returns the folder that the samples' files are relative to, given the folder of the index."""
        return folder / self.root

    def _check(self) -> None:
        """Raises ValueError for values that no index has."""
        for name, allowed in (("kind", KINDS), ("split", SPLITS), ("crop", (None, *CROPS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(map(repr, allowed))}")
        if not 0 < self.depth_units_per_metre < math.inf:
            raise ValueError(f"depth_units_per_metre is {self.depth_units_per_metre}, not a number above 0")
        if not 0 <= self.depth_range_m[0] < self.depth_range_m[1]:
            raise ValueError(f"depth_range_m is {self.depth_range_m}, not nearest and farthest in metres")
        for entry in self.samples:
            if not isinstance(entry.image, str) or not isinstance(entry.depth, (str, type(None))):
                raise ValueError(f"a sample has the files {entry.image!r} and {entry.depth!r}, which are no paths")
            for name in ("fx", "fy", "cx", "cy"):
                if not isinstance(getattr(entry, name), (int, float, type(None))):
                    raise ValueError(f"{name} of {entry.image} is {getattr(entry, name)!r}, not a number")


class PreparedSet:
    """A data set in the making: samples come one at a time, then :meth:`finish` checks them and writes the index.

    Data sets of files add samples in place with :meth:`add`; those that come out of an archive or a recording write
    pictures with :meth:`write` inside :meth:`extracting`.
    """

    def __init__(
        self, folder: Path, index: Index, *, skip_bad: bool = False, camera_size: tuple[int, int] | None = None
    ) -> None:
        """Starts a set.

        Args:
            folder: where the index and the contact sheet go, and the pictures that are extracted.
            index: what is known about the set; its samples are added here.
            skip_bad: whether a bad sample is recorded and left out; by default it is an error.
            camera_size: width and height in pixels that the camera's intrinsics are for; a picture of another size
                is bad.
        """
        self.folder, self.index = folder, index
        self._skip_bad, self._camera_size = skip_bad, camera_size
        self._existed = folder.exists()
        self._extracted: list[Path] = []
        self._too_far = 0

    def add(self, image: str, depth: str | None, camera: Camera | None) -> None:
        """Adds a sample whose files, relative to the index's root, exist already; :meth:`finish` checks them."""
        self.index.samples.append(Entry(image, depth, *(camera or ())))

    def skip(self, file: Path | str, reason: str) -> None:
        """Leaves ``file`` out, on record; ``reason`` says what is wrong with it, without a full stop.

        Raises:
            BadInput: bad samples are errors (no ``--skip-bad``).
        """
        if not self._skip_bad:
            raise bad_sample(file, reason)
        self.index.skipped.append({"file": str(file), "reason": reason})

    @contextmanager
    def extracting(self) -> Iterator[None]:
        """Makes ``rgb/`` and ``depth/`` for :meth:`write`; when the block raises, they are removed again.

        Raises:
            BadInput: they exist already, or cannot be written, as when the disk is full.
        """
        folders = [self.folder / "rgb", self.folder / "depth"]
        taken = next((path for path in (*folders, self.folder / INDEX_FILE) if path.exists()), None)
        if taken is not None:
            raise BadInput(f"{taken} exists already: delete {self.folder}, or give another folder with -o.")
        with self._removing_what_was_extracted():
            for folder in folders:
                folder.mkdir(parents=True)
                self._extracted.append(folder)
            yield

    def write(self, name: str, image: np.ndarray, depth: np.ndarray, camera: Camera | None) -> None:
        """Writes ``rgb/NAME.png`` and ``depth/NAME.png`` and adds the sample.

        Args:
            name: file name without suffix.
            image: ``(H, W, 3)`` uint8 RGB.
            depth: ``(H, W)`` metres; 0, negative, NaN and infinite are no reading, and so is what is too far for 16
                bits, which a note counts.
            camera: of ``image``.

        Raises:
            BadInput: the depth is of another size or has no reading at all (left out with ``--skip-bad``).
            OSError: a file cannot be written; :meth:`extracting` says so in a sentence.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return self.skip(name, f"has a picture of {image.dtype} {image.shape}, which is not 8-bit RGB")
        if depth.shape != image.shape[:2]:
            return self.skip(name, f"has depth of {size_text(depth)} but a picture of {size_text(image)}")
        with np.errstate(invalid="ignore", over="ignore"):
            units = np.rint(depth.astype(np.float64) * self.index.depth_units_per_metre)
            units[~(np.isfinite(units) & (units > 0))] = 0
        too_far = units > _LARGEST_UNIT
        units[too_far] = 0
        if not units.any():
            return self.skip(name, "has no depth reading at all")
        self._too_far += int(too_far.sum())
        bgr = np.ascontiguousarray(image[..., ::-1])
        for folder, picture in (("rgb", bgr), ("depth", units.astype(np.uint16))):
            (self.folder / folder / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        return self.add(f"rgb/{name}.png", f"depth/{name}.png", camera)

    def finish(self, workers: int = 1) -> Summary:
        """Reads every sample, then writes the contact sheet and, last, the index.

        Args:
            workers: threads that read.

        Returns:
            What the set holds.

        Raises:
            BadInput: a sample is bad (without ``--skip-bad``), no sample is left, or a file cannot be written.
        """
        from clip_depth_training.data_sets.checks import check_samples
        from clip_depth_training.data_sets.contact_sheet import contact_sheet
        from clip_depth_training.data_sets.files import FileDataSet

        with self._removing_what_was_extracted():
            self._note_what_is_too_far()
            summary, bad = check_samples(self.index, self.folder, self._camera_size, workers, self._skip_bad)
            self.index.samples = [entry for number, entry in enumerate(self.index.samples) if number not in bad]
            self.index.skipped += bad.values()
            self.index.principal_point = _principal_point(self.index.samples)
            if not self.index.samples:
                raise BadInput(
                    f"{self.index.name} has no sample: "
                    + (f"all {len(self.index.skipped)} are bad." if self.index.skipped else "the source is empty.")
                )
            data = FileDataSet(self.folder, self.index)
            shown = [data.sample(number) for number in evenly(len(data), _SHEET_SAMPLES)]
            contact_sheet(shown, self.folder / CONTACT_SHEET)
            self.index.write(self.folder)
        return summary

    def written(self) -> list[str]:
        """Returns what :meth:`finish` wrote, for the end of the summary."""
        return [f"written               {self.folder / INDEX_FILE}, {self.folder / CONTACT_SHEET}"]

    def _note_what_is_too_far(self) -> None:
        if self._too_far:
            farthest = _LARGEST_UNIT / self.index.depth_units_per_metre
            self.index.notes.append(
                f"{self._too_far} pixels were farther than {farthest:.3f} m, which 16 bits do not hold: they are "
                "stored as no reading."
            )

    @contextmanager
    def _removing_what_was_extracted(self) -> Iterator[None]:
        """Removes the extracted pictures when the block raises, and turns a failing disk into a sentence."""
        try:
            yield
        except BaseException as error:
            for folder in self._extracted:
                shutil.rmtree(folder, ignore_errors=True)
            if self._extracted:
                (self.folder / CONTACT_SHEET).unlink(missing_ok=True)
            if not self._existed:
                with suppress(OSError):  # it is not empty, or was never made
                    self.folder.rmdir()
            if isinstance(error, OSError):
                raise BadInput(
                    f"{self.folder} cannot be written ({error.strerror or error}): free some space, or choose a folder "
                    "you can write to."
                ) from error
            raise


def bad_sample(file: Path | str, reason: str) -> BadInput:
    """Returns the error for a bad sample while a set is made; ``reason`` says what is wrong, without a full stop."""
    return BadInput(f"{file} {reason}: mend it, or leave out what is bad with --skip-bad.")


def evenly(count: int, limit: int | None) -> list[int]:
    """Returns up to ``limit`` numbers spread evenly over ``range(count)``; all of them for None."""
    if limit is None or limit >= count:
        return list(range(count))
    return [number * count // limit for number in range(limit)]


def root_between(source: Path, folder: Path) -> str:
    """Returns ``source`` as an index in ``folder`` names it: relative where one holds the other, so that they may be
    moved together; else absolute."""
    source, folder = source.resolve(), folder.resolve()
    if folder == source or source in folder.parents:
        return "/".join([".."] * len(folder.relative_to(source).parts)) or "."
    if folder in source.parents:
        return source.relative_to(folder).as_posix()
    return str(source)


def size_text(picture: np.ndarray) -> str:
    """Returns a picture's size as people write it, ``WIDTHxHEIGHT``."""
    return "x".join(str(length) for length in picture.shape[1::-1])


def _principal_point(samples: list[Entry]) -> str:
    return "assumed" if any(entry.fx is not None and entry.cx is None for entry in samples) else "calibrated"
