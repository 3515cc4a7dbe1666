"""One start of the estimator, in a process of its own: ``python -m clip_depth_ros.benchmark.first_depth``.

Prints the moments of it as JSON: seconds of the clock that all processes share (``time.monotonic``).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from clip_depth_ros.errors import BadInput

STEPS = ("interpreter", "import", "load", "first depth", "second depth")


def main(words: Sequence[str]) -> int:
    """Loads the configuration ``words[0]`` on device ``words[1]`` and gives two depths of ``words[2:]`` (H, W) pixels.

    Returns 0, or 2 for a configuration that cannot be used, which is then said.
    """
    moments = [time.monotonic()]
    import numpy as np

    from clip_depth_ros.depth.estimator import DepthEstimator

    moments.append(time.monotonic())
    location, device, *size = words
    try:
        estimator = DepthEstimator.from_config(location, None if device == "auto" else device)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    moments.append(time.monotonic())
    image = np.zeros((int(size[0]), int(size[1]), 3), np.uint8)
    for _ in range(2):
        for prediction in estimator.run([image], to_host=True)[0].values():
            prediction.depth.numpy()
        moments.append(time.monotonic())
    print(json.dumps(moments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
