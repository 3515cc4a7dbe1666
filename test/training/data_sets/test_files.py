"""Samples of picture files: metres, crops, intrinsics, and damaged files by name."""

import pickle
import re

import numpy as np
import pytest
from pictures_on_disk import picture, ramp, write_picture, write_rgbd
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import same
from clip_depth_training.data_sets.files import FileDataSet
from clip_depth_training.data_sets.index import Entry, Index


def kitti_index(entry, crop="kb"):
    return Index("kitti_eigen", "k", "", ".", 256.0, (0.001, 80.0), "KITTI.", crop=crop, samples=[entry])


def test_the_benchmark_crop_moves_picture_depth_and_principal_point(tmp_path):
    image, units = picture(375, 1242), ramp(375, 1242, 256)
    units[:, 100] = 0
    write_picture(tmp_path / "i.png", image)
    write_picture(tmp_path / "d.png", units)
    entry = Entry("i.png", "d.png", 721.5377, 721.5377, 609.5593, 172.854)
    sample = FileDataSet(tmp_path, kitti_index(entry)).sample(0)
    # 375 - 352 = 23 rows above, (1242 - 1216) / 2 = 13 columns at the left.
    assert np.array_equal(sample.image, image[23:, 13:1229])
    assert sample.depth.shape == (352, 1216)
    assert sample.depth[0, 0] == pytest.approx((256 + 23) / 256)
    assert not sample.depth[:, 87].any()
    assert sample.intrinsics[:2, 2] == pytest.approx([609.5593 - 13, 172.854 - 23])
    assert sample.intrinsics[0, 0] == 721.5377
    whole = FileDataSet(tmp_path, kitti_index(entry, crop=None)).sample(0)
    assert whole.depth.shape == (375, 1242)
    assert whole.intrinsics[:2, 2] == pytest.approx([609.5593, 172.854])


def test_an_unknown_principal_point_is_the_middle_of_the_picture(tmp_path):
    write_picture(tmp_path / "i.png", picture(375, 1242))
    write_picture(tmp_path / "d.png", ramp(375, 1242))
    sample = FileDataSet(tmp_path, kitti_index(Entry("i.png", "d.png", 700.0, 700.0), crop=None)).sample(0)
    assert sample.intrinsics[:2, 2].tolist() == [620.5, 187.0]


def test_a_picture_smaller_than_the_crop_is_named(tmp_path):
    write_picture(tmp_path / "i.png", picture(300, 1242))
    write_picture(tmp_path / "d.png", ramp(300, 1242))
    with pytest.raises(BadInput, match=r"i\.png is 1242x300, smaller than the KITTI benchmark crop of 1216x352"):
        FileDataSet(tmp_path, kitti_index(Entry("i.png", "d.png"))).sample(0)


def test_a_picture_without_ground_truth_has_no_reading(tmp_path):
    write_picture(tmp_path / "i.png", picture(20, 30))
    sample = FileDataSet(tmp_path, kitti_index(Entry("i.png"), crop=None)).sample(0)
    assert sample.depth.shape == (20, 30)
    assert not sample.depth.any()
    assert sample.intrinsics is None


def test_grey_pictures_become_three_equal_channels(tmp_path):
    folder = write_rgbd(tmp_path, 1)
    grey = picture(24, 32)[..., 0]
    write_picture(folder / "rgb" / "0000.png", grey)
    assert np.array_equal(open_data_set(folder).sample(0).image, np.repeat(grey[..., None], 3, 2))


def test_workers_read_what_one_process_reads(tmp_path):
    data = open_data_set(write_rgbd(tmp_path, 4))
    assert len(pickle.dumps(data)) < 10_000
    batches = list(DataLoader(data, batch_size=2, num_workers=2, collate_fn=same))
    assert [len(batch) for batch in batches] == [2, 2]
    for number, batch in enumerate(batches):
        assert np.array_equal(batch.images[1].numpy(), data.sample(2 * number + 1).image)
        assert np.array_equal(batch.depth[0].numpy(), data.sample(2 * number).depth)
    assert batches[0].focal.tolist() == pytest.approx([np.sqrt(30 * 31)] * 2)


def test_a_worker_passes_on_which_file_is_bad(tmp_path):
    """A loader's worker sends its exception wrapped; the training raises it again from its text."""
    data = open_data_set(write_rgbd(tmp_path, 2))
    (tmp_path / "depth" / "0001.png").unlink()
    wrapped = None
    try:
        data.sample(1)
    except BadInput:
        wrapped = pickle.loads(pickle.dumps(ExceptionWrapper(where="in DataLoader worker process 0")))
    with pytest.raises(BadInput, match=r"depth/0001\.png is missing"):
        wrapped.reraise()


def test_sizes_in_one_batch_must_agree(tmp_path):
    write_rgbd(tmp_path, 2)
    write_picture(tmp_path / "rgb" / "0001.png", picture(20, 32))
    write_picture(tmp_path / "depth" / "0001.png", ramp(20, 32))
    with pytest.raises(BadInput, match="one size"):
        open_data_set(tmp_path).__getitems__([0, 1])


def _cut(data):
    return data[: len(data) // 2]


def _zero_tail(data):
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def _flip(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("rgb/0000.png", _cut, "is damaged"),
        ("rgb/0000.png", _flip, "is damaged"),
        ("rgb/0000.png", lambda _: b"", "is empty"),
        ("rgb/0000.png", lambda _: b"not a picture", "no picture"),
        ("depth/0000.png", _cut, "is damaged"),
        ("depth/0000.png", _zero_tail, "is damaged"),
        ("rgb/0001.jpg", _cut, "is cut off"),
        ("rgb/0001.jpg", _zero_tail, "is cut off"),
    ],
)
def test_damaged_pictures_are_named(name, damage, said, tmp_path):
    folder = write_rgbd(tmp_path, 2, 48, 64)
    (folder / "rgb" / "0001.png").unlink()
    write_picture(folder / "rgb" / "0001.jpg", np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    file = folder / name
    data = open_data_set(folder)
    number = int(file.stem)
    assert data.sample(number).image.shape == (48, 64, 3)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BadInput, match=f"^{re.escape(str(file))} .*{said}"):
        data.sample(number)


def test_a_folder_that_is_no_data_set_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="clip-depth-train prepare"):
        open_data_set(tmp_path)
    with pytest.raises(BadInput, match="clip-depth-train prepare"):
        open_data_set(tmp_path / "nowhere")
