"""The bytes of a message as an array to write to: what is published is written once, where it is sent from."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np


def data_array(message: Any, size: int) -> np.ndarray:
    """Returns ``message.data`` as ``(size,)`` uint8, to be written in place.

    The array that the message owns already is kept and brought to that size: fresh memory costs more than what is
    written to it (every new page is cleared by the kernel first), and assigning to ``data`` would check or copy every
    byte. The array returned changes with the message, and must not be kept for the next call.

    Args:
        message: a message with a field ``data`` of ``uint8[]``: an Image or a PointCloud2.
        size: bytes wanted. What the message held stays; bytes added are 0.
    """
    try:
        _resize(message.data, size)
    except BufferError:  # somebody still looks at the old bytes: they keep them
        message.data = array("B", bytes(size))
    return np.frombuffer(message.data, np.uint8)


def _resize(data: array[int], size: int) -> None:
    if len(data) < size:
        data.frombytes(bytes(size - len(data)))
    elif len(data) > size:
        del data[size:]
