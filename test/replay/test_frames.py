"""Pictures and their ground truth as they leave the recording."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recordings import HEIGHT, PERIOD_NS, START_NS, WIDTH, camera_messages, image, write_bag

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.frames import Frame, FrameSource, InBackground, batches
from clip_depth_ros.replay.ground_truth.options import TruthOptions
from clip_depth_ros.replay.ground_truth.plan import make_plan
from clip_depth_ros.replay.reader import BagReader


@pytest.fixture
def reader(camera_bag: Path) -> Iterator[BagReader]:
    with BagReader(camera_bag) as opened:
        yield opened


def source_of(reader: BagReader, every_s: float = 0.0) -> FrameSource:
    return FrameSource(reader, make_plan(reader, TruthOptions(every=every_s), "wanted"), every_s)


def test_each_picture_has_its_truth_its_camera_and_its_stamp(reader):
    frames = list(source_of(reader).frames())
    messages = {(topic, time_ns // 10): message for topic, time_ns, message in camera_messages()}
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    for frame in frames:
        depth = messages["/camera/depth/image", frame.time_ns // 10].data.view(np.uint16).reshape(HEIGHT, WIDTH)
        assert frame.truth is not None
        assert np.allclose(frame.truth, depth / 1000)
        rgb = messages["/camera/image", frame.time_ns // 10].data.reshape(HEIGHT, WIDTH, 3)
        assert np.array_equal(frame.rgb, rgb)
        assert frame.camera is not None
        assert frame.camera.intrinsics[0, 0] == 30
        assert frame.header.frame_id == "camera_optical_frame"
        assert (frame.time_ns - START_NS) % PERIOD_NS == 0


def test_reading_can_begin_later(reader):
    assert [frame.number for frame in source_of(reader).frames(start=2)] == [2, 3]


def test_pictures_can_be_thinned_and_numbers_stay(reader):
    assert [frame.number for frame in source_of(reader, every_s=0.2).frames()] == [0, 2]
    assert [frame.number for frame in source_of(reader, every_s=0.2).frames(start=1)] == [2]


def test_a_picture_that_cannot_be_read_is_counted_and_the_next_one_comes(tmp_path):
    messages = camera_messages()
    broken = messages[4][2]
    broken.encoding = "rgb17"
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        source = source_of(reader)
        assert [frame.number for frame in source.frames()] == [0, 2, 3]
        ((number, reason),) = source.skipped.items()
        assert "rgb17" in reason
        assert number == 1
        list(source.frames(start=1))  # read again, as a replay that goes on does
        assert list(source.skipped) == [1]


def test_a_damaged_truth_leaves_its_picture_without(tmp_path):
    messages = camera_messages()
    messages[5][2].step = 7
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        source = source_of(reader)
        assert [frame.truth is None for frame in source.frames()] == [False, True, False, False]
        assert list(source.without_truth) == [1]


def test_a_recording_without_depth_gives_pictures(tmp_path):
    messages = [one for one in camera_messages() if "depth" not in one[0]]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        assert [frame.truth for frame in source_of(reader).frames()] == [None] * 4
        with pytest.raises(BadInput, match="no depth image and no point cloud"):
            make_plan(reader, TruthOptions())


def test_a_camera_that_stamps_with_zeros_is_read_too(tmp_path):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    messages = [("/image", START_NS + index, image(0, pixels, "rgb8")) for index in range(3)]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        assert [frame.time_ns for frame in source_of(reader).frames()] == [0, 0, 0]


def test_batches_hold_what_follows_each_other(reader):
    frames: Iterator[Frame] = source_of(reader).frames()
    assert [[frame.number for frame in batch] for batch in batches(frames, 3)] == [[0, 1, 2], [3]]


def test_an_error_in_the_thread_reaches_the_reader():
    def items() -> Iterator[int]:
        yield 1
        raise BadInput("the disk went away")

    background = InBackground(items(), 2)
    items_read = iter(background)
    assert next(items_read) == 1
    with pytest.raises(BadInput, match="went away"):
        next(items_read)


def test_closing_early_ends_the_thread():
    produced = []

    def items() -> Iterator[int]:
        for number in range(1_000_000):
            produced.append(number)
            yield number

    before = threading.active_count()
    background = InBackground(items(), 3)
    assert next(iter(background)) == 0
    background.close()
    assert threading.active_count() == before
    count = len(produced)
    time.sleep(0.05)
    assert len(produced) == count < 100
