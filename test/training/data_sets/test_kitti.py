"""KITTI's Eigen lists over raw pictures and annotated depth, in KITTI's folders."""

import json

import numpy as np
import pytest
from pictures_on_disk import picture, prepare, ramp, refusal, write_picture

from clip_depth_training.data_sets import open_data_set

# The layout of KITTI's file: other keys, text values, and 12 numbers row by row.
CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 1.728540e+02 2.163791e-01 \
0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03
P_rect_03: 7.075377e+02 0.000000e+00 6.015593e+02 -3.395242e+02 0.000000e+00 7.175377e+02 1.708540e+02 2.199936e+00 \
0.000000e+00 0.000000e+00 1.000000e+00 2.729905e-03
"""
LINES = (
    # date, drive, camera, frame, where the depth lies, how the list names it
    ("2011_09_26", "0001", "02", 5, "train"),
    ("2011_09_26", "0002", "03", 69, "val"),
    ("2011_09_29", "0004", "02", 7, ""),
)


def names(date, drive, camera, frame):
    drive = f"{date}_drive_{drive}_sync"
    return (
        f"{date}/{drive}/image_{camera}/data/{frame:010d}.png",
        f"{drive}/proj_depth/groundtruth/image_{camera}/{frame:010d}.png",
    )


@pytest.fixture
def roots(tmp_path):
    """Raw pictures with a calibration for one of two dates, annotated depth, and a list with a line without."""
    raw, annotated = tmp_path / "data" / "raw", tmp_path / "data" / "annotated"
    lines = []
    for number, (date, drive, camera, frame, part) in enumerate(LINES):
        image, depth = names(date, drive, camera, frame)
        units = np.zeros((375, 1242), np.uint16)
        units[200::4] = ramp(375, 1242, 2560, number)[200::4]
        write_picture(raw / image, picture(375, 1242, number))
        write_picture(annotated / part / depth, units)
        lines.append(f"{image} {depth} 721.5377")
    lines.insert(1, f"{names('2011_09_26', '0009', '02', 1)[0]} None 721.5377")
    (raw / "2011_09_26" / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return raw, annotated


def command(roots, output, *more):
    raw, annotated = roots
    listed = raw.parents[1] / "list.txt"
    return ("kitti", raw.parent, "--images", raw, "--depth", annotated, "--list", listed, "-o", output, *more)


def test_depth_is_found_under_train_and_val_and_pictures_without_are_counted(roots, tmp_path, capsys):
    assert prepare(*command(roots, tmp_path / "out", "--split", "test")) == 0
    printed = capsys.readouterr().out
    assert "samples               3\n" in printed
    assert "skipped               0\n" in printed
    assert "without ground truth  1\n" in printed
    assert "697 lines, 45 of them without ground truth; this one has 4 and 1" in printed
    assert "assumed at the centre" in printed
    data = open_data_set(tmp_path / "out")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["without_ground_truth"] == ["raw/" + names("2011_09_26", "0009", "02", 1)[0]]
    assert index["principal_point"] == "assumed"
    assert index["crop"] is None
    assert [entry.depth.split("/")[1] for entry in data.index.samples[:2]] == ["train", "val"]
    sample = data.sample(0)
    assert sample.depth.shape == (375, 1242)
    assert sample.depth[200, 0] == (2560 + 200) / 256
    assert sample.depth[201, 0] == 0
    assert np.array_equal(sample.image, picture(375, 1242, 0))
    assert data.description["depth_range_m"] == [0.001, 80.0]


def test_each_camera_has_its_own_calibration_and_a_date_without_the_lists_focal_length(roots, tmp_path):
    assert prepare(*command(roots, tmp_path / "out")) == 0
    left, right, bare = (open_data_set(tmp_path / "out").sample(number).intrinsics for number in range(3))
    assert left.tolist() == [[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]]
    assert right.tolist() == [[707.5377, 0, 601.5593], [0, 717.5377, 170.854], [0, 0, 1]]
    assert bare.tolist() == [[721.5377, 0, 620.5], [0, 721.5377, 187], [0, 0, 1]]


def test_the_benchmark_crop_is_an_option(roots, tmp_path, capsys):
    assert prepare(*command(roots, tmp_path / "out", "--crop", "kb")) == 0
    assert "1216x352 (3)" in capsys.readouterr().out
    data = open_data_set(tmp_path / "out")
    assert data.index.crop == "kb"
    sample = data.sample(0)
    assert sample.depth.shape == (352, 1216)
    assert sample.depth[200 - 23, 0] == (2560 + 200) / 256
    assert sample.intrinsics[:2, 2] == pytest.approx([596.5593, 149.854])


def test_one_folder_may_hold_pictures_and_depth_and_lists_may_name_the_date(roots, tmp_path):
    raw, annotated = roots
    for folder in annotated.iterdir():
        folder.rename(raw / folder.name)
    file = tmp_path / "list.txt"
    image, depth = names(*LINES[0][:4])
    file.write_text(f"/{image} /2011_09_26/{depth} 721.5377\n")
    assert prepare("kitti", raw, "--list", file, "-o", tmp_path / "out") == 0
    assert open_data_set(tmp_path / "out").index.samples[0].depth == f"train/{depth}"


def test_missing_files_are_named(roots, tmp_path, capsys):
    raw, annotated = roots
    _, depth = names(*LINES[1][:4])
    (annotated / "val" / depth).unlink()
    said = refusal(capsys, *command(roots, tmp_path / "out"))
    assert f"{depth} is missing, also under train/ and val/" in said
    (raw / names(*LINES[2][:4])[0]).write_bytes(b"")
    assert prepare(*command(roots, tmp_path / "out", "--skip-bad")) == 0
    assert "skipped               2\n" in capsys.readouterr().out
    index = open_data_set(tmp_path / "out").index
    assert len(index.samples) == 1
    assert [bad["reason"] for bad in index.skipped] == ["is missing, also under train/ and val/", "is empty"]


def test_a_damaged_calibration_is_one_sentence(roots, tmp_path, capsys):
    file = roots[0] / "2011_09_26" / "calib_cam_to_cam.txt"
    for text in (CALIBRATION.replace("P_rect_02", "P_02"), CALIBRATION.replace(" 2.745884e-03", ""), ""):
        file.write_text(text)
        said = refusal(capsys, *command(roots, tmp_path / "out"))
        assert f"{file} holds no P_rect_02 of 12 numbers" in said
    assert not (tmp_path / "out").exists()


def test_folders_that_are_none_are_one_sentence(roots, tmp_path, capsys):
    listed = tmp_path / "list.txt"
    for words in (("nowhere",), (".", "--images", "nowhere"), (".", "--depth", "nowhere")):
        paths = [word if word.startswith("--") else tmp_path / word for word in words]
        said = refusal(capsys, "kitti", *paths, "--list", listed, "-o", tmp_path / "out")
        assert "nowhere is not a folder" in said


def test_a_list_of_pictures_without_ground_truth_only_has_no_sample(roots, tmp_path, capsys):
    (tmp_path / "list.txt").write_text(f"{names(*LINES[0][:4])[0]} None 721.5377\n")
    assert "has no sample" in refusal(capsys, *command(roots, tmp_path / "out"))
