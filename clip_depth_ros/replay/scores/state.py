"""What a part of the scores keeps between frames, as numpy arrays that ``numpy.savez`` stores without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from clip_depth_ros.errors import BadInput

State: TypeAlias = dict[str, np.ndarray]


class Table:
    """Rows of numbers, one a frame or an image; NaN where a number does not exist.

    Args:
        columns: their names.
    """

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self._rows: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *row: float) -> None:
        """Adds a row, one number a column."""
        self._rows.append(tuple(float(value) for value in row))

    def last(self) -> dict[str, float]:
        """Returns the last row by column; there must be one."""
        return dict(zip(self.columns, self._rows[-1]))

    def column(self, name: str) -> np.ndarray:
        """Returns one column, ``(rows,)`` float64."""
        number = self.columns.index(name)
        return np.array([row[number] for row in self._rows], np.float64)

    def array(self) -> np.ndarray:
        """Returns everything, ``(rows, columns)`` float64."""
        return np.array(self._rows, np.float64).reshape(-1, len(self.columns))

    def restore(self, array: np.ndarray) -> None:
        """Takes the rows of :meth:`array` instead of its own."""
        self._rows = [tuple(row) for row in array.tolist()]


def joined(parts: Mapping[str, Mapping[str, np.ndarray]]) -> State:
    """Returns the states of all parts as one, its keys ``"part.name"``."""
    return {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}


def part_of(state: Mapping[str, np.ndarray], part: str) -> State:
    """Returns the state of one part out of a joined one."""
    return {key.removeprefix(f"{part}."): np.asarray(state[key]) for key in state if key.startswith(f"{part}.")}


def shaped(state: Mapping[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
    """Returns a copy of the array called ``name``.

    Raises:
        BadInput: it is absent, or of another shape than ``like``.
    """
    if name not in state or state[name].shape != like.shape:
        raise BadInput(f"The stored scores have no fitting {name!r}: they are of another version, so start afresh.")
    return np.array(state[name], like.dtype)
