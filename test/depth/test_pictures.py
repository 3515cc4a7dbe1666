from __future__ import annotations

import cv2
import numpy as np
import pytest

from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.depth.pictures import LARGEST_ERROR, beside_truth, error_colours, side_by_side, stacked

SIZES = [(240, 320), (480, 640), (376, 752)]


def _frame(height, width):
    ramp = np.linspace(1.0, 5.0, width, dtype=np.float32)
    truth = np.tile(ramp, (height, 1))
    rgb = np.dstack([np.full((height, width), value, np.uint8) for value in (200, 100, 50)])
    return rgb, truth


def _tiles(picture, height, width, count):
    """Cuts the pictures out of the finished one: 400 pixels wide each, 8 apart, below a title of 30."""
    rows = round(400 * height / width)
    return [picture[38 : 38 + rows, 8 + 408 * index : 408 + 408 * index] for index in range(count)]


def _columns(picture, count):
    return [picture[:, 8 + 408 * index : 408 + 408 * index] for index in range(count)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_image_prediction_truth_and_error_stand_side_by_side(height, width):
    rgb, truth = _frame(height, width)
    picture = side_by_side(rgb, truth * 1.1, truth)
    image, predicted, reference, error = _tiles(picture, height, width, 4)
    assert picture.shape[1] == 4 * 400 + 3 * 8 + 2 * 8
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 1
    nearest, farthest = np.percentile(truth, (2, 98))
    expected = cv2.resize(colourise(truth, nearest, farthest), reference.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert np.abs(reference.astype(int) - expected).mean() < 1
    assert np.abs(predicted.astype(int) - reference).mean() > 6  # 10 % farther is another colour
    np.testing.assert_allclose(error.reshape(-1, 3), np.broadcast_to(error[5, 5], (error.shape[0] * 400, 3)), atol=12)


def test_without_ground_truth_there_are_two_pictures():
    rgb, depth = _frame(240, 320)
    assert side_by_side(rgb, depth).shape[1] == 2 * 400 + 8 + 2 * 8


def test_several_predictions_share_the_colours_of_the_truth():
    rgb, truth = _frame(240, 400)
    right, far = truth.copy(), truth * 1.5
    picture = beside_truth(rgb, truth, {"right": right, "far": far}, "7")
    assert picture.shape[1] == 4 * 400 + 3 * 8 + 2 * 8
    image, reference, same, other = _tiles(picture, 240, 400, 4)
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 1
    assert (same == reference).all()
    nearest, farthest = np.percentile(truth, (2, 98))
    assert np.abs(other.astype(int) - colourise(far, nearest, farthest)).mean() < 1
    titles = [part[8:34] for part in _columns(picture, 4)]
    assert (titles[2] != titles[3]).any()
    nothing = np.full_like(truth, np.nan)
    _, empty, shown, _ = _tiles(beside_truth(rgb, nothing, {"right": right, "far": right}), 240, 400, 4)
    assert (empty == 225).all()
    # Then the scale is the predictions', whose percentiles are of other samples of the pixels.
    assert np.abs(shown.astype(int) - reference).mean() < 2


def test_no_reading_is_grey_and_not_a_colour_of_the_scale():
    rgb, truth = _frame(240, 400)
    predicted = truth.copy()
    predicted[:100] = np.nan
    _, shown, _, error = _tiles(side_by_side(rgb, predicted, truth), 240, 400, 4)
    assert (shown[:98] == 225).all()
    assert (error[:98] == 225).all()
    assert not (shown[102:] == 225).all(axis=2).any()


def test_errors_go_from_dark_to_bright():
    colours = error_colours(np.array([[0.0, 0.1, 0.3, LARGEST_ERROR, 9.0, np.nan]], np.float32))[0].astype(int)
    brightness = colours.sum(axis=1)
    assert (np.diff(brightness[:4]) > 0).all()
    assert (colours[4] == colours[3]).all()
    assert (colours[5] == 225).all()


def test_an_image_without_any_reading_can_be_drawn():
    rgb, _ = _frame(24, 32)
    nothing = np.full((24, 32), np.nan, np.float32)
    assert side_by_side(rgb, nothing, nothing).dtype == np.uint8


def test_pictures_are_stacked():
    rgb, depth = _frame(24, 32)
    one = side_by_side(rgb, depth)
    assert stacked([one, one]).shape == (2 * one.shape[0], one.shape[1], 3)
