"""Boxes of crops, and what of the whole picture's boxes is left in them."""

import numpy as np
import pytest

from clip_depth_training.data_sets.crops import crop_box, seen_through


def test_boxes_by_hand():
    assert crop_box(None, (30, 40)) == (0, 30, 0, 40)
    assert crop_box("nyu", (480, 640)) == (56, 472, 60, 604)  # 416x544
    assert crop_box("kb", (375, 1242)) == (23, 375, 13, 1229)
    assert crop_box("kb", (352, 1216)) == (0, 352, 0, 1216)


@pytest.mark.parametrize(
    ("crop", "size", "said"),
    [
        ("nyu", (240, 320), "is 320x240, but NYU's cut of 544x416 is of pictures of 640x480"),
        ("nyu", (416, 544), "is 544x416, but"),
        ("kb", (351, 1242), "is 1242x351, smaller than the KITTI benchmark crop of 1216x352"),
        ("kb", (375, 1215), "is 1215x375, smaller than"),
    ],
)
def test_pictures_of_another_size_have_no_box(crop, size, said):
    with pytest.raises(ValueError, match=said):
        crop_box(crop, size)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((45, 471, 41, 601), (0, 415, 0, 541)),  # Eigen's crop, as DepthCLIP and DepthBLIP-2 count it
        ((100, 200, 300, 400), (44, 144, 240, 340)),
        ((0, 480, 0, 640), (0, 416, 0, 544)),
        ((0, 40, 0, 640), (0, 0, 0, 544)),
    ],
)
def test_a_box_is_seen_through_the_cut(box, expected):
    seen, size = seen_through(box, "nyu", (480, 640))
    assert (seen, size) == (expected, (416, 544))
    whole = np.zeros((480, 640), bool)
    whole[box[0] : box[1], box[2] : box[3]] = True
    cut = np.zeros(size, bool)
    cut[seen[0] : seen[1], seen[2] : seen[3]] = True
    assert np.array_equal(whole[56:472, 60:604], cut)
