"""How a data set is made: sample by sample, checked, and with the index last."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pictures_on_disk import picture, ramp

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.index import Entry, Index, PreparedSet, evenly, root_between

CAMERA = (30.0, 31.0, 15.0, 11.0)


def new_index(**changes):
    values = {
        "kind": "bag",
        "name": "a bag",
        "split": "",
        "root": ".",
        "depth_units_per_metre": 1000.0,
        "depth_range_m": (0.1, 10.0),
        "source": "A bag.",
    }
    return Index(**{**values, **changes})


def write_all(prepared, frames):
    for name, (image, depth) in frames.items():
        prepared.write(name, image, depth, None)


def metres(height=24, width=32):
    return ramp(height, width).astype(np.float32) / 1000


def test_written_pictures_come_back_in_metres(tmp_path):
    folder = tmp_path / "set"
    prepared = PreparedSet(folder, new_index())
    depth = metres()
    depth[0, :5] = (np.nan, np.inf, -1.0, 0.0, 70.0)
    with prepared.extracting():
        prepared.write("000001", picture(24, 32), depth, CAMERA)
        prepared.write("000002", picture(24, 32), metres(), None)
        assert not (folder / "index.json").exists()
    summary = prepared.finish(workers=2)
    assert (folder / "contact_sheet.png").is_file()
    data = open_data_set(folder)
    assert len(data) == summary.samples == 2
    sample = data.sample(0)
    assert np.array_equal(sample.image, picture(24, 32))
    assert sample.depth[0, :5].tolist() == [0] * 5
    assert np.allclose(sample.depth[1:], metres()[1:], atol=1e-6)
    assert sample.intrinsics.tolist() == [[30, 0, 15], [0, 31, 11], [0, 0, 1]]
    assert sample.focal == pytest.approx(np.sqrt(30 * 31))
    assert data.sample(1).intrinsics is None
    assert np.isnan(data.sample(1).focal)
    assert data.description == {
        "kind": "bag",
        "name": "a bag",
        "split": "",
        "samples": 2,
        "source": "A bag.",
        "depth_range_m": [0.1, 10.0],
    }
    assert "1 pixels were farther than 65.535 m" in data.index.notes[0]


def test_the_summary_counts_what_was_read(tmp_path):
    prepared = PreparedSet(tmp_path / "set", new_index(depth_range_m=(0.1, 1.5)))
    depth = np.zeros((10, 20), np.float32)
    depth[:5] = 1.0
    depth[5] = 2.0
    with prepared.extracting():
        prepared.write("a", picture(10, 20), depth, CAMERA)
        prepared.write("b", picture(10, 20), depth, None)
    summary = prepared.finish()
    assert summary.pixels == 400
    assert summary.readings == 240
    assert summary.in_range == 200
    assert summary.percentiles() == [1.0, 1.0, 2.0]
    text = "\n".join(summary.lines(prepared.index))
    assert "samples               2\n" in text
    assert "20x10 (2)" in text
    assert "60.0 %, of which 83.3 %" in text
    assert "1.000 / 1.000 / 2.000 m" in text
    assert "30.00 px (1), unknown (1)" in text


@pytest.mark.parametrize(
    ("image", "depth", "said"),
    [
        (picture(24, 32), metres(24, 30), "depth of 30x24 but a picture of 32x24"),
        (picture(24, 32), np.zeros((24, 32), np.float32), "no depth reading"),
        (picture(24, 32)[..., 0], metres(), "not 8-bit RGB"),
    ],
)
def test_bad_frames_are_errors_or_on_record(image, depth, said, tmp_path):
    strict = PreparedSet(tmp_path / "strict", new_index())
    frames = {"000001": (picture(24, 32), metres()), "000002": (image, depth)}
    with pytest.raises(BadInput, match=said) as refused, strict.extracting():
        write_all(strict, frames)
    assert str(refused.value).startswith("000002 ")
    assert not (tmp_path / "strict").exists()
    lenient = PreparedSet(tmp_path / "lenient", new_index(), skip_bad=True)
    with lenient.extracting():
        write_all(lenient, frames)
    summary = lenient.finish()
    (skipped,) = Index.read(tmp_path / "lenient").skipped
    assert skipped["file"] == "000002"
    assert said in skipped["reason"]
    assert any("000002" in line for line in summary.lines(lenient.index))
    assert "skipped               1" in summary.lines(lenient.index)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    """The process may write files of 2 kB only: the second picture does not fit, as on a full disk."""
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.index import Index, PreparedSet
folder = Path(sys.argv[1])
prepared = PreparedSet(folder, Index("bag", "a", "", ".", 1000.0, (0.1, 10.0), "A bag."))
noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    with prepared.extracting():
        prepared.write("small", noise[:4, :4], np.ones((4, 4)), None)
        assert (folder / "rgb" / "small.png").is_file()
        prepared.write("large", noise, np.ones((100, 100)), None)
except BadInput as error:
    print(error)
"""
    folder = tmp_path / "set"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith(f"{folder} cannot be written (File too large)")
    assert done.stdout.count("\n") == 1
    assert not folder.exists()


