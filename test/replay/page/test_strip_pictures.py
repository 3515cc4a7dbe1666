from __future__ import annotations

import base64

import cv2
import numpy as np

from clip_depth_ros.replay.page import StripFrame
from clip_depth_ros.replay.page.pictures import strip_pictures


def _decoded(uri: str) -> np.ndarray:
    kind, data = uri.split(";base64,")
    assert kind in ("data:image/jpeg", "data:image/webp")
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    return picture if picture.shape[2] == 4 else cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)  # all of it opaque


def _metres(uri: str, pictures) -> np.ndarray:
    picture = _decoded(uri)
    levels = {colour: index for index, colour in enumerate(pictures.palette)}
    step = (pictures.far - pictures.near) / (len(pictures.palette) - 1)
    metres = np.full(picture.shape[:2], np.nan)
    for row, column in np.argwhere(picture[..., 3] == 255):
        blue, green, red, _ = picture[row, column]
        metres[row, column] = pictures.near + step * levels[f"{red:02x}{green:02x}{blue:02x}"]
    return metres


def test_depth_can_be_read_back_from_its_colours(frames):
    strip = frames(2)
    pictures = strip_pictures(strip)
    assert pictures.keys == ["space_clip", "space_clip, dark"]
    half_a_step = (pictures.far - pictures.near) / 254 / 2 + 1e-4
    for frame, shown in zip(strip, pictures.frames):
        for expected, uri in (
            (frame.truth, shown["truth"]),
            (frame.depths["space_clip"], shown["depths"]["space_clip"]["depth"]),
        ):
            read = _metres(uri, pictures)
            assert np.array_equal(np.isnan(read), np.isnan(expected)), "no reading is transparent"
            inside = np.isfinite(expected) & (expected > pictures.near) & (expected < pictures.far)
            assert np.abs(read - expected)[inside].max() <= half_a_step


def test_pictures_and_error_look_as_they_are(frames):
    pictures = strip_pictures(frames(2))
    rgb = _decoded(pictures.frames[1]["rgb"])[24, 30, :3]
    assert np.abs(rgb.astype(int) - (30, 60, 220)).max() < 30, "blue, green, red of the stripe"
    right = _decoded(pictures.frames[0]["depths"]["space_clip"]["error"])
    wrong = _decoded(pictures.frames[0]["depths"]["space_clip, dark"]["error"])
    assert right[0, 0, 3] == 0, "no prediction, no error"
    assert right[40, 40, :3].max() < 20, "a depth without error is black"
    assert wrong[40, 40, :3].max() > 80, "20 % is not"


def test_without_truth_the_predictions_give_the_scale(frames):
    pictures = strip_pictures(frames(2, truth=False))
    assert all(frame["truth"] is None for frame in pictures.frames)
    assert all(shown["error"] is None for frame in pictures.frames for shown in frame["depths"].values())
    assert 1 < pictures.near < 1.3
    assert 5 < pictures.far < 6.4


def test_large_pictures_become_small_and_depths_are_not_mixed():
    depth = np.where(np.arange(1280) % 2, 1.0, 4.0).astype(np.float32)[None].repeat(96, axis=0)
    frame = StripFrame(0.0, np.zeros((96, 1280, 3), np.uint8), None, {"a": depth})
    few, many = strip_pictures([frame]), strip_pictures([frame] * 250)
    assert few.size == (480, 36)
    assert many.size == (240, 18)
    read = _metres(few.frames[0]["depths"]["a"]["depth"], few)
    assert set(np.unique(read.round(2))) <= {1.0, 4.0}


def test_points_of_a_lidar_are_drawn_thicker():
    truth = np.full((48, 64), np.nan, np.float32)
    truth[10, 10], truth[10, 12], truth[40, 50] = 2.0, 3.0, 6.0
    frame = StripFrame(0.0, np.zeros((48, 64, 3), np.uint8), truth, {"a": np.full((48, 64), 3.0, np.float32)})
    pictures = strip_pictures([frame])
    assert pictures.sparse
    read = _metres(pictures.frames[0]["truth"], pictures)
    assert np.isfinite(read).sum() == 9 + 15
    assert abs(read[9, 9] - max(2.0, pictures.near)) < 0.02
    assert read[10, 11] == read[10, 10], "the nearer of two"


def test_nothing_to_show():
    assert strip_pictures([]).frames == []
    blank = np.full((4, 6), np.nan, np.float32)
    frame = StripFrame(0.0, np.zeros((4, 6, 3), np.uint8), blank, {"a": blank})
    shown = strip_pictures([frame]).frames[0]
    assert not _decoded(shown["truth"])[..., 3].any()
    assert not _decoded(shown["depths"]["a"]["error"])[..., 3].any()
