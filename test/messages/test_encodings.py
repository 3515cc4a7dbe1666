"""Pixel formats: exact against the real cv_bridge, and against arithmetic where it has no say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import ENCODINGS, FORMATS, TARGETS, convert, pixel_format

PATTERNS = ("rggb", "bggr", "gbrg", "grbg")
# Not among the reference conversions: cv_bridge knows no nv12, nor the newer names of yuv422, and of the 16-bit
# Bayer patterns one was recorded. Each has a test of its own below.
WITHOUT_REFERENCE = {"uyvy", "yuyv", "nv12", "nv21", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16"}


@pytest.fixture(scope="module")
def conversions(shared_golden: Path) -> dict[str, np.ndarray]:
    with np.load(shared_golden / "cv_bridge" / "conversions.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in WITHOUT_REFERENCE])
def test_conversion_is_that_of_cv_bridge(conversions, encoding, target):
    ours = convert(conversions[f"in|{encoding}"], FORMATS[encoding], target)
    reference = conversions[f"out|{encoding}|{target}"]
    assert ours.shape == reference.shape
    assert ours.dtype == reference.dtype == np.uint8
    difference = ours.astype(int) - reference
    if encoding.startswith("bayer_") and encoding.endswith("8") and target == "mono8":
        # OpenCV's own answer differs from processor to processor: its x86 vector code (in the reference, for as
        # many columns as fit its registers) rounds down, the rest of it rounds to nearest.
        assert set(np.unique(difference)) <= {-1, 0, 1}
        assert not difference[:, 16:].any()
    else:
        assert not difference.any()


def test_every_reference_conversion_to_rgb_or_grey_is_tested(conversions):
    recorded = {key.split("|")[1] for key in conversions if key.startswith("out|") and key.split("|")[2] in TARGETS}
    assert recorded == set(ENCODINGS) - WITHOUT_REFERENCE


def test_what_cv_bridge_refuses_is_refused(conversions):
    inputs = {key.split("|")[1] for key in conversions if key.startswith("in|")}
    refused = {encoding for encoding in inputs if f"out|{encoding}|rgb8" not in conversions}
    assert refused == {"8UC1", "8UC3", "16UC1", "32FC1", "32FC3", "64FC1"}
    for encoding in refused:
        with pytest.raises(BadInput, match=f"{encoding} names no colours.*encoding_override"):
            pixel_format(encoding)


@pytest.mark.parametrize("encoding", ["8UC4", "16SC1", "32SC2", "8UC"])
def test_number_types_without_colour_are_refused(encoding):
    with pytest.raises(BadInput, match="encoding_override"):
        pixel_format(encoding)


@pytest.mark.parametrize("encoding", ["", "rgb9", "RGB8", "bayer_rgbg8", "nv24", "8UC3; jpeg"])
def test_unknown_encoding_names_itself_and_the_known_ones(encoding):
    with pytest.raises(BadInput, match="is unknown") as refusal:
        pixel_format(encoding)
    assert repr(encoding) in str(refusal.value)
    assert "encoding_override" in str(refusal.value)
    assert "yuv422_yuy2" in str(refusal.value)


def test_sixteen_bits_become_eight_rounded_to_nearest():
    every_value = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (every_value.astype(np.int64) * 255 * 2 + 65535) // (2 * 65535)
    np.testing.assert_array_equal(convert(every_value, FORMATS["mono16"], "mono8"), expected)
    grey = convert(every_value, FORMATS["mono16"])
    np.testing.assert_array_equal(grey, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_pattern_gives_back_the_colour_it_was_made_of(pattern, bits):
    colour = {"r": 200, "g": 100, "b": 50}
    block = np.array([colour[letter] for letter in pattern]).reshape(2, 2) * (257 if bits == 16 else 1)
    encoding = f"bayer_{pattern}{bits}"
    mosaic = np.tile(block, (8, 12)).astype(FORMATS[encoding].dtype)
    rgb = convert(mosaic, FORMATS[encoding])
    assert rgb.shape == (16, 24, 3)
    assert (rgb == (200, 100, 50)).all()


def _yuv(red: float, green: float, blue: float) -> tuple[int, int, int]:
    """BT.601, studio range: the definition cameras follow."""
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blue_difference = (blue - luma) / 1.772
    red_difference = (red - luma) / 1.402
    return (
        round(16 + luma * 219 / 255),
        round(128 + blue_difference * 224 / 255),
        round(128 + red_difference * 224 / 255),
    )


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_semi_planar_colours(encoding):
    colours = [(200, 100, 50), (20, 30, 220), (128, 128, 128), (90, 240, 10)]
    height, width = 4, 8
    data = np.zeros((height * 3 // 2, width), np.uint8)
    for index, colour in enumerate(colours):
        luma, u, v = _yuv(*colour)
        data[:height, 2 * index : 2 * index + 2] = luma
        data[height:, 2 * index : 2 * index + 2] = (u, v) if encoding == "nv12" else (v, u)
    rgb = convert(data, FORMATS[encoding])
    assert rgb.shape == (height, width, 3)
    expected = np.repeat(np.array(colours), 2, axis=0)[None].astype(int)
    assert np.abs(rgb - expected).max() <= 2  # rounding of three 8-bit values
    np.testing.assert_array_equal(convert(data, FORMATS[encoding], "mono8"), data[:height])


@pytest.mark.parametrize(("newer", "older"), [("uyvy", "yuv422"), ("yuyv", "yuv422_yuy2")])
def test_newer_names_mean_what_the_older_ones_do(newer, older):
    assert FORMATS[newer] == FORMATS[older]


def test_nothing_to_convert_gives_the_same_array():
    rgb = np.zeros((2, 3, 3), np.uint8)
    assert convert(rgb, FORMATS["rgb8"]) is rgb
    grey = np.zeros((2, 3), np.uint8)
    assert convert(grey, FORMATS["mono8"], "mono8") is grey


def test_unknown_target():
    with pytest.raises(ValueError, match="bgr8"):
        convert(np.zeros((2, 3, 3), np.uint8), FORMATS["rgb8"], "bgr8")
