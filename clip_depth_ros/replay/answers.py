"""A node's depth images scored against the recording that was played to it, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.conditions import AS_RECORDED
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.frames import Frame, FrameSource
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.scoring import Scoring

Answers = Callable[[], Iterator[BagMessage]]
"""Gives the node's depth images, in the order they came, as often as it is called."""


def answered(source: FrameSource, answers: Answers) -> Iterator[tuple[Frame, np.ndarray]]:
    """Yields the pictures that have an answer of their stamp, with its depth ``(H, W)`` float32 metres, NaN = none.

    Of pictures that share a stamp the first has the answer. Answers may come in another order than the pictures did.
    """
    expected = {header_stamp_ns(message.data) for message in answers()}
    stream = answers()
    held: dict[int, BagMessage] = {}
    for frame in source.frames():
        if frame.time_ns not in expected:
            continue
        expected.discard(frame.time_ns)
        while frame.time_ns not in held:
            message = next(stream)
            held[header_stamp_ns(message.data)] = message
        depth = depth_metres(source.reader.decode(held.pop(frame.time_ns)))
        if depth.shape != frame.rgb.shape[:2]:
            raise BadInput(
                f"The node's depth is {depth.shape[1]}x{depth.shape[0]} and the pictures are "
                f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]}: they cannot be compared."
            )
        yield frame, depth


def score_answers(source: FrameSource, answers: Answers, head: str, limits: tuple[float, float]) -> Scoring:
    """Returns the scores of a node's main head.

    Args:
        source: the pictures that were played.
        answers: its depth images (REP 118), of the pictures' size.
        head: its name.
        limits: nearest and farthest ground truth that counts (metres).

    Raises:
        BadInput: an answer is damaged or of another size.
    """
    run = (head, AS_RECORDED)
    scoring = Scoring([run], limits)
    for frame, depth in answered(source, answers):
        scoring.add(frame, {run: depth})
    return scoring