def test_extraction_never_mixes_with_what_is_there(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / "mine.png").write_text("")
    prepared = PreparedSet(tmp_path, new_index())
    with pytest.raises(BadInput, match="exists already"), prepared.extracting():
        pass
    assert (tmp_path / "rgb" / "mine.png").exists()


def test_a_sample_that_goes_bad_before_the_check_removes_the_extracted(tmp_path):
    prepared = PreparedSet(tmp_path / "set", new_index())
    with prepared.extracting():
        prepared.write("a", picture(24, 32), metres(), None)
    (tmp_path / "set" / "depth" / "a.png").write_bytes(b"")
    with pytest.raises(BadInput, match=r"a\.png is empty"):
        prepared.finish()
    assert not (tmp_path / "set").exists()


def test_a_set_without_samples_is_refused(tmp_path):
    prepared = PreparedSet(tmp_path / "set", new_index())
    with prepared.extracting():
        pass
    with pytest.raises(BadInput, match="a bag has no sample: the source is empty"):
        prepared.finish()
    assert not (tmp_path / "set").exists()


def test_limits_are_spread_evenly():
    assert evenly(10, 5) == [0, 2, 4, 6, 8]
    assert evenly(3, 5) == evenly(3, None) == [0, 1, 2]
    assert evenly(0, 5) == []


def test_roots_are_relative_where_folders_move_together(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert root_between(tmp_path, tmp_path) == "."
    assert root_between(tmp_path, inside) == "../.."
    assert root_between(inside, tmp_path) == "a/b"
    assert root_between(inside, tmp_path / "c") == str(inside.resolve())


def test_an_index_survives_the_file(tmp_path):
    index = new_index(
        samples=[Entry("rgb/a.png", "depth/a.png", *CAMERA), Entry("rgb/b.png")],
        crop="kb",
        kind="kitti_eigen",
        without_ground_truth=["c.png"],
        skipped=[{"file": "d.png", "reason": "is empty"}],
        notes=["A note."],
        limited_from=7,
    )
    index.write(tmp_path)
    content = json.loads((tmp_path / "index.json").read_text())
    assert content["format"] == 1
    assert content["samples"][0] == {
        "image": "rgb/a.png",
        "depth": "depth/a.png",
        "fx": 30.0,
        "fy": 31.0,
        "cx": 15.0,
        "cy": 11.0,
    }
    assert Index.read(tmp_path) == index


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "not an index of format 1"),
        ({"kind": "faces"}, "faces"),
        ({"split": "half"}, "half"),
        ({"crop": "garg"}, "garg"),
        ({"depth_units_per_metre": 0}, "depth_units_per_metre"),
        ({"depth_units_per_metre": "many"}, "not an index"),
        ({"depth_range_m": [5, 1]}, "depth_range_m"),
        ({"depth_range_m": 5}, "not an index"),
        ({"samples": [{"picture": "a.png"}]}, "picture"),
        ({"samples": [{"image": 3}]}, "no paths"),
        ({"samples": [{"image": "a.png", "fx": "wide"}]}, "fx of a.png is 'wide'"),
    ],
)
def test_damaged_indices_are_one_sentence(change, said, tmp_path):
    file = new_index(samples=[Entry("a.png")]).write(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadInput, match=said) as refused:
        open_data_set(tmp_path)
    assert str(file) in str(refused.value)


def test_text_that_is_no_index_is_one_sentence(tmp_path):
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        open_data_set(tmp_path)
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(BadInput, match="not an index"):
        open_data_set(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        Index.read(tmp_path / "nowhere")
