"""Metric depth, point clouds and CLIP tokens from one frozen CLIP encode, for ROS 2.

``DepthEstimator`` is the Python door; ``clip-depth --help`` is the command line's. Nothing heavy is imported
until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_depth_ros.depth.estimator import DepthEstimator

__all__ = ["DepthEstimator", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "DepthEstimator":
        from clip_depth_ros.depth.estimator import DepthEstimator

        return DepthEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
