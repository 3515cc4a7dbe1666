"""Data sets of picture files, read by their index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import DepthDataSet, Sample
from clip_depth_training.data_sets.crops import crop_box
from clip_depth_training.data_sets.index import Entry, Index, size_text

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # a turned picture would not fit its depth
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"


class BadSample(BadInput):
    """A sample that cannot be used, for who wants to know which file and why apart.

    Attributes:
        file: the file to blame.
        reason: what is wrong with it, without a full stop.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}: check the data set with `clip-depth-train prepare`.")
        self.file, self.reason = file, reason


class FileDataSet(DepthDataSet):
    """The samples of an index. It keeps no file open, so that loaders' workers may share it."""

    def __init__(self, folder: Path, index: Index | None = None) -> None:
        """Opens a data set folder.

        Args:
            folder: where the index is.
            index: what it says; read from the folder by default.

        Raises:
            BadInput: the index is missing or damaged.
        """
        self.folder = folder
        self.index = Index.read(folder) if index is None else index
        self._root = self.index.folder_of_samples(folder)

    def __len__(self) -> int:
        return len(self.index.samples)

    def sample(self, index: int) -> Sample:
        """Reads one sample, cropped as the index says.

        Raises:
            BadInput: a file is missing, damaged or of the wrong kind; the sentence names it.
        """
        entry = self.index.samples[index]
        try:
            image, raw = read_pair(self._root, entry)
            return to_sample(self._root, entry, self.index, image, raw)
        except BadSample as error:
            # A loader's worker passes on only exceptions that are made from their text alone.
            raise BadInput(str(error)) from None

    @property
    def description(self) -> dict[str, Any]:
        """See :class:`~clip_depth_training.data_sets.base.DepthDataSet`."""
        return {
            "kind": self.index.kind,
            "name": self.index.name,
            "split": self.index.split,
            "samples": len(self),
            "source": self.index.source,
            "depth_range_m": list(self.index.depth_range_m),
        }


def read_pair(root: Path, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """Reads the pictures of a sample as they are stored.

    Returns:
        The picture ``(H, W, 3)`` uint8 RGB, and depth ``(H, W)`` uint16 in the set's units; 0 everywhere where the
        entry has no ground truth.

    Raises:
        BadSample: a file is missing or damaged, depth is not 16-bit, or the sizes differ.
    """
    image_file = sample_file(root, entry.image)
    image = cv2.cvtColor(_decoded(image_file, _COLOUR), cv2.COLOR_BGR2RGB)
    if entry.depth is None:
        return image, np.zeros(image.shape[:2], np.uint16)
    depth_file = sample_file(root, entry.depth)
    depth = _decoded(depth_file, cv2.IMREAD_UNCHANGED)
    if depth.ndim != 2 or depth.dtype != np.uint16:
        channels = 1 if depth.ndim == 2 else depth.shape[2]
        raise BadSample(
            depth_file,
            f"is a picture of {channels} channel{'s' * (channels > 1)} of {depth.dtype}, but depth is one channel of "
            "16 bits",
        )
    if depth.shape != image.shape[:2]:
        raise BadSample(depth_file, f"is {size_text(depth)}, but its picture {image_file} is {size_text(image)}")
    return image, depth


def to_sample(root: Path, entry: Entry, index: Index, image: np.ndarray, raw: np.ndarray) -> Sample:
    """Returns pictures as :func:`read_pair` gives them as a sample: in metres, cropped, with intrinsics.

    Raises:
        BadSample: the picture has not the size that the crop is for.
    """
    height, width = raw.shape
    matrix = _matrix(entry, width, height)
    try:
        top, bottom, left, right = crop_box(index.crop, (height, width))
    except ValueError as error:
        raise BadSample(sample_file(root, entry.image), str(error)) from None
    image, raw = image[top:bottom, left:right], raw[top:bottom, left:right]
    if matrix is not None:
        matrix[:2, 2] -= (left, top)
    depth = raw.astype(np.float32) / np.float32(index.depth_units_per_metre)
    return Sample(np.ascontiguousarray(image), depth, matrix, str(sample_file(root, entry.image)))


def sample_file(root: Path, name: str) -> Path:
    """Returns the path of a sample's file, without the detours that a relative root makes."""
    return Path(os.path.normpath(root / name))


def _matrix(entry: Entry, width: int, height: int) -> np.ndarray | None:
    """Returns K ``(3, 3)``; a principal point that nobody knows is the picture's centre."""
    if entry.fx is None or entry.fy is None:
        return None
    # The centre of the first pixel is 0.
    cx = (width - 1) / 2 if entry.cx is None else entry.cx
    cy = (height - 1) / 2 if entry.cy is None else entry.cy
    return np.array([[entry.fx, 0, cx], [0, entry.fy, cy], [0, 0, 1]], np.float64)


def _decoded(file: Path, flags: int) -> np.ndarray:
    """Returns a whole picture.

    OpenCV refuses a PNG that is cut or altered, but shows the rest of a cut JPEG in grey: its end is looked for.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise BadSample(file, "is missing") from error
    except OSError as error:
        raise BadSample(file, f"cannot be read ({error.strerror or error})") from error
    if not data:
        raise BadSample(file, "is empty")
    if data.startswith(b"\xff\xd8") and data.find(_JPEG_END, max(data.rfind(_JPEG_SCAN), 0)) < 0:
        raise BadSample(file, "is cut off")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadSample(file, f"is no picture that can be read ({error.err})") from error
    if picture is None:
        raise BadSample(file, "is damaged, or no picture")
    return picture
