"""Crops by hand numbers, and depth ranges."""

import numpy as np
import pytest
import torch

from clip_depth_ros.errors import BadInput
from clip_depth_training.evaluation.protocols import Protocol, choose_crop, choose_range, crop_box


@pytest.mark.parametrize(
    ("name", "size", "box"),
    [
        # 0.3324324 * 352 = 117.02, 0.91351351 * 352 = 321.56, 0.0359477 * 1216 = 43.71, 0.96405229 * 1216 = 1172.29
        ("kitti_eigen", (352, 1216), (117, 321, 43, 1172)),
        # 0.40810811 * 352 = 143.65, 0.99189189 * 352 = 349.15
        ("garg", (352, 1216), (143, 349, 43, 1172)),
        # 0.3324324 * 375 = 124.66, 0.91351351 * 375 = 342.57, 0.0359477 * 1242 = 44.65, 0.96405229 * 1242 = 1197.35
        ("kitti_eigen", (375, 1242), (124, 342, 44, 1197)),
        # 0.40810811 * 375 = 153.04, 0.99189189 * 375 = 371.96
        ("garg", (375, 1242), (153, 371, 44, 1197)),
        # 0.3324324 * 352 = 117.02, 0.0359477 * 704 = 25.31, 0.96405229 * 704 = 678.69
        ("kitti_eigen", (352, 704), (117, 321, 25, 678)),
        ("nyu_eigen", (480, 640), (45, 471, 41, 601)),
        # 45 / 2 = 22.5, 471 / 2 = 235.5, 41 / 2 = 20.5, 601 / 2 = 300.5
        ("nyu_eigen", (240, 320), (22, 235, 20, 300)),
        ("none", (375, 1242), (0, 375, 0, 1242)),
    ],
)
def test_crops_are_the_usual_pixels(name, size, box):
    assert crop_box(name, size) == box
    truth = torch.full((1, *size), 2.0)
    mask = Protocol((0.1, 10.0), name).mask(truth)[0].numpy()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == box
    assert mask.sum() == (box[1] - box[0]) * (box[3] - box[2])


def test_eigen_s_crop_is_seen_through_what_depth_clip_sees_of_nyu():
    # Rows 45 to 471 and columns 41 to 601 of the whole picture, of which the cut has rows 56 to 472, columns 60 to 604.
    assert crop_box("nyu_eigen", (416, 544), "nyu") == (0, 415, 0, 541)
    whole, cut = torch.zeros(1, 480, 640), torch.zeros(1, 416, 544)
    whole[0, 56:471, 60:601], cut[0, :415, :541] = 2.0, 2.0
    assert torch.equal(Protocol((0.1, 10.0), "nyu_eigen", cut="nyu").mask(torch.full((1, 416, 544), 2.0)), cut > 0)
    assert torch.equal(Protocol((0.1, 10.0), "nyu_eigen").mask(whole)[:, 56:472, 60:604], cut > 0)
    assert crop_box("none", (416, 544), "nyu") == (0, 416, 0, 544)
    assert crop_box("garg", (352, 1216), "kb") == (143, 349, 43, 1172)


def test_a_mask_needs_crop_and_range():
    truth = torch.full((1, 480, 640), 2.0)
    truth[0, 100, 100], truth[0, 100, 101], truth[0, 100, 102] = 0.0, 10.0, float("nan")
    mask = Protocol((0.1, 10.0), "nyu_eigen").mask(truth)
    assert not mask[0, 100, 100:103].any()
    assert int(mask.sum()) == 426 * 560 - 3


@pytest.mark.parametrize(
    ("option", "kind", "size", "crop"),
    [
        ("eigen", "nyu_sync", (480, 640), "nyu_eigen"),
        ("eigen", "nyu_labelled", (240, 320), "nyu_eigen"),
        ("eigen", "kitti_eigen", (375, 1242), "kitti_eigen"),
        ("eigen", "rgbd", (480, 640), "nyu_eigen"),
        ("garg", "rgbd", (48, 64), "garg"),
        ("none", "nyu_sync", (480, 640), "none"),
    ],
)
def test_eigen_is_what_the_data_set_is(option, kind, size, crop):
    assert choose_crop(option, kind, "set", size) == crop


def test_eigen_of_something_else_is_refused():
    with pytest.raises(BadInput, match=r"rooms_val \(rooms, 128x96\) is neither.*garg"):
        choose_crop("eigen", "rooms", "rooms_val", (96, 128))


def test_every_protocol_says_what_it_is():
    plain = Protocol((0.1, 10.0))
    assert plain.text == "averaged per image, no crop, no flip averaging"
    full = Protocol((0.001, 80.0), "kitti_eigen", True, (352, 704)).text
    assert "crop kitti_eigen (rows 0.3324324 to 0.91351351 of the height" in full
    assert "flip averaging" in full
    assert "no flip" not in full
    assert "predicted at 352x704, ground truth resized to it (nearest)" in full
    odd = Protocol((0.1, 10.0), cut="nyu", encoder_input="416x544 normalised as imagenet").text
    assert "pictures cut to rows 56 to 472 and columns 60 to 604 of 480x640" in odd
    assert "encoder input 416x544 normalised as imagenet" in odd
    assert ";" not in full + odd  # it separates the scaling from the protocol in a weight file's rows


def test_the_depth_range_is_what_head_and_data_have_in_common():
    assert choose_range(None, {"a": (0.001, 10.0)}, (0.1, 80.0), "set") == (0.1, 10.0)
    assert choose_range(None, {"a": (0.0, 10.0)}, (0.0, 5.0), "set") == (0.001, 5.0)
    assert choose_range((0.5, 4.0), {"a": (0.001, 10.0)}, (0.1, 80.0), "set") == (0.5, 4.0)
    with pytest.raises(BadInput, match=r"^The head is for 0.1 to 1 m and set has 2 to 80 m, .* nothing in common"):
        choose_range(None, {"a": (0.1, 1.0)}, (2.0, 80.0), "set")
    for wrong in ((0.0, 10.0), (4.0, 2.0), (1.0, float("inf")), (float("nan"), 2.0)):
        with pytest.raises(BadInput, match="--range"):
            choose_range(wrong, {"a": (0.1, 10.0)}, (0.1, 10.0), "set")


def test_the_depth_range_is_what_all_heads_have_in_common():
    heads = {"far": (0.5, 80.0), "near": (0.001, 4.0)}
    assert choose_range(None, heads, (0.1, 10.0), "set") == (0.5, 4.0)
    assert choose_range(None, heads, (1.0, 3.0), "set") == (1.0, 3.0)
    assert choose_range((0.1, 10.0), heads, (1.0, 3.0), "set") == (0.1, 10.0)
    heads["near"] = (0.001, 0.25)
    with pytest.raises(BadInput, match=r"^far is for 0.5 to 80 m, near is for 0.001 to 0.25 m and set has 0.1 to 10 m"):
        choose_range(None, heads, (0.1, 10.0), "set")
