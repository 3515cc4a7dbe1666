"""What papers print, beside what the specifications say."""

import json

import pytest

from clip_depth_ros.depth.heads import HEADS
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_training.evaluation.published import PUBLISHED, published_for


def test_only_the_data_set_at_hand_is_listed():
    assert {row.data for row in published_for({"nyu_sync"})} == {"nyu"}
    assert {row.data for row in published_for({"kitti_eigen", "rooms"})} == {"kitti"}
    assert published_for({"rooms", "rgbd", "bag"}) == []
    assert published_for({"rooms"}, everything=True) == list(PUBLISHED)


def test_every_row_names_its_source_and_protocol_and_is_json():
    for row in PUBLISHED:
        assert row.source
        assert row.protocol
        assert row.encoder
        assert set(row.figures) <= set(NAMES)
        assert row.figures
        assert json.loads(json.dumps(row.row()))["measured_here"] is False
    doubtful = [row for row in PUBLISHED if row.method.startswith(("SPACE-CLIP", "MoA-DepthCLIP"))]
    assert len(doubtful) == 8
    assert all("possibly median-scaled" in row.protocol for row in doubtful)


def test_every_method_that_can_be_measured_has_published_figures():
    papers = {row.method.partition(",")[0].lower().replace("-", "") for row in published_for({"nyu_sync"})}
    assert papers == {name.replace("_", "") for name in HEADS}


@pytest.mark.parametrize(
    ("data", "method", "name", "value"),
    [
        ("kitti", "SPACE-CLIP", "abs_rel", 0.0901),
        ("kitti", "SPACE-CLIP", "sq_rel", 0.4701),
        ("kitti", "SPACE-CLIP, semantic only", "abs_rel", 0.1165),
        ("nyu", "SPACE-CLIP", "log_10", 0.0446),
        ("nyu", "SPACE-CLIP", "a1", 0.8958),
        ("nyu", "MoA-DepthCLIP, full model", "rmse", 0.520),
        ("nyu", "DepthBLIP-2, few-shot bins", "a3", 0.898),
        ("nyu", "DepthBLIP-2, zero-shot, fixed bins", "rmse", 1.172),
        ("nyu", "DepthCLIP, zero-shot", "abs_rel", 0.388),
    ],
)
def test_figures_are_the_papers(data, method, name, value):
    (row,) = [row for row in PUBLISHED if (row.data, row.method) == (data, method)]
    assert row.figures[name] == value
