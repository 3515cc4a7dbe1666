"""The picture of a data set shows what it should where it should."""

import cv2
import numpy as np
import pytest
from pictures_on_disk import picture

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Sample
from clip_depth_training.data_sets.contact_sheet import contact_sheet


def flat(metres, height=120, width=240):
    return Sample(
        np.full((height, width, 3), (200, 100, 50), np.uint8), np.full((height, width), metres, np.float32), None, "a/b"
    )


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_samples_share_one_scale_near_is_red_and_far_is_blue(tmp_path):
    contact_sheet([flat(1.0), flat(5.0), flat(0.0)], tmp_path / "sheet.png", columns=2)
    sheet = read(tmp_path / "sheet.png")
    assert sheet[60, 120].tolist() == [200, 100, 50]
    near, far = sheet[180, 120].astype(int), sheet[180, 240 + 6 + 120].astype(int)
    assert near[0] > near[2] + 50  # red
    assert far[2] > far[0]  # blue
    assert sheet[-30:].std() > 0  # the scale
    second_row = 120 * 2 + 32
    assert sheet[second_row + 60, 120].tolist() == [200, 100, 50]
    assert sheet[second_row + 180, 120].tolist() == [0, 0, 0]  # no reading
    assert sheet[second_row + 60, 246 + 120].tolist() == [255, 255, 255]  # nothing there


def test_sparse_points_stay_visible(tmp_path):
    sample = Sample(picture(375, 1242), np.zeros((375, 1242), np.float32), None, "a")
    sample.depth[100:300:10, ::10] = 5.0
    sample.depth[100:300:10, 5::10] = 9.0
    contact_sheet([sample], tmp_path / "sheet.png")
    height = round(375 * 240 / 1242)
    shown = read(tmp_path / "sheet.png")[height : 2 * height, :240]
    band = shown[height // 3 : 2 * height // 3].max(2) > 0
    assert band.mean() > 0.3
    assert not shown[:10].any()


def test_empty_edges_stay_empty(tmp_path):
    sample = Sample(picture(480, 640), np.zeros((480, 640), np.float32), None, "a")
    sample.depth[200:280, 200:400] = 2.0
    contact_sheet([sample], tmp_path / "sheet.png")
    shown = read(tmp_path / "sheet.png")[180:360, :240]
    assert not shown[:60].any()
    assert not shown[:, :60].any()
    assert not shown[:, 180:].any()
    assert not shown[120:].any()
    assert shown[90, 120].any()


def test_sizes_may_differ_and_nothing_is_an_error(tmp_path):
    contact_sheet([flat(1.0), flat(2.0, 300, 200), flat(3.0, 20, 1000)], tmp_path / "sheet.png")
    assert read(tmp_path / "sheet.png").shape[1] == 3 * 246
    with pytest.raises(BadInput, match="no sample"):
        contact_sheet([], tmp_path / "none.png")
