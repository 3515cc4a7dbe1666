"""Picture changes: seeded by place, depth stays with its picture, nothing is invented."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import AugmentationConfig, Place, augment
from clip_depth_training.data_sets.base import Batch

OFF = AugmentationConfig(0, 0, 0, "uniform", 0, 0, 0, 0, 0, 0)
PAPER = replace(OFF, rotation=1.0, flip=0.5, probability=0.5, brightness=0.1, gamma=0.1, colour=0.1)


def noise(count=6, height=16, width=20):
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    return Batch(images, images[..., 0].float() + 1, torch.ones(count))


@pytest.mark.parametrize("config", [AugmentationConfig(rotation=5), PAPER])
def test_two_halves_of_a_batch_draw_what_the_whole_draws(config):
    batch = noise()
    whole = augment(batch, config, Place(1, 2))
    half = augment(Batch(batch.images[3:], batch.depth[3:], batch.focal[3:]), config, Place(1, 2, first=3))
    assert torch.equal(whole.images[3:], half.images)
    assert torch.equal(whole.depth[3:], half.depth)
    assert (whole.images != batch.images).any()
    assert not torch.equal(augment(batch, config, Place(1, 3)).images, whole.images)


def test_all_off_changes_nothing_and_the_input_stays():
    batch = noise()
    before = batch.images.clone()
    assert torch.equal(augment(batch, OFF, Place(0, 0)).images, before)
    augment(batch, AugmentationConfig(rotation=3), Place(0, 0))
    assert torch.equal(batch.images, before)


def test_a_flip_takes_depth_along():
    batch = noise()
    flipped = augment(batch, replace(OFF, flip=1.0), Place(1, 0))
    assert torch.equal(flipped.images, batch.images.flip(2))
    assert torch.equal(flipped.depth, batch.depth.flip(2))


def test_a_turn_is_the_one_opencv_makes_and_invents_no_depth():
    rows, columns = 90, 120
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    picture = np.stack([x * 2, y * 2, 120 + 100 * np.sin(x / 9) * np.cos(y / 7)], 2).astype(np.uint8)
    depth = torch.from_numpy(1 + 0.01 * x + 0.02 * y)
    batch = Batch(torch.from_numpy(picture)[None], depth[None], torch.ones(1))
    place = Place(4, 0)
    turned = augment(batch, replace(OFF, rotation=8.0), place)
    angle = place.generator(0).uniform(-8, 8)
    assert abs(angle) > 2
    errors = {}
    for sign in (1, -1):
        matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), sign * angle, 1)
        expected = cv2.warpAffine(picture, matrix, (columns, rows), flags=cv2.INTER_CUBIC)
        inside = np.s_[20:-20, 25:-25]
        errors[sign] = np.abs(expected[inside].astype(int) - turned.images[0].numpy()[inside].astype(int)).max()
    assert min(errors.values()) <= 6
    assert max(errors.values()) > 30
    empty = turned.depth[0] == 0
    assert 0.01 < float(empty.float().mean()) < 0.2
    assert empty[0, 0] or empty[0, -1]
    known = turned.depth[0][~empty]
    assert set(known.tolist()) <= set(depth.flatten().tolist())  # nearest: no reading is mixed from others
    seen = cv2.warpAffine(np.ones((rows, columns), np.float32), matrix, (columns, rows), flags=cv2.INTER_NEAREST)
    assert abs(float(empty.float().mean()) - float((seen == 0).mean())) < 0.01


def test_light_follows_the_papers_ranges():
    grey = Batch(torch.full((400, 2, 2, 3), 128, dtype=torch.uint8), torch.ones(400, 2, 2), torch.ones(400))
    pixels = augment(grey, PAPER, Place(2, 0)).images[:, 0, 0].float() / 255
    start = 128 / 255
    changed = (pixels != start).any(1)
    # Half of them change; 0.4 and 0.6 are four standard deviations of 400 draws.
    assert 0.4 < float(changed.float().mean()) < 0.6
    low, high = start**1.1 * 0.9 * 0.9, start**0.9 * 1.1 * 1.1
    assert low - 0.003 <= float(pixels.min())
    assert float(pixels.max()) <= high + 0.003
    assert float(pixels.max()) - float(pixels.min()) > 0.6 * (high - low)
    spread = (pixels.max(1).values - pixels.min(1).values)[changed]
    assert float(spread.max()) > 0.05  # channels differ


def test_senseless_values_are_refused():
    with pytest.raises(BadInput, match="octaves or uniform"):
        AugmentationConfig(factors="even")
    with pytest.raises(BadInput, match="probability"):
        AugmentationConfig(flip=1.5)
