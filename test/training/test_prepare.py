"""The command line of `prepare`: what every kind shares."""

import subprocess
import sys

import pytest
from pictures_on_disk import prepare, refusal, write_rgbd

from clip_depth_training.data_sets import open_data_set
from clip_depth_training.prepare import KINDS


@pytest.mark.parametrize("kind", [*KINDS, "rooms"])
def test_each_kind_explains_itself(kind, capsys):
    with pytest.raises(SystemExit) as end:
        prepare(kind, "--help")
    assert end.value.code == 0
    assert "--workers" in capsys.readouterr().out


def test_help_needs_no_heavy_library():
    script = (
        "import sys\n"
        "from clip_depth_training.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'h5py', 'scipy', 'rosbags', 'cv2') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "prepare", "--help"], capture_output=True, text=True, timeout=120, check=True
    )
    assert all(kind in done.stdout for kind in KINDS)
    assert done.stdout.splitlines()[-1] == "[]"


def test_numbers_that_cannot_be_are_one_sentence(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 2)
    assert "--limit is 0" in refusal(capsys, "rgbd", source, "-o", tmp_path / "out", "--limit", 0)
    assert "--workers is -1" in refusal(capsys, "rgbd", source, "-o", tmp_path / "out", "--workers", -1)
    with pytest.raises(SystemExit) as end:
        prepare("rgbd", source, "-o", tmp_path / "out", "--split", "half")
    assert end.value.code == 2


def test_the_first_bad_sample_of_the_list_is_the_error_whatever_the_threads_do(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 30)
    for number in (7, 8, 20):
        (source / "depth" / f"{number:04d}.png").write_bytes(b"")
    for workers in (1, 8):
        said = refusal(capsys, "rgbd", source, "-o", tmp_path / "out", "--workers", workers)
        assert "0007.png is empty" in said


def test_many_bad_samples_are_counted_and_the_first_ones_shown(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 10)
    for number in range(8):
        (source / "depth" / f"{number:04d}.png").write_bytes(b"")
    assert prepare("rgbd", source, "-o", tmp_path / "out", "--skip-bad") == 0
    printed = capsys.readouterr().out
    assert "skipped               8\n" in printed
    assert printed.count("is empty") == 5
    assert [bad["file"][-8:] for bad in open_data_set(tmp_path / "out").index.skipped] == [
        f"{number:04d}.png" for number in range(8)
    ]


def test_an_earlier_index_stays_when_a_later_check_fails(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 2)
    assert prepare("rgbd", source, "-o", tmp_path / "out") == 0
    before = (tmp_path / "out" / "index.json").read_bytes()
    (source / "rgb" / "0000.png").write_bytes(b"")
    refusal(capsys, "rgbd", source, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "index.json").read_bytes() == before


def test_an_output_that_cannot_be_a_folder_is_one_sentence(tmp_path, capsys):
    source = write_rgbd(tmp_path / "walk", 2)
    (tmp_path / "out").write_text("mine")
    assert "cannot be written" in refusal(capsys, "rgbd", source, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
