"""Which pictures a step sees: the same whatever it starts from, however many processes share it."""

import numpy as np
import pytest
import torch

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch, DepthDataSet, Sample
from clip_depth_training.data_sets.sampler import EvenParts, SameSizes, StepBatches, StepIndices, StepSampler


class Numbered(DepthDataSet):
    """Pictures of several sizes whose depth says which pixel of which picture it is."""

    sizes = ((20, 30), (24, 26), (20, 30))

    def __len__(self):
        return 12

    def sample(self, index):
        height, width = self.sizes[index % 3]
        depth = (index * 10_000 + np.arange(height)[:, None] * 100 + np.arange(width)[None]).astype(np.float32)
        image = np.repeat((depth % 251)[..., None], 3, axis=2).astype(np.uint8)
        return Sample(image, depth, np.diag([50.0, 50.0, 1.0]), f"picture {index}")

    @property
    def description(self):
        return {"kind": "numbered"}


def test_batches_are_the_same_whatever_step_they_start_from():
    whole = list(StepSampler(10, 4, 7, seed=3))
    assert list(StepSampler(10, 4, 7, seed=3, start=3)) == whole[3:]
    assert [chosen.step for chosen in whole] == list(range(7))
    assert len({*whole[0].indices, *whole[1].indices}) == 8
    assert whole[2].indices != whole[0].indices


def test_processes_share_the_batch_of_one():
    whole = list(StepSampler(10, 4, 5, seed=3))
    parts = [list(StepSampler(10, 4, 5, seed=3, rank=rank, processes=2)) for rank in (0, 1)]
    for step, (first, second) in enumerate(zip(*parts)):
        assert first.indices + second.indices == whole[step].indices
        assert (first.first, second.first) == (0, 2)


@pytest.mark.parametrize(("samples", "processes", "said"), [(3, 1, "fewer than one batch"), (8, 3, "3 processes")])
def test_batches_that_cannot_be_are_refused(samples, processes, said):
    with pytest.raises(BadInput, match=said):
        StepSampler(samples, 4, 1, 0, processes=processes)


def test_crops_make_one_size_of_many_and_depend_on_the_place_alone():
    data = StepBatches(Numbered(), (16, 18), seed=5)
    whole = data.__getitems__(StepIndices(3, (0, 1, 2, 4)))
    second_half = data.__getitems__(StepIndices(3, (2, 4), first=2))
    assert whole.depth.shape == (4, 16, 18)
    assert torch.equal(whole.depth[2:], second_half.depth)
    assert torch.equal(whole.images[2:], second_half.images)
    assert whole.focal.tolist() == [50.0] * 4
    for index, depth, image in zip((0, 1, 2, 4), whole.depth, whole.images):
        corner = int(depth[0, 0])
        assert corner // 10_000 == index
        assert int(depth[-1, -1]) - corner == 15 * 100 + 17  # one piece of the picture
        assert torch.equal(image[..., 0].float(), depth % 251)
    corners = {int(data.__getitems__(StepIndices(step, (0,))).depth[0, 0, 0]) for step in range(20)}
    assert len(corners) > 10
    rows = {corner // 100 % 100 for corner in corners}
    assert max(rows) <= 20 - 16


def test_a_picture_smaller_than_its_crop_is_named():
    error = StepBatches(Numbered(), (22, 18), seed=5).__getitems__(StepIndices(0, (1, 2)))
    assert isinstance(error, BadInput)
    assert "picture 2 is 30x20" in str(error)
    assert "train_size" in str(StepBatches(Numbered(), None, seed=5).__getitems__(StepIndices(0, (0, 1))))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_sample_is_measured_once_in_as_many_batches_for_each_process(processes):
    parts = [EvenParts(7, 2, rank, processes) for rank in range(processes)]
    assert len({len(list(part)) for part in parts}) == 1
    counted = [index for part in parts for number, batch in enumerate(part) for index in batch[: part.own(number)]]
    assert sorted(counted) == list(range(7))


def test_validation_takes_pictures_of_any_size_in_order():
    batches = SameSizes(Numbered()).__getitems__([0, 2, 3, 4])
    assert [tuple(batch.depth.shape) for batch in batches] == [(3, 20, 30), (1, 24, 26)]
    assert isinstance(batches[0], Batch)
    assert [int(depth[0, 0]) // 10_000 for batch in batches for depth in batch.depth] == [0, 2, 3, 4]
