"""NYU's labelled MATLAB file and its official split, in MATLAB's layout."""

import shutil

import cv2
import numpy as np
import pytest
from pictures_on_disk import picture, prepare, refusal

from clip_depth_training.data_sets import open_data_set

h5py = pytest.importorskip("h5py", reason="needs the extra [train]")
savemat = pytest.importorskip("scipy.io", reason="needs the extra [train]").savemat
FRAMES = 4


def frame_depth(number):
    """Metres (480, 640) of frame ``number``, counted from 1: rows go away, columns too but less; a hole at (7, 9)."""
    depth = number + np.arange(480)[:, None] / 200 + np.arange(640)[None, :] / 1000
    depth[7, 9] = 0
    return depth.astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with both files; arrays lie as MATLAB writes them: its last axis first."""
    folder = tmp_path_factory.mktemp("nyu")
    images = np.stack([picture(480, 640, number) for number in range(1, FRAMES + 1)])
    depths = np.stack([frame_depth(number) for number in range(1, FRAMES + 1)])
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["rawDepths"] = depths.transpose(0, 2, 1)
        file["depths"] = np.where(depths == 0, 3, depths).transpose(0, 2, 1)
    with (folder / "nyu_depth_v2_labeled.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    savemat(folder / "splits.mat", {"trainNdxs": np.array([[1], [3], [4]]), "testNdxs": np.array([[2]])})
    return folder


def command(source, output, *more):
    return ("nyu-labelled", source / "nyu_depth_v2_labeled.mat", "-o", output, *more)


def test_frames_are_extracted_upright_and_in_metres(source, tmp_path, capsys):
    output = tmp_path / "out"
    assert prepare(*command(source, output, "--splits", source / "splits.mat", "--split", "train")) == 0
    printed = capsys.readouterr().out
    assert "samples               3" in printed
    assert "The official train split has 795 frames; this one has 3." in printed
    data = open_data_set(output)
    assert [entry.image for entry in data.index.samples] == [f"rgb/{number:05d}.png" for number in (1, 3, 4)]
    sample = data.sample(1)
    assert np.array_equal(sample.image, picture(480, 640, 3))
    assert np.abs(sample.depth - frame_depth(3)).max() <= 0.0001 + 1e-6  # half of 0.2 mm
    assert sample.depth[7, 9] == 0
    assert sample.intrinsics.tolist() == [[518.8579, 0, 325.5824], [0, 519.4696, 253.7362], [0, 0, 1]]
    assert data.description["kind"] == "nyu_labelled"
    assert "rawDepths" in data.description["source"]


def test_painted_in_depth_and_chosen_frames_are_options(source, tmp_path, capsys):
    (tmp_path / "frames.txt").write_text("4\n2\n")
    more = ("--indices", tmp_path / "frames.txt", "--depths", "depths")
    assert prepare(*command(source, tmp_path / "out", *more)) == 0
    assert "official" not in capsys.readouterr().out
    data = open_data_set(tmp_path / "out")
    assert [entry.depth for entry in data.index.samples] == ["depth/00004.png", "depth/00002.png"]
    assert data.sample(0).depth[7, 9] == 3


def test_the_published_cut_is_made_at_reading(source, tmp_path, capsys):
    more = ("--splits", source / "splits.mat", "--split", "test", "--cut")
    assert prepare(*command(source, tmp_path / "out", *more)) == 0
    assert "544x416 (1)" in capsys.readouterr().out
    data = open_data_set(tmp_path / "out")
    assert (data.index.crop, data.description["name"]) == ("nyu", "NYU Depth V2 labelled test, cut")
    sample = data.sample(0)
    assert np.array_equal(sample.image, picture(480, 640, 2)[56:472, 60:604])
    assert np.abs(sample.depth - frame_depth(2)[56:472, 60:604]).max() <= 0.0001 + 1e-6
    assert sample.intrinsics[:2, 2] == pytest.approx([265.5824, 197.7362])
    assert cv2.imread(str(tmp_path / "out" / "rgb" / "00002.png")).shape == (480, 640, 3), "stored whole"


def test_the_official_counts_are_said_only_when_they_differ(source, tmp_path, capsys):
    savemat(tmp_path / "splits.mat", {"testNdxs": np.arange(1, 655)[:, None]})
    said = refusal(capsys, *command(source, tmp_path / "out", "--splits", tmp_path / "splits.mat", "--split", "test"))
    assert f"asks for frame 654, but {source / 'nyu_depth_v2_labeled.mat'} holds 4" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nyu_depth_v2_labeled.mat", b"MATLAB 5.0 MAT-file, but not HDF5", "is not a MATLAB file of version 7.3"),
        ("nyu_depth_v2_labeled.mat", b"", "is not a MATLAB file of version 7.3"),
        ("nyu_depth_v2_labeled.mat", None, "is not a file"),
        ("splits.mat", b"nonsense", "is not a MATLAB file that can be read"),
        ("splits.mat", None, "is not a file"),
    ],
)
def test_files_that_are_none_are_one_sentence(name, content, said, source, tmp_path, capsys):
    shutil.copytree(source, tmp_path / "nyu")
    file = tmp_path / "nyu" / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    splits = ("--splits", tmp_path / "nyu" / "splits.mat", "--split", "train")
    sentence = refusal(capsys, *command(tmp_path / "nyu", tmp_path / "out", *splits))
    assert said in sentence
    assert str(file) in sentence
    assert not (tmp_path / "out").exists()


def test_a_cut_file_is_one_sentence(source, tmp_path, capsys):
    whole = (source / "nyu_depth_v2_labeled.mat").read_bytes()
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(whole[: len(whole) // 2])
    splits = ("--splits", source / "splits.mat", "--split", "train")
    assert "labeled.mat is not a MATLAB file" in refusal(capsys, *command(tmp_path, tmp_path / "out", *splits))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"labels": np.zeros((2, 2))}, "holds no array images"),
        ({"images": np.zeros((1, 3, 8, 6), np.uint8)}, "holds no array rawDepths"),
        (
            {"images": np.zeros((2, 3, 8, 6), np.uint8), "rawDepths": np.zeros((1, 8, 6))},
            "do not belong together",
        ),
        ({"images": np.zeros((1, 3, 8, 6)), "rawDepths": np.zeros((1, 8, 6))}, "do not belong together"),
    ],
)
def test_other_matlab_files_are_one_sentence(arrays, said, source, tmp_path, capsys):
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = values
    splits = ("--splits", source / "splits.mat", "--split", "train")
    assert said in refusal(capsys, *command(tmp_path, tmp_path / "out", *splits))


def test_splits_are_asked_for(source, tmp_path, capsys):
    assert "--split train" in refusal(capsys, *command(source, tmp_path / "out", "--splits", source / "splits.mat"))
    with pytest.raises(SystemExit) as end:
        prepare(*command(source, tmp_path / "out"))
    assert end.value.code == 2
    for text, said in (("", "names no frame"), ("0", "numbered from 1"), ("2 2", "twice"), ("two", "cannot be read")):
        (tmp_path / "frames.txt").write_text(text)
        assert said in refusal(capsys, *command(source, tmp_path / "out", "--indices", tmp_path / "frames.txt"))
    savemat(tmp_path / "splits.mat", {"other": 1})
    splits = ("--splits", tmp_path / "splits.mat", "--split", "train")
    assert "holds no trainNdxs" in refusal(capsys, *command(source, tmp_path / "out", *splits))


def test_no_space_is_said_before_anything_is_written(source, tmp_path, capsys, monkeypatch):
    """The disk is as it is; the file claims to hold pictures larger than any disk, which HDF5 stores as a wish."""
    side = 1 << 22
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file.create_dataset("images", (1, 3, side, side), np.uint8, chunks=(1, 1, 64, 64))
        file.create_dataset("rawDepths", (1, side, side), np.float32, chunks=(1, 64, 64))
    (tmp_path / "frames.txt").write_text("1")
    said = refusal(capsys, *command(tmp_path, tmp_path / "out", "--indices", tmp_path / "frames.txt"))
    assert "81920.0 GiB will be written" in said  # 2^44 pixels of 5 bytes
    assert not (tmp_path / "out").exists()
