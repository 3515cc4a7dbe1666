"""Coloured points computed where the network runs, so that they can be part of its CUDA graph.

The points are those of :class:`~clip_depth_ros.depth.cloud.PointGrid`, which is faster on a CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.geometry import EDGE_REACH, depth_bounds
from clip_depth_ros.errors import BadInput

_KEPT = 16  # cameras whose rays stay on the device
_NO_NEIGHBOUR = 1e30  # inverse depth of a pixel without reading, where the smallest is looked for


@dataclass(frozen=True)
class CloudOptions:
    """What points a run makes; see :class:`~clip_depth_ros.depth.cloud.PointGrid`.

    Attributes:
        heads: names of the heads whose depth becomes points.
        readings: nearest and farthest reading, metres, within the head's own range; the others are NaN, also for the
            edges.
        stride: every stride-th row and column becomes a point, 1 and up.
        minimum: nearest depth kept, metres along z.
        maximum: farthest depth kept, metres along z.
        edge_threshold: relative depth jump from which points are dropped; 0 keeps all.
    """

    heads: tuple[str, ...]
    readings: tuple[float, float] = (0.0, np.inf)
    stride: int = 1
    minimum: float = 0.0
    maximum: float = np.inf
    edge_threshold: float = 0.0


def together(clouds: Sequence[CloudOptions | None]) -> CloudOptions | None:
    """Returns what a batch makes so that every picture gets its own points; None for none.

    Raises:
        BadInput: the pictures' points differ in more than their heads.
    """
    wanted = [options for options in clouds if options is not None]
    if not wanted:
        return None
    heads = tuple(sorted({head for options in wanted for head in options.heads}))
    if len({replace(options, heads=heads) for options in wanted}) > 1:
        raise BadInput("The points of one batch can differ in their heads only: run these pictures apart.")
    return replace(wanted[0], heads=heads)


class DeviceRays:
    """Cameras' rays on a device, kept for those used last."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: OrderedDict[tuple[int, int], tuple[object, object, Tensor]] = OrderedDict()

    def get(self, size: tuple[int, int], camera: CameraModel | None, outside: np.ndarray | None = None) -> Tensor:
        """Returns the rays of a picture.

        Args:
            size: (height, width) of the picture.
            camera: of the picture; None or one that is not calibrated has no rays.
            outside: ``(H, W)`` bool, True where a rectified picture shows nothing. Not to be changed afterwards.

        Returns:
            ``(3, H, W)`` float32 on the device: x and y per z, NaN without a ray; then 1, or NaN where the picture
            shows nothing.

        Raises:
            BadInput: the camera is of another size.
        """
        if camera is None or not camera.is_calibrated:
            return torch.full((3, *size), torch.nan, device=self._device)
        if (camera.height, camera.width) != size:
            raise BadInput(
                f"the cloud needs a camera of {size[1]}x{size[0]} but got {camera.width}x{camera.height}: use the "
                "calibration of this image size"
            )
        key = (id(camera), id(outside))  # of objects that are kept with the rays, so that no other gets their number
        if key not in self._kept:
            rays = np.array(camera.rays().transpose(2, 0, 1), order="C")
            rays[2] = 1 if outside is None else np.where(outside, np.nan, 1)  # a pixel without ray still shows an edge
            self._kept[key] = (camera, outside, torch.from_numpy(rays).to(self._device))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][2]


def make_points(
    depth: Tensor, images: Tensor, rays: Tensor, options: CloudOptions, valid_range: tuple[float, float]
) -> Tensor:
    """Returns the points of a batch; nothing here waits for the device.

    Args:
        depth: ``(B, H, W)`` float32, metres along z (REP 118).
        images: ``(B, H, W, 3)`` uint8 RGB.
        rays: ``(B, 3, H, W)`` float32, see :meth:`DeviceRays.get`.
        options: which points.
        valid_range: nearest and farthest reading of the head, metres.

    Returns:
        ``(B, h, w, 4)`` float32, with h and w after the stride: x, y, z in metres, NaN where there is no point, and the
        colour as the bits 0x00RRGGBB.
    """
    low, high = max(valid_range[0], options.readings[0]), min(valid_range[1], options.readings[1])
    z = torch.where((depth >= low) & (depth <= high), depth.float(), torch.nan) * rays[:, 2]
    low, high = (float(bound) for bound in depth_bounds(options.minimum, options.maximum))
    keep = (z >= low) & (z <= high) & rays[:, 0].isfinite()
    if options.edge_threshold > 0:
        keep &= ~find_edges(z, options.edge_threshold)
    grid = (..., slice(None, None, options.stride), slice(None, None, options.stride))
    z, directions = torch.where(keep, z, torch.nan)[grid], rays[:, :2][grid]
    red, green, blue = images[:, :: options.stride, :: options.stride].to(torch.int32).unbind(-1)
    colour = ((red << 16) | (green << 8) | blue).view(torch.float32)
    return torch.stack((directions[:, 0] * z, directions[:, 1] * z, z, colour), -1)


def find_edges(depth: Tensor, threshold: float) -> Tensor:
    """Returns ``(B, H, W)`` bool, the edges of depth; see :func:`~clip_depth_ros.depth.geometry.depth_edges`."""
    low, high = (float(bound) for bound in depth_bounds(0.0, np.inf))
    readings = (depth >= low) & (depth <= high)
    inverse = torch.where(readings, 1 / depth, 0.0)
    greatest = F.max_pool2d(inverse, 3, 1, 1)
    smallest = -F.max_pool2d(torch.where(readings, -inverse, -_NO_NEIGHBOUR), 3, 1, 1)
    steep = greatest > smallest * (1 + threshold)
    bent = torch.maximum(_bend(inverse, 2).abs_(), _bend(inverse, 1).abs_()) > inverse * threshold
    near_bend = F.max_pool2d(bent.float(), 2 * EDGE_REACH + 1, 1, EDGE_REACH) > 0
    return steep & near_bend & readings


def _bend(inverse: Tensor, axis: int) -> Tensor:
    """Returns the second differences of ``(B, H, W)`` along ``axis``; the image's border is no bend."""
    reach, length = EDGE_REACH, inverse.shape[axis]
    padding = (reach, reach, 0, 0) if axis == 2 else (0, 0, reach, reach)
    padded = F.pad(inverse, padding, mode="replicate")
    before, after = padded.narrow(axis, 0, length), padded.narrow(axis, 2 * reach, length)
    bend = before + after - 2 * inverse
    if min(inverse.shape[1:]) > 2 * reach:
        bend.narrow(axis, 0, reach).zero_()
        bend.narrow(axis, length - reach, reach).zero_()
    return bend
