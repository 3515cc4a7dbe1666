from __future__ import annotations

import itertools

import pytest
from recordings import PERIOD_NS, START_NS, camera_info, camera_messages, image, write_bag

from clip_depth_ros.replay.live_source import Excerpt, LoopedBag, evenly
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

IMAGE_TOPIC, INFO_TOPIC = "/camera/image", "/camera/camera_info"
SECOND_NS = 1_000_000_000


def _take(looped: LoopedBag, count: int) -> list[BagMessage]:
    return list(itertools.islice(looped.messages(), count))


@pytest.mark.parametrize("kept_bytes", [1 << 20, 1000])
def test_passes_continue_in_time_and_stamps_never_come_again(camera_bag, kept_bytes):
    with BagReader(camera_bag) as reader:
        looped = LoopedBag(reader, [INFO_TOPIC, IMAGE_TOPIC], IMAGE_TOPIC, kept_bytes)
        messages = _take(looped, 20)  # two passes of four images and their calibrations, and a half
        again = _take(looped, 2)
        recorded = list(reader.messages([INFO_TOPIC, IMAGE_TOPIC]))
    assert messages[:8] == recorded
    images = [message for message in messages if message.topic == IMAGE_TOPIC]
    assert [one.time_ns for one in images] == [START_NS + 1 + index * PERIOD_NS for index in range(10)]
    pass_ns = 3 * PERIOD_NS + SECOND_NS
    stamps = [START_NS + index // 4 * pass_ns + index % 4 * PERIOD_NS for index in range(10)]
    assert [header_stamp_ns(one.data) for one in images] == stamps
    infos = [message for message in messages if message.topic == INFO_TOPIC]
    assert [header_stamp_ns(one.data) for one in infos] == stamps
    assert images[5].data[12:] == recorded[3].data[12:]  # all but the stamp
    assert [header_stamp_ns(one.data) for one in again] == [stamps[-1] + SECOND_NS] * 2  # a new pass
    assert again[0].time_ns == recorded[0].time_ns
    assert [looped.is_recorded(stamp) for stamp in stamps] == [True] * 4 + [False] * 6
    assert not looped.is_recorded(START_NS - 1)


def test_images_without_a_stamp_get_one_from_the_second_pass_on(tmp_path):
    pixels = next(message for topic, _, message in camera_messages(1) if topic == IMAGE_TOPIC)
    messages = [(IMAGE_TOPIC, START_NS + index, image(0, pixels.data.reshape(24, 32, 3), "rgb8")) for index in range(3)]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        found = [header_stamp_ns(one.data) for one in _take(LoopedBag(reader, [IMAGE_TOPIC], IMAGE_TOPIC), 7)]
    assert found == [0, 0, 0, SECOND_NS, SECOND_NS, SECOND_NS, 2 * SECOND_NS]


def test_a_calibration_stamped_by_another_clock_moves_along(tmp_path):
    messages = camera_messages(2)
    messages = [(topic, at, camera_info(0) if topic == INFO_TOPIC else one) for topic, at, one in messages]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        found = _take(LoopedBag(reader, [INFO_TOPIC, IMAGE_TOPIC], IMAGE_TOPIC), 8)
    infos = [header_stamp_ns(one.data) for one in found if one.topic == INFO_TOPIC]
    assert infos == [0, 0, PERIOD_NS + SECOND_NS, PERIOD_NS + SECOND_NS]


def test_a_recording_without_images_ends(camera_bag):
    with BagReader(camera_bag) as reader:
        assert len(list(LoopedBag(reader, [INFO_TOPIC], IMAGE_TOPIC).messages())) == 4


def _stream(count: int) -> list[BagMessage]:
    return [BagMessage(topic, "", index * PERIOD_NS, b"") for index in range(count) for topic in ("/info", "/image")]


@pytest.mark.parametrize(
    ("seconds", "images", "most_seconds", "expected"),
    [(0.0, 5, 99.0, 5), (9.5, 5, 99.0, 10), (10.0, 20, 15.0, 15), (10.0, 90, 99.0, 50)],
)
def test_an_excerpt_ends_when_both_have_passed_or_the_most_has(monkeypatch, seconds, images, most_seconds, expected):
    clock = itertools.count(0.0)  # a second later at each look: when the first image comes, and after each image
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    source = iter(_stream(50))
    excerpt = Excerpt(source, "/image", seconds, images, most_seconds)
    found = [one for one in excerpt if one.topic == "/image"]
    assert len(found) == excerpt.sent == expected
    assert len(list(source)) == 100 - 2 * expected  # it takes nothing that it does not yield
    assert excerpt.recorded_hz == pytest.approx(10.0)


def test_evenly_spaced_images_take_their_calibration_along():
    uneven = [BagMessage(topic, "", at, b"") for at in (7, 8, 900) for topic in ("/info", "/image")]
    found = [(one.topic, one.time_ns) for one in evenly(uneven, "/image", 4.0)]
    quarter = SECOND_NS // 4
    assert found == [(topic, index * quarter) for index in range(3) for topic in ("/info", "/image")]
