"""The evaluation command against figures computed another way, and what its report says."""

import json

import cv2
import numpy as np
import pytest
import torch
from measuring import as_the_node, by_numpy, refusal, report, row
from networks import tiny_encoder, tiny_head
from pictures_on_disk import picture, prepare, write_nyu, write_picture
from rooms_on_disk import write_rooms

from clip_depth_ros.cli import main as clip_depth
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.index import Entry, Index
from clip_depth_training.evaluation.measurement import batches, mirrored, predict
from clip_depth_training.evaluation.protocols import Protocol
from clip_depth_training.evaluation.report import verdict
from clip_depth_training.evaluation.stored import read_report


@pytest.mark.parametrize("scaling", ["metric", "median-scaled"])
@pytest.mark.parametrize("flip", [False, True])
def test_figures_are_those_of_the_node_picture_by_picture(weights, folder, tmp_path, scaling, flip):
    found, _ = report(tmp_path, *weights, "--data", folder, *(["--flip"] if flip else []))
    predictions, truths = as_the_node(weights, folder, flip=flip)
    masks = [(truth > 0.1) & (truth < 10) for truth in truths]
    expected = by_numpy(predictions, truths, masks, 0.1, 10, scaling == "median-scaled")
    got = row(found, "space_clip", scaling)
    for name in NAMES:
        assert got[name] == pytest.approx(expected[name], rel=1e-4), name
    assert got["flip_averaging"] is flip


def test_crop_and_range_leave_pixels_out(weights, folder, tmp_path):
    found, _ = report(tmp_path, *weights, "--data", folder, "--crop", "garg", "--range", 1.0, 4.0)
    predictions, truths = as_the_node(weights, folder)
    masks = []
    for truth, box in zip(
        truths, [(19, 47, 2, 61)] * 2 + [(24, 59, 1, 48)]
    ):  # 0.408 * 48 = 19.6, 0.992 * 48 = 47.6 ...
        inside = np.zeros(truth.shape, bool)
        inside[box[0] : box[1], box[2] : box[3]] = True
        masks.append(inside & (truth > 1.0) & (truth < 4.0))
    got = row(found, "space_clip", "metric")
    for name, value in by_numpy(predictions, truths, masks, 1.0, 4.0, False).items():
        assert got[name] == pytest.approx(value, rel=1e-4), name
    assert "crop garg" in got["protocol"]
    assert got["depth_range_m"] == [1.0, 4.0]


def test_depth_may_be_compared_at_another_size(weights, folder, tmp_path):
    found, text = report(tmp_path, *weights, "--data", folder, "--eval-size", "24x32")
    predictions, truths = as_the_node(weights, folder, (24, 32))
    # Centres of 24 x 32 in 48 x 64: pixel 2 i + 1; in 60 x 50: floor((i + 0.5) * 60 / 24).
    rows = [np.floor((np.arange(24) + 0.5) * len(truth) / 24).astype(int) for truth in truths]
    columns = [np.floor((np.arange(32) + 0.5) * truth.shape[1] / 32).astype(int) for truth in truths]
    truths = [truth[np.ix_(i, j)] for truth, i, j in zip(truths, rows, columns)]
    expected = by_numpy(predictions, truths, [(truth > 0.1) & (truth < 10) for truth in truths], 0.1, 10, False)
    assert row(found, "space_clip", "metric")["abs_rel"] == pytest.approx(expected["abs_rel"], rel=1e-4)
    assert "predicted at 24x32" in text


def write_flat(folder, top, bottom):
    """Two pictures of 4 x 6 whose upper half is ``top`` mm away and whose lower half is ``bottom``."""
    for number in range(2):
        depth = np.full((4, 6), top, np.uint16)
        depth[2:] = bottom
        write_picture(folder / "rgb" / f"{number}.png", picture(4, 6, number))
        write_picture(folder / "depth" / f"{number}.png", depth)
    values = {"fx": 5.0, "fy": 5.0, "cx": 3.0, "cy": 2.0, "depth_scale_units_per_metre": 1000}
    (folder / "intrinsics.json").write_text(json.dumps(values))
    return folder


