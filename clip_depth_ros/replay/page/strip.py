"""One moment of the recording, as the page's strip of frames shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StripFrame:
    """One moment of the recording.

    Attributes:
        t_s: seconds since the first image.
        rgb: ``(H, W, 3)`` uint8 RGB.
        truth: ``(H, W)`` float32 metres, NaN = no reading; None where there is no ground truth.
        depths: by ``"head"`` or ``"head, condition"``, ``(H, W)`` float32 metres, NaN = no reading.
    """

    t_s: float
    rgb: np.ndarray
    truth: np.ndarray | None
    depths: Mapping[str, np.ndarray]
