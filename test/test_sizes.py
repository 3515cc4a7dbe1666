"""Sizes as people write them."""

import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.sizes import parse_size


def test_sizes_are_height_by_width():
    assert parse_size("352x704", "--eval-size") == (352, 704)
    for wrong in ("352", "352x", "0x4", "ax4", "1x2x3", "9999x4", ""):
        with pytest.raises(BadInput, match="--eval-size"):
            parse_size(wrong, "--eval-size")
