"""NYU's sync layout and its list files."""

import json

import numpy as np
import pytest
from pictures_on_disk import picture, prepare, ramp, refusal, write_nyu, write_picture

from clip_depth_training.data_sets import open_data_set


@pytest.mark.parametrize("slash", ["/", ""])
def test_listed_pictures_are_indexed_in_place(slash, tmp_path, capsys):
    source, output = tmp_path / "sync", tmp_path / "out"
    file = write_nyu(source, slash=slash)
    assert prepare("nyu-sync", source, "--list", file, "--split", "test", "-o", output) == 0
    printed = capsys.readouterr().out
    assert "samples               2" in printed
    assert "The official test list has 654 lines; this one has 2." in printed
    data = open_data_set(output)
    assert sorted(path.name for path in output.iterdir()) == ["contact_sheet.png", "index.json"]
    sample = data.sample(1)
    assert sample.name == str(source / "bathroom_0001" / "rgb_00045.jpg")
    assert sample.depth[0, 0] == pytest.approx(1.001)
    assert sample.depth[479, 639] == pytest.approx(1.480)
    assert abs(sample.image.astype(int) - picture(480, 640, 1)).max() < 12  # JPEG
    assert sample.intrinsics.tolist() == [[518.8579, 0, 325.5824], [0, pytest.approx(519.4696), 253.7362], [0, 0, 1]]
    assert (data.description["kind"], data.description["split"]) == ("nyu_sync", "test")
    assert data.description["depth_range_m"] == [0.001, 10.0]


def test_the_focal_length_is_the_lists(tmp_path):
    file = write_nyu(tmp_path, scenes=("kitchen",))
    file.write_text(file.read_text().replace("518.8579", "1037.7158"))
    assert prepare("nyu-sync", tmp_path, "--list", file, "-o", tmp_path / "out") == 0
    matrix = open_data_set(tmp_path / "out").sample(0).intrinsics
    assert (matrix[0, 0], matrix[1, 1]) == (1037.7158, pytest.approx(2 * 519.4696))


def test_the_published_cut_is_an_option(tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=("a", "b"))
    units = ramp(480, 640)
    units[:, 604:] = units[472:] = 7  # outside
    write_picture(tmp_path / "a" / "sync_depth_00045.png", units)
    command = ("nyu-sync", tmp_path, "--list", file, "--split", "test", "--cut", "-o", tmp_path / "out")
    assert prepare(*command) == 0
    assert "544x416 (2)" in capsys.readouterr().out
    data = open_data_set(tmp_path / "out")
    assert data.index.crop == "nyu"
    assert json.loads((tmp_path / "out" / "index.json").read_text())["crop"] == "nyu"
    assert data.description["name"] == "NYU Depth V2 test, cut"
    assert "cut to rows 56 to 472 and columns 60 to 604 of 480x640" in data.description["source"]
    sample = data.sample(0)
    assert np.abs(sample.image.astype(int) - picture(480, 640, 0)[56:472, 60:604]).max() < 12  # JPEG
    assert np.array_equal(sample.depth, np.float32([[(1056 + row) / 1000] * 544 for row in range(416)]))
    assert sample.intrinsics[:2, 2] == pytest.approx([325.5824 - 60, 253.7362 - 56])
    assert (sample.intrinsics[0, 0], sample.intrinsics[1, 1]) == (518.8579, pytest.approx(519.4696))
    outside = np.zeros_like(units)
    outside[:56] = outside[:, :60] = 1000
    write_picture(tmp_path / "b" / "sync_depth_00045.png", outside)
    said = refusal(capsys, *command)
    assert "sync_depth_00045.png has no depth reading: it is 0 everywhere in the crop" in said
    assert open_data_set(tmp_path / "out").index.crop == "nyu", "what was there stays"


