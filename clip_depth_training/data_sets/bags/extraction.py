"""Writes the planned samples of a recording as pictures, in one pass over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2

from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_ros.replay.ground_truth.gathering import gather
from clip_depth_ros.replay.ground_truth.plan import Plan, Planned
from clip_depth_ros.replay.ground_truth.survey import stamp_ns
from clip_depth_ros.replay.ground_truth.transforms import NoTransformError
from clip_depth_ros.replay.messages import BagMessage
from clip_depth_ros.replay.reader import BagReader
from clip_depth_training.data_sets.index import PreparedSet

JPEG_QUALITY = 95


def extract(
    reader: BagReader, plan: Plan, targets: Mapping[PreparedSet, Sequence[Planned]], jpeg: bool = False
) -> None:
    """Writes each set's samples into it, inside its ``extracting()``; notes say how many gave no depth, and why.

    Raises:
        BadInput: a message is damaged (recorded in the index instead with ``--skip-bad``).
    """
    owner = {
        sample: (target, f"{number:06d}") for target, mine in targets.items() for number, sample in enumerate(mine)
    }
    lost: dict[PreparedSet, Counter[str]] = {target: Counter() for target in targets}
    gathered = gather(reader, plan.topics.image, plan.topics.truth, list(owner))
    waiting = set(owner)
    for sample, messages in track(gathered, f"extracting {reader.path.name}", len(owner)):
        target, name = owner[sample]
        waiting.discard(sample)
        try:
            _write(reader, plan, target, name, sample, messages)
            if jpeg:
                _as_jpeg(target, name)
        except NoTransformError as error:
            lost[target][f"the time of the picture or its measurement lies {error}"] += 1
        except _NothingSeenError:
            lost[target]["no point fell into the picture"] += 1
        except BadInput as error:
            target.skip(f"{plan.topics.image} at {sample.image_ns / 1e9:.3f} s:", str(error).rstrip("."))
    for sample in waiting:
        lost[owner[sample][0]]["a message could not be read the second time"] += 1
    for target, reasons in lost.items():
        sentences = [f"{count} samples were left out: {reason}." for reason, count in reasons.items()]
        if sentences and not target.index.samples:
            raise BadInput(f"{reader.path} gives no sample. {' '.join(sentences)}")
        target.index.notes += sentences


class _NothingSeenError(Exception):
    """A measurement and its picture have no pixel in common."""


def _write(
    reader: BagReader, plan: Plan, target: PreparedSet, name: str, sample: Planned, messages: Sequence[BagMessage]
) -> None:
    picture = plan.read_picture(reader.decode(messages[0]))
    height, width = picture.shape[:2]
    view = plan.view(sample.image_ns, width, height)
    measurements = [(stamp_ns(message), reader.decode(message)) for message in messages[1:]]
    assert plan.truth is not None, "a plan for training has a truth"
    depth = plan.truth(view, measurements)
    if not depth.any():
        raise _NothingSeenError
    camera = None
    if view.camera is not None:
        k = view.camera.intrinsics
        camera = (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
        target.index.intrinsics_distorted |= bool(view.camera.distortion.any())
    target.write(name, picture, depth, camera)


def _as_jpeg(target: PreparedSet, name: str) -> None:
    """Replaces a sample's PNG picture by a JPEG; the depth stays as it is."""
    png = target.folder / "rgb" / f"{name}.png"
    data = cv2.imencode(".jpg", cv2.imread(str(png)), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    png.with_suffix(".jpg").write_bytes(data.tobytes())
    png.unlink()
    target.index.samples[-1] = replace(target.index.samples[-1], image=f"rgb/{name}.jpg")