def test_trivial_predictions_by_hand(weights, tmp_path):
    data = write_flat(tmp_path / "measured", 4000, 2000)
    training = write_flat(tmp_path / "training", 5000, 1000)
    found, text = report(tmp_path, *weights, "--data", data, "--baseline", training)
    # The training set's mean is 3 m: errors 1/4 and 1/2. Its rows are 5 and 1 m: errors 1/4 and 1/2.
    assert row(found, "constant", "metric")["abs_rel"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert row(found, "row means", "metric")["abs_rel"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert row(found, "constant", "metric")["rmse"] == pytest.approx(1.0)
    # Medians are 3 m for all: the constant stays 3 m, and so do the rows.
    assert row(found, "row means", "median-scaled")["abs_rel"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert row(found, "constant", "metric")["baseline_of"] == "training"
    assert "constant = 3.000 m, mean depth of training" in text
    own, text = report(tmp_path, *weights, "--data", data)
    assert row(own, "row means (of this very data)", "metric")["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert row(own, "constant (of this very data)", "metric")["abs_rel"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert "harder test" in text
    assert {(entry["scaling"], entry["beats_row_means"]) for entry in own["verdicts"]} == {
        ("metric", False),
        ("median-scaled", False),
    }


def test_rows_without_readings_take_the_nearest_rows_mean(weights, tmp_path):
    data = write_flat(tmp_path / "sky", 0, 2000)
    found, _ = report(tmp_path, *weights, "--data", write_flat(tmp_path / "all", 2000, 2000), "--baseline", data)
    assert row(found, "row means", "metric")["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert row(found, "constant", "metric")["abs_rel"] == pytest.approx(0.0, abs=1e-6)


def test_pictures_without_ground_truth_are_counted(weights, folder, tmp_path):
    found, text = report(tmp_path, *weights, "--data", folder)
    assert {(entry["images"], entry["images_without_ground_truth"]) for entry in found["rows"]} == {(3, 1)}
    assert "office: 1 more pictures have no ground truth that counts" in text


def test_every_row_is_complete(weights, folder, tmp_path):
    rooms = write_rooms(tmp_path / "rooms_val", 2)
    found, text = report(tmp_path, *weights, "--data", folder, "--data", rooms)
    assert len(found["rows"]) == 12
    identity = tiny_encoder().identity()
    for entry in found["rows"]:
        assert (entry["encoder"], entry["encoder_identity"]) == ("tiny", identity)
        assert len(entry["weights_sha256"]) == 64
        assert (entry["method"], entry["source"]) == ("space_clip", "recipe random")
        assert entry["protocol"].startswith(entry["scaling"] + "; averaged per image")
        assert entry["kind"] == {"office": "rgbd", "rooms_val": "rooms"}[entry["data"]]
        assert all(np.isfinite(entry[name]) for name in NAMES)
    assert identity[:12] in text
    assert found["rows"][0]["weights_sha256"][:12] in text
    assert text.count("| office | 3 |") == text.count("| rooms_val | 6 |") == 6
    assert found["published_not_measured_here"] == []
    assert "Published" not in text


def test_what_a_data_set_leaves_out_is_said(weights, tmp_path):
    """One picture of KITTI's size, read with the benchmark crop: only its lower half has readings, all at 4 m."""
    depth = np.zeros((375, 1242), np.uint16)
    depth[200:] = 4 * 256
    write_picture(tmp_path / "kitti" / "a.png", picture(375, 1242))
    write_picture(tmp_path / "kitti" / "a_depth.png", depth)
    index = Index("kitti_eigen", "KITTI", "test", ".", 256.0, (0.001, 80.0), "KITTI.", "kb", samples=[])
    index.samples.append(Entry("a.png", "a_depth.png", 720.0, 720.0))
    index.without_ground_truth, index.limited_from, index.notes = ["b.png"], 652, ["The list is short."]
    index.write(tmp_path / "kitti")
    found, text = report(tmp_path, *weights, "--data", tmp_path / "kitti", "--crop", "eigen")
    got = row(found, "constant (of this very data)", "metric")
    assert got["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert got["depth_range_m"] == [0.001, 10.0]
    assert "crop kitti_eigen" in got["protocol"]
    assert "pictures cut to the KITTI benchmark crop of 352x1216" in got["protocol"]
    assert "KITTI: only 1 of 652 pictures" in text
    assert "KITTI: 1 pictures are listed without ground truth" in text
    assert "KITTI: The list is short" in text
    assert "| kitti | SPACE-CLIP, semantic only |" in text
    assert "| nyu |" not in text


def test_published_figures_stand_apart(weights, folder, tmp_path):
    write_nyu(tmp_path / "source")
    arguments = ("nyu-sync", tmp_path / "source", "--list", tmp_path / "source" / "list.txt", "-o", tmp_path / "nyu")
    assert prepare(*arguments) == 0
    found, text = report(tmp_path, *weights, "--data", tmp_path / "nyu", "--crop", "eigen")
    assert {entry["crop"] for entry in found["rows"]} == {"nyu_eigen"}
    measured, published = text.split("## Published, not measured here")
    assert "arXiv" not in measured
    assert "SPACE-CLIP, arXiv 2601.17657 | possibly median-scaled" in published
    assert "kitti" not in published
    assert {entry["data"] for entry in found["published_not_measured_here"]} == {"nyu"}
    assert not any("0.1042" in json.dumps(entry) for entry in found["rows"])
    _, text = report(tmp_path, *weights, "--data", folder, "--published")
    assert "| kitti | SPACE-CLIP |" in text


def test_verdicts_by_hand():
    def figures(mine, constant, rows):
        values = {("space_clip", "metric"): mine, ("constant", "metric"): constant, ("row means", "metric"): rows}
        return {key: {"abs_rel": value[0], "a1": value[1]} for key, value in values.items()}

    best = verdict("space_clip", figures((0.1, 0.9), (0.2, 0.5), (0.15, 0.6)), "metric", own=False)
    assert best == {"beats_constant": True, "beats_row_means": True, "text": "beats both trivial predictions"}
    worse = verdict("space_clip", figures((0.266, 0.6), (0.236, 0.5), (0.3, 0.5)), "metric", own=False)
    assert (worse["beats_constant"], worse["beats_row_means"]) == (False, True)
    assert worse["text"] == "NOT better than a constant (AbsRel 0.266 against 0.236), better than the row means"
    equal = verdict("space_clip", figures((0.2, 0.5), (0.2, 0.5), (0.2, 0.5)), "metric", own=False)
    assert not equal["beats_constant"]
    assert not verdict("space_clip", figures((float("nan"), 0.9), (0.2, 0.5), (0.2, 0.5)), "metric", False)[
        "beats_constant"
    ]


def test_batches_hold_neighbours_of_one_size(folder):
    data = open_data_set(folder)
    assert [len(group) for group in batches(data)] == [2, 1, 1]
    assert [sample.name for group in batches(data) for sample in group] == [
        str(folder / "rgb" / f"{number}.png") for number in range(4)
    ]


def test_a_mirrored_camera_sees_the_mirrored_picture(weights, folder):
    matrix = np.array([[[50.0, 0, 3], [0, 60, 7], [0, 0, 1]]])
    turned = mirrored(matrix, 64)
    assert turned[0].tolist() == [[50.0, 0, 60], [0, 60, 7], [0, 0, 1]]
    assert matrix[0, 0, 2] == 3
    # A symmetric picture has symmetric depth once it is averaged with its mirror image.
    estimator = DepthEstimator.from_settings(EstimatorConfig(weights=weights, device="cpu", precision="fp32"))
    sample = open_data_set(folder).sample(0)
    plain, averaged = (
        predict(estimator, [sample], Protocol((0.1, 10.0), flip=flip))["space_clip"][0] for flip in (False, True)
    )
    turned = type(sample)(np.ascontiguousarray(sample.image[:, ::-1]), sample.depth, sample.intrinsics, "turned")
    again = predict(estimator, [turned], Protocol((0.1, 10.0), flip=True))["space_clip"][0]
    assert torch.allclose(again, averaged.flip(1), rtol=1e-5)
    assert not torch.allclose(plain, averaged, rtol=1e-3)


def test_pictures_show_truth_prediction_and_error(weights, folder, tmp_path):
    report(tmp_path, *weights, "--data", folder, "--pictures", "3")
    sheet = cv2.imread(str(tmp_path / "out" / "report_office.png"))
    assert sheet.shape[1] == 8 + 4 * 408
    heights = [round(400 * 48 / 64)] * 2 + [round(400 * 60 / 50)]
    assert sheet.shape[0] == sum(height + 30 + 34 + 16 for height in heights)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000


def test_rows_go_into_a_card_that_info_prints(weights, folder, tmp_path, capsys):
    report(tmp_path, *weights, "--data", folder)
    stored = read_report(tmp_path / "out" / "report.json")
    rows = stored.rows_of("space_clip")
    assert [head["file"] for head in stored.heads] == ["head.safetensors"]
    assert set(rows[0]) == {"data", "images", "depth_range_m", "predictor", "protocol", *NAMES}
    encoder = tiny_encoder()
    card = CheckpointMetadata(method="space_clip", encoder=encoder.config, metrics=rows)
    save_checkpoint(tmp_path / "with_rows.safetensors", card, head=tiny_head())
    capsys.readouterr()
    assert clip_depth(["info", str(tmp_path / "with_rows.safetensors")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "averaged per image, no crop, no flip averaging; depth 0.1 to 10.0 m" in shown
    assert shown.count("median-scaled") == 3


def test_what_cannot_be_measured_is_one_sentence(weights, folder, tmp_path, capsys):
    assert "prepare" in refusal(capsys, *weights, "--data", tmp_path)
    assert "no ground truth between 7 and 8 m" in refusal(capsys, *weights, "--data", folder, "--range", 7, 8)
    assert "nyu_eigen, kitti_eigen" in refusal(capsys, *weights, "--data", folder, "--crop", "eigen")
    assert "given twice" in refusal(capsys, *weights, *["--data", folder] * 3)
    assert "none; give" in refusal(capsys, weights[0], "--data", folder)
    assert "space_clip, space_clip; give the file" in refusal(capsys, *weights, weights[1], "--data", folder)
    assert "holds no encoder" in refusal(capsys, weights[1], "--data", folder)
    assert ".json" in refusal(capsys, *weights, "--data", folder, "-o", tmp_path / "report.txt")
    assert "--pictures" in refusal(capsys, *weights, "--data", folder, "--pictures", "2")
    assert "--eval-size" in refusal(capsys, *weights, "--data", folder, "--eval-size", "352")
    assert "does not exist" in refusal(capsys, tmp_path / "nothing.safetensors", "--data", folder)
    assert not list(tmp_path.iterdir())


def test_real_pictures_are_measured_beside_trivial_predictions(shared_real, tmp_path):
    """The embedded weights on real pictures: all rows are there, whatever the verdict is."""
    from clip_depth_ros.depth.config import DEMO_WEIGHTS

    found, text = report(tmp_path, *DEMO_WEIGHTS, "--data", shared_real / "rgbd_tum_fr2_desk_slambook")
    assert {entry["predictor"] for entry in found["rows"]} == {
        *("space_clip", "moa_depth_clip", "depth_blip2", "depth_clip"),
        "constant (of this very data)",
        "row means (of this very data)",
    }
    assert row(found, "space_clip", "metric")["images"] == 2
    assert text.count("rgbd_tum_fr2_desk_slambook, m") == 8