def test_a_limit_takes_samples_from_the_whole_list(tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=tuple("abcd"))
    assert prepare("nyu-sync", tmp_path, "--list", file, "--limit", 2, "-o", tmp_path / "out") == 0
    assert "samples               2 of 4 (--limit)" in capsys.readouterr().out
    index = open_data_set(tmp_path / "out").index
    assert [entry.image for entry in index.samples] == ["a/rgb_00045.jpg", "c/rgb_00045.jpg"]
    assert index.root == ".."


def test_a_list_that_is_none_is_one_sentence(tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=("a",))
    command = ("nyu-sync", tmp_path, "--list", file, "-o", tmp_path / "out")
    good = file.read_text()
    for text, said in (
        ("", "list.txt is empty"),
        ("\n \n", "list.txt is empty"),
        (good + "a/rgb_00045.jpg a/sync_depth_00045.png\n", "line 2 is"),
        (good + "a/rgb_00045.jpg a/sync_depth_00045.png far\n", "line 2 is"),
        (good + "a/rgb_00045.jpg a/sync_depth_00045.png -3\n", "line 2 is"),
    ):
        file.write_text(text)
        assert said in refusal(capsys, *command)
    file.write_bytes(b"\xff\xfe\x00")
    assert "is no text" in refusal(capsys, *command)
    file.unlink()
    assert "list.txt cannot be read" in refusal(capsys, *command)
    assert "is not a folder" in refusal(capsys, "nyu-sync", tmp_path / "nowhere", *command[2:])
    assert not (tmp_path / "out").exists()


def _missing(file, _):
    file.unlink()


def _small(file, _):
    write_picture(file, ramp(240, 320))


def _eight_bit(file, _):
    write_picture(file, picture(480, 640)[..., 0])


def _zero(file, _):
    write_picture(file, ramp(480, 640) * 0)


def _cut(file, _):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _both_small(file, other):
    write_picture(file, ramp(240, 320))
    write_picture(other, picture(240, 320))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_missing, "sync_depth_00045.png is missing"),
        (_small, "sync_depth_00045.png is 320x240, but its picture"),
        (_eight_bit, "sync_depth_00045.png is a picture of 1 channel of uint8, but depth is one channel of 16 bits"),
        (_zero, "sync_depth_00045.png has no depth reading"),
        (_cut, "sync_depth_00045.png is damaged"),
        (_both_small, "rgb_00045.jpg is 320x240, but its camera's calibration is for 640x480"),
    ],
)
def test_bad_samples_are_errors_that_name_the_file_or_are_skipped_on_record(damage, said, tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=("a", "b"))
    damage(tmp_path / "b" / "sync_depth_00045.png", tmp_path / "b" / "rgb_00045.jpg")
    command = ("nyu-sync", tmp_path, "--list", file, "-o", tmp_path / "out")
    sentence = refusal(capsys, *command)
    assert said in sentence
    assert str(tmp_path / "b") in sentence
    assert "--skip-bad" in sentence
    assert not (tmp_path / "out").exists()
    assert prepare(*command, "--skip-bad") == 0
    printed = capsys.readouterr().out
    assert "samples               1\n" in printed
    assert "skipped               1\n" in printed
    assert said.split(" ", 1)[1] in printed
    data = open_data_set(tmp_path / "out")
    assert len(data) == 1
    (skipped,) = data.index.skipped
    assert skipped["file"].startswith(str(tmp_path / "b"))


def test_nothing_left_after_skipping_is_an_error(tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=("a",))
    (tmp_path / "a" / "rgb_00045.jpg").unlink()
    said = refusal(capsys, "nyu-sync", tmp_path, "--list", file, "--skip-bad", "-o", tmp_path / "out")
    assert "has no sample: all 1 are bad" in said


def test_a_bad_line_is_skipped_on_record(tmp_path, capsys):
    file = write_nyu(tmp_path, scenes=("a",))
    file.write_text("nonsense\n" + file.read_text())
    assert prepare("nyu-sync", tmp_path, "--list", file, "--skip-bad", "-o", tmp_path / "out") == 0
    assert open_data_set(tmp_path / "out").index.skipped[0]["file"].endswith("list.txt line 1")
    assert "list.txt line 1 is 'nonsense'" in capsys.readouterr().out
