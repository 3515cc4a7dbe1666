"""Which topics of a recording are played to a node, and on which it answers."""

from __future__ import annotations

from dataclasses import dataclass

from clip_depth_ros.replay.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD

NAMESPACE = "/camera"
DEPTH, COLOUR, POINTS, DEPTH_CAMERA_INFO = (
    f"{NAMESPACE}/depth/{name}" for name in ("image", "image_color", "points", "camera_info")
)
RESULTS = {DEPTH: IMAGE, COLOUR: IMAGE, POINTS: POINT_CLOUD, DEPTH_CAMERA_INFO: CAMERA_INFO}


@dataclass(frozen=True)
class Inputs:
    """The topics of the recording that are played: images, and their calibration where there is one."""

    image: str
    image_type: str
    camera_info: str = ""

    @property
    def compressed(self) -> bool:
        """Whether the images are compressed."""
        return self.image_type == COMPRESSED_IMAGE

    @property
    def results(self) -> tuple[str, ...]:
        """Every topic that a node can answer on: without a calibration there are no points."""
        return tuple(RESULTS) if self.camera_info else (DEPTH, COLOUR)

    def remap(self) -> dict[str, str]:
        """Returns recorded topic -> the node's topic."""
        topics = {self.image: f"{NAMESPACE}/image" + ("/compressed" if self.compressed else "")}
        if self.camera_info:
            topics[self.camera_info] = f"{NAMESPACE}/camera_info"
        return topics
