from __future__ import annotations

import cv2
import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.conditions import CONDITIONS
from clip_depth_ros.replay.degrade import degrade

SEVERITIES = (1, 2, 3, 4, 5)


@pytest.fixture
def picture():
    """Rectangles with sharp edges, in middle tones."""
    rng = np.random.default_rng(6)
    found = np.full((120, 160, 3), 110, np.uint8)
    for _ in range(40):
        top, left = rng.integers(0, 110), rng.integers(0, 150)
        found[top : top + 20, left : left + 25] = rng.integers(60, 190, 3)
    return found


def _sharpness(image):
    return cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_it_follows_from_the_seed_and_leaves_its_input_alone(picture, condition):
    given = picture.copy()
    given.setflags(write=False)
    first, again, other = (degrade(given, condition, seed) for seed in (7, 7, 8))
    assert np.array_equal(given, picture)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, picture)
    assert first.dtype == np.uint8
    assert first.shape == picture.shape
    assert first.flags.c_contiguous
    assert not np.shares_memory(first, given)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_worse_with_severity(picture, condition):
    off = [np.abs(degrade(picture, condition, 3, level).astype(float) - picture).mean() for level in SEVERITIES]
    assert off == sorted(off)
    assert off[4] > 1.2 * off[0]
    assert np.array_equal(degrade(picture, condition, 3), degrade(picture, condition, 3, 3))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (9, 200)])
def test_any_size(condition, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    for level in SEVERITIES:
        assert degrade(image, condition, 2, level).shape == (*size, 3)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_part_of_a_larger_array(picture, condition):
    part = picture[10:90:2, 5:100]
    assert np.array_equal(degrade(part, condition, 1), degrade(part.copy(), condition, 1))


def test_blur_takes_sharpness_and_nothing_else(picture):
    for seed in range(8):
        blurred = degrade(picture, "blur", seed)
        assert _sharpness(blurred) < 0.2 * _sharpness(picture)
        assert blurred.mean() == pytest.approx(picture.mean(), rel=0.03)


def test_blur_is_along_a_line_through_the_middle():
    image = np.zeros((224, 224, 3), np.uint8)
    image[108:117, 108:117] = 255
    directions = []
    for seed in range(8):
        blurred = degrade(image, "blur", seed)[..., 0].astype(float)
        rows, columns = np.mgrid[:224, :224]
        centre = [np.average(one, weights=blurred) for one in (rows, columns)]
        assert centre == pytest.approx([112, 112], abs=0.6)  # the picture does not move
        covariance = np.cov(np.stack([rows.ravel(), columns.ravel()]), aweights=blurred.ravel())
        across, along = np.linalg.eigvalsh(covariance)
        assert across == pytest.approx(80 / 12, abs=1.0)  # as wide as the square was
        # One side of a Gaussian with the published spread of 8 pixels has 1 - 2 / pi of its variance (cut at 16: less).
        assert 15 < along - across < 64 * (1 - 2 / np.pi) + 2
        vector = np.linalg.eigh(covariance)[1][:, 1]
        directions.append(np.degrees(np.arctan2(*vector)) % 180)
    assert np.ptp(directions) > 60


def test_blur_grows_with_the_picture(picture):
    large = cv2.resize(picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(degrade(large, "blur", 4), picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - degrade(picture, "blur", 4)).mean() < 2


@pytest.mark.parametrize(
    ("severity", "gain", "photons", "deviation"),
    list(zip(SEVERITIES, (0.6, 0.5, 0.4, 0.3, 0.2), (600, 250, 120, 50, 30), (0.008, 0.012, 0.018, 0.026, 0.038))),
)
def test_dark_is_gamma_2_the_gain_and_a_tenth_of_the_noise(severity, gain, photons, deviation):
    rng = np.random.default_rng(0)
    for level in (80, 128, 255):
        dark = degrade(np.full((150, 150, 3), level, np.uint8), "dark", 1, severity) / 255
        light = gain * (level / 255) ** 2
        expected = rng.poisson(light * photons, 200_000) / photons + rng.normal(0, deviation, 200_000)
        expected = np.maximum(expected, 0)  # black is black
        assert dark.mean() == pytest.approx(expected.mean(), abs=0.002)
        assert dark.std() == pytest.approx(expected.std(), rel=0.06)


def test_dark_has_less_light_and_more_noise_for_it(picture):
    dark = degrade(picture, "dark", 1)
    assert dark.mean() < 0.4 * picture.mean()

    def signal_to_noise(level):
        return level.mean() / level.std()

    bright, dim = (degrade(np.full((99, 99, 3), level, np.uint8), "dark", 1) for level in (250, 100))
    assert signal_to_noise(dim) < 0.5 * signal_to_noise(bright)


@pytest.mark.parametrize(
    ("severity", "deviation", "photons"), list(zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), (60, 25, 12, 5, 3)))
)
def test_noise_has_the_published_variance(severity, deviation, photons):
    level = 128 / 255
    noisy = degrade(np.full((300, 300, 3), 128, np.uint8), "noise", 5, severity) / 255
    specified = (deviation**2 + level / photons) / 2
    # What is cut off at black and white is missing: the same is cut from normal numbers here.
    expected = np.clip(np.random.default_rng(0).normal(level, np.sqrt(specified), 300_000), 0, 1)
    assert noisy.var() == pytest.approx(expected.var(), rel=0.02)
    assert noisy.mean() == pytest.approx(expected.mean(), abs=0.003)
    if severity == 1:
        assert noisy.var() == pytest.approx(specified, rel=0.03)


