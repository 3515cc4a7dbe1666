"""RGB-D folders, made here and real."""

import numpy as np
import pytest
from pictures_on_disk import picture, prepare, ramp, refusal, write_picture, write_rgbd

from clip_depth_training.data_sets import open_data_set

REAL = (
    # folder, pairs, units a metre, fx, and the nearest and farthest reading that SOURCE.txt tells
    ("rgbd_hololens_rooms", 32, 1000, 495.5678, 0.74, 7.4),
    ("rgbd_sun3d_cubicles_1", 13, 1000, 570.3422, 0.3, 10.0),
    ("rgbd_tum_fr2_desk_slambook", 2, 5000, 520.9, 0.97, 10.5),
    ("rgbd_open3d_tum_office", 1, 5000, 525.0, 1.46, 9.33),
)


def test_a_folder_is_indexed_in_place(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 4)
    assert prepare("rgbd", source, "-o", tmp_path / "out", "--range", 0.2, 5, "--name", "a walk") == 0
    assert "samples               4\n" in capsys.readouterr().out
    data = open_data_set(tmp_path / "out")
    assert data.description["name"] == "a walk"
    assert data.description["depth_range_m"] == [0.2, 5.0]
    sample = data.sample(3)
    assert np.array_equal(sample.image, picture(24, 32, 3))
    assert np.allclose(sample.depth, ramp(24, 32, 1300) / 1000)
    assert sample.intrinsics.tolist() == [[30, 0, 15], [0, 31, 11], [0, 0, 1]]


def test_an_index_beside_the_pictures_moves_with_them(tmp_path):
    source = write_rgbd(tmp_path / "walk")
    assert prepare("rgbd", source, "-o", source) == 0
    source.rename(tmp_path / "moved")
    assert open_data_set(tmp_path / "moved").sample(0).image.shape == (24, 32, 3)


def test_a_folder_is_a_data_set_without_being_prepared(tmp_path):
    data = open_data_set(write_rgbd(tmp_path / "walk", 11, calibration={"depth_scale_units_per_metre": 500}))
    assert len(data) == 11
    assert [data.sample(number).depth[0, 0] for number in (0, 2, 10)] == pytest.approx([2.0, 2.4, 4.0])
    assert data.description["name"] == "walk"


def test_names_pair_before_the_order_does(tmp_path):
    source = write_rgbd(tmp_path / "walk", 0)
    for number, name in ((0, "9"), (1, "10"), (2, "11")):
        write_picture(source / "rgb" / f"frame-{name}.color.png", picture(24, 32))
        write_picture(source / "depth" / f"frame-{name}.depth.png", ramp(24, 32, 1000 + number))
    data = open_data_set(source)
    assert [entry.image for entry in data.index.samples] == [f"rgb/frame-{n}.color.png" for n in (9, 10, 11)]
    assert [entry.depth for entry in data.index.samples] == [f"depth/frame-{n}.depth.png" for n in (9, 10, 11)]


def test_stamps_that_never_agree_pair_by_order(tmp_path):
    source = write_rgbd(tmp_path / "walk", 0)
    for stamp in (1311868164.36, 1311868164.40):
        write_picture(source / "rgb" / f"{stamp:.2f}.png", picture(24, 32))
        write_picture(source / "depth" / f"{stamp + 0.01:.2f}.png", ramp(24, 32))
    entries = open_data_set(source).index.samples
    assert [(entry.image, entry.depth) for entry in entries] == [
        ("rgb/1311868164.36.png", "depth/1311868164.37.png"),
        ("rgb/1311868164.40.png", "depth/1311868164.41.png"),
    ]
    (source / "depth" / "1311868164.41.png").unlink()
    with pytest.raises(ValueError, match=r"holds 2 pictures but .* 1"):
        open_data_set(source)


def test_a_picture_without_its_depth_is_named_or_skipped(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 3)
    (source / "depth" / "0001.png").unlink()
    said = refusal(capsys, "rgbd", source, "-o", tmp_path / "out")
    assert f"{source / 'rgb' / '0001.png'} has no partner of its name in depth/" in said
    assert prepare("rgbd", source, "-o", tmp_path / "out", "--skip-bad") == 0
    data = open_data_set(tmp_path / "out")
    assert (len(data), len(data.index.skipped)) == (2, 1)


def test_what_is_missing_or_damaged_is_one_sentence(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 1)
    command = ("rgbd", source, "-o", tmp_path / "out")
    assert "--range" in refusal(capsys, *command, "--range", 5, 1)
    write_rgbd(source, 1, calibration={"width": 64, "height": 24})
    assert "0000.png is 32x24, but its camera's calibration is for 64x24" in refusal(capsys, *command)
    for text in ("{", "[]", '{"fx": 1}', '{"fx": -1, "fy": 1, "cx": 1, "cy": 1, "depth_scale_units_per_metre": 1}'):
        (source / "intrinsics.json").write_text(text)
        assert "intrinsics.json is not a calibration" in refusal(capsys, *command)
    (source / "intrinsics.json").unlink()
    assert "intrinsics.json is not a calibration" in refusal(capsys, *command)
    write_rgbd(source, 1)
    (source / "depth" / "0000.png").unlink()
    assert "depth is empty" in refusal(capsys, *command)
    (source / "depth").rmdir()
    assert "depth is missing" in refusal(capsys, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "pairs", "scale", "focal", "near", "far"), REAL)
def test_real_folders(name, pairs, scale, focal, near, far, shared_real, tmp_path, capsys):
    assert prepare("rgbd", shared_real / name, "-o", tmp_path) == 0
    assert f"samples               {pairs}\n" in capsys.readouterr().out
    data = open_data_set(tmp_path)
    assert len(data) == len(open_data_set(shared_real / name)) == pairs
    assert data.index.depth_units_per_metre == scale
    sample = data.sample(0)
    assert sample.intrinsics[0, 0] == pytest.approx(focal, abs=1e-3)
    depth = sample.depth[sample.depth > 0]
    assert near - 0.01 <= depth.min() < depth.max() <= far + 0.05
    assert (tmp_path / "contact_sheet.png").is_file()
