"""What can be trained: one method a file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from clip_depth_training.methods.base import Method

METHODS = {
    "space_clip": "clip_depth_training.methods.space_clip:SpaceClipMethod",
    "moa_depth_clip": "clip_depth_training.methods.moa_depth_clip:MoaDepthClipMethod",
    "depth_blip2": "clip_depth_training.methods.depth_blip2:DepthBlip2Method",
    "clip": "clip_depth_training.methods.clip:ClipMethod",
}


def method_class(name: str) -> type[Method]:
    """Returns the method called ``name`` in recipes.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in METHODS:
        raise BadInput(f"The method {name!r} does not exist: a recipe trains one of {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)