def test_noise_is_of_each_pixel_and_colour_alone():
    noise = degrade(np.full((200, 200, 3), 128, np.uint8), "noise", 5).astype(float)
    noise -= noise.mean()
    for other in (np.roll(noise, 1, 0), np.roll(noise, 1, 1), np.roll(noise, 1, 2)):
        assert abs((noise * other).mean()) < 0.02 * noise.var()
    bright, dark = (degrade(np.full((99, 99, 3), level, np.uint8), "noise", 1, 1).std() for level in (170, 60))
    assert bright > 1.1 * dark  # shot noise grows with light


def test_rain_falls():
    image = np.full((240, 320, 3), 90, np.uint8)
    rain = degrade(image, "rain", 3)[..., 0].astype(float)
    # Along the fall, 8 degrees off the vertical, brightness changes less than across it.
    across, down = cv2.Sobel(rain, cv2.CV_64F, 1, 0), cv2.Sobel(rain, cv2.CV_64F, 0, 1)
    slants = np.radians(np.arange(-60, 61, 4))
    energy = [np.square(np.sin(one) * across + np.cos(one) * down).mean() for one in slants]
    assert np.degrees(slants[int(np.argmin(energy))]) == pytest.approx(8, abs=6)
    assert min(energy) < 0.4 * max(energy)
    # Streaks brighten: far more pixels well above the common level than below it.
    common = np.median(rain)
    assert (rain > common + 15).mean() > 5 * (rain < common - 15).mean()
    assert 0.02 < (rain > common + 15).mean() < 0.3


def test_rain_veils(picture):
    rain = degrade(picture, "rain", 3)
    spread = [np.percentile(one, 90) - np.percentile(one, 10) for one in (picture, rain)]
    assert spread[1] < 0.85 * spread[0]
    assert rain.mean() > picture.mean()


def test_drops_on_the_lens_stay_where_they_are():
    rows = np.arange(240)[:, None, None]
    image = np.broadcast_to(rows, (240, 320, 3)).astype(np.uint8)  # dark above, bright below
    frames = [degrade(image, "rain", seed).astype(float) for seed in range(5)]
    steady = np.median(frames, axis=0)[..., 0]
    veiled = np.median(steady, axis=1, keepdims=True)
    drops = np.abs(steady - veiled) > 12  # upside down, and there in every frame
    assert 0.002 < drops.mean() < 0.1


def test_bad_input(picture):
    with pytest.raises(BadInput, match=r"'fog'.*blur, dark, noise, rain"):
        degrade(picture, "fog", 1)
    with pytest.raises(BadInput, match="severity is 6"):
        degrade(picture, "rain", 1, 6)
    with pytest.raises(BadInput, match="seed is -1"):
        degrade(picture, "rain", -1)
    for wrong in (picture[..., 0], picture.astype(np.float32), picture[:0]):
        with pytest.raises(BadInput, match="cannot be degraded"):
            degrade(wrong, "rain", 1)
