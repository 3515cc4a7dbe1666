"""Pictures come in the recording's order, each with what was measured at its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recordings import PERIOD_NS, START_NS, image, write_bag

from clip_depth_ros.replay.ground_truth.gathering import in_order
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

RGB, DEPTH = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.uint16)


def picture(number: int, late_ns: int = 0) -> tuple[str, int, Any]:
    stamp = START_NS + number * PERIOD_NS
    return "/image", stamp + late_ns, image(stamp, RGB, "rgb8")


def depth(number: int, late_ns: int = 0) -> tuple[str, int, Any]:
    stamp = START_NS + number * PERIOD_NS
    return "/depth", stamp + late_ns, image(stamp, DEPTH, "16UC1")


def gathered(bag: Path, partners: dict[int, tuple[int, ...]], truth: str = "/depth") -> list[tuple[int, list[int]]]:
    """Number of each picture, and of its measurements."""
    by_stamp = {START_NS + one * PERIOD_NS: [START_NS + n * PERIOD_NS for n in many] for one, many in partners.items()}
    with BagReader(bag) as reader:
        return [
            (number_of(message.data), [number_of(one.data) for one in measured])
            for message, measured in in_order(reader, "/image", truth, by_stamp)
        ]


def number_of(data: bytes) -> int:
    return (header_stamp_ns(data) - START_NS) // PERIOD_NS


def test_a_picture_waits_for_what_was_measured_later_and_those_after_it_wait_too(tmp_path):
    bag = write_bag(
        tmp_path / "bag", [picture(0), picture(1), picture(2), depth(0, 3 * PERIOD_NS), depth(2, 2 * PERIOD_NS)]
    )
    assert gathered(bag, {0: (0,), 2: (2,)}) == [(0, [0]), (1, []), (2, [2])]


def test_a_measurement_may_belong_to_several_pictures_and_a_picture_have_several(tmp_path):
    messages = [picture(0), picture(1), depth(0, 1), depth(1, 1), depth(2, 1)]
    bag = write_bag(tmp_path / "bag", sorted(messages, key=lambda one: one[1]))
    assert gathered(bag, {0: (0, 1), 1: (0, 1, 2)}) == [(0, [0, 1]), (1, [0, 1, 2])]


def test_without_truth_only_pictures_are_read(tmp_path):
    bag = write_bag(tmp_path / "bag", [picture(0), depth(0, 1), picture(1)])
    assert gathered(bag, {}, truth="") == [(0, []), (1, [])]


def test_a_measurement_that_never_comes_holds_up_a_bounded_number_of_pictures(tmp_path):
    messages = [picture(number) for number in range(300)]
    messages += [depth(number, 1) for number in range(300) if number != 5]
    bag = write_bag(tmp_path / "bag", sorted(messages, key=lambda one: one[1]))
    found = gathered(bag, {number: (number,) for number in range(300)})
    assert [number for number, _ in found] == list(range(300))
    assert [number for number, measured in found if measured != [number]] == [5]
    with BagReader(bag) as reader:
        partners = {START_NS + number * PERIOD_NS: (START_NS + number * PERIOD_NS,) for number in range(300)}
        read = 0

        def counted(topics: list[str]) -> Any:
            nonlocal read
            for message in BagReader.messages(reader, topics):
                read += 1
                yield message

        reader.messages = counted  # type: ignore[method-assign]
        stream = in_order(reader, "/image", "/depth", partners)
        for _ in range(6):
            next(stream)
        assert 200 < read < 280  # of 599: it gave up on picture 5 after 120 more, not at the end


def test_of_pictures_that_share_a_stamp_the_first_has_the_measurement(tmp_path):
    bag = write_bag(tmp_path / "bag", [picture(0), picture(0, 5), depth(0, 9)])
    assert gathered(bag, {0: (0,)}) == [(0, [0]), (0, [])]
