"""The depth heads by name; each method is one file."""

from __future__ import annotations

from clip_depth_ros.depth.heads.base import DepthHead, DepthPrediction
from clip_depth_ros.depth.heads.depth_blip2 import DepthBlip2Head
from clip_depth_ros.depth.heads.depth_clip import DepthClipHead
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipHead
from clip_depth_ros.depth.heads.space_clip import SpaceClipHead
from clip_depth_ros.errors import BadInput

__all__ = [
    "HEADS",
    "DepthBlip2Head",
    "DepthClipHead",
    "DepthHead",
    "DepthPrediction",
    "MoaDepthClipHead",
    "SpaceClipHead",
    "head_class",
]

HEADS: dict[str, type[DepthHead]] = {
    head.method: head for head in (SpaceClipHead, MoaDepthClipHead, DepthBlip2Head, DepthClipHead)
}


def head_class(method: str) -> type[DepthHead]:
    """Returns the head that implements ``method``.

    Raises:
        BadInput: no such method.
    """
    if method not in HEADS:
        raise BadInput(f"Head {method!r} is unknown: this version has {', '.join(HEADS)}.")
    return HEADS[method]
