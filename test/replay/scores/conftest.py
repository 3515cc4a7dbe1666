from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def frames():
    """Six frames ``(prediction, truth, rgb)`` of odd size, with holes, infinities, zeros and all distances."""
    rng = np.random.default_rng(11)
    height, width = 41, 50
    found = []
    for number in range(6):
        truth = np.exp(rng.uniform(np.log(0.3), np.log(20.0), (height, width))).astype(np.float32)
        prediction = (truth * np.exp(rng.normal(0.2 + 0.05 * number, 0.3, truth.shape))).astype(np.float32)
        truth[rng.random(truth.shape) < 0.1] = np.nan
        truth[:2, :3], truth[2, 0] = 0.0, np.inf
        prediction[rng.random(truth.shape) < 0.05] = np.nan
        prediction[5, 5:9] = np.inf
        prediction[6, 5:9] = 0.0
        prediction[7, 5:9] = -1.0
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        found.append((prediction, truth, rgb))
    return found
