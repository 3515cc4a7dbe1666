"""What a real camera adds to a rendered picture: lens distortion, vignetting, exposure, colour cast, blur and noise.

The lens follows Brown and Conrady in OpenCV's order k1, k2, p1, p2, k3. Picture and depth go through the same lens:
depth stays the distance along Z of what a pixel of the distorted picture shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from clip_depth_training.simulation.views import View

LEVELS = ("none", "mild", "strong")
_STEP = 8  # pixels between the nodes at which the lens is solved exactly
_LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float32)  # light of a pixel value
_NOISE_ELECTRONS = {"mild": (1500.0, 12000.0), "strong": (200.0, 3000.0)}  # full well: fewer electrons, more shot noise


@dataclass(frozen=True)
class Lens:
    """Distortion of normalised coordinates, and how far the principal point lies off the middle (share of the side)."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    off_x: float = 0.0
    off_y: float = 0.0

    def coefficients(self) -> tuple[float, float, float, float, float]:
        """Returns k1, k2, p1, p2, k3 as OpenCV takes them."""
        return self.k1, self.k2, self.p1, self.p2, 0.0

    def undistort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pinhole's normalised coordinates of distorted ones, by Newton's method."""
        xd, yd = x, y
        for _ in range(8):
            r2 = x * x + y * y
            scale, slope = 1 + self.k1 * r2 + self.k2 * r2 * r2, self.k1 + 2 * self.k2 * r2
            error_x = x * scale + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x) - xd
            error_y = y * scale + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y - yd
            xx = scale + 2 * x * x * slope + 2 * self.p1 * y + 6 * self.p2 * x
            yy = scale + 2 * y * y * slope + 6 * self.p1 * y + 2 * self.p2 * x
            xy = 2 * x * y * slope + 2 * self.p1 * x + 2 * self.p2 * y
            determinant = xx * yy - xy * xy
            x, y = x - (yy * error_x - xy * error_y) / determinant, y - (xx * error_y - xy * error_x) / determinant
        return x, y


def draw_lens(rng: np.random.Generator, view: View, level: str) -> Lens:
    """Returns a lens as webcams have: mostly barrel distortion, a few percent in the corners ("strong": up to a fifth),
    the principal point within 2 % (5 %) of the middle. The coefficients fit the field of view, as calibrations do."""
    if level == "none":
        return Lens()
    strong = level == "strong"
    corner = 0.25 / view.focal_x**2 + 0.25 / view.focal_y**2
    amount = float(np.clip(rng.normal(-0.06, 0.08) if strong else rng.normal(-0.025, 0.035), -0.2, 0.12))
    share = rng.uniform(0.6, 1.4)
    shift = 0.02 if strong else 0.008
    tangent = 0.002 if strong else 0.0007
    off = np.clip(rng.normal(0, shift, 2), -2.5 * shift, 2.5 * shift)
    return Lens(
        amount * share / corner,
        amount * (1 - share) / corner**2,
        float(rng.normal(0, tangent)) / math.sqrt(corner),
        float(rng.normal(0, tangent)) / math.sqrt(corner),
        float(off[0]),
        float(off[1]),
    )


@dataclass(frozen=True)
class LensMap:
    """Where each pixel of a distorted picture lies in a wider pinhole picture that holds all of it.

    Attributes:
        wide: the pinhole view to render.
        nodes_u, nodes_v: normalised wide coordinates at a grid of nodes, (R, C), as a share of the wide picture, 0..1.
    """

    wide: View
    nodes_u: np.ndarray
    nodes_v: np.ndarray

    def pixels(self, width: int, height: int, finer: int, wide_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the wide picture's pixel coordinates, float32 ``(height * finer, width * finer)`` each, of the
        pixels of a distorted picture that is ``finer`` times as fine; ``wide_size`` is (width, height) in pixels."""
        u, v = (_spread(_spread(nodes, height * finer, 0), width * finer, 1) for nodes in (self.nodes_u, self.nodes_v))
        return (u * wide_size[0] - 0.5).astype(np.float32), (v * wide_size[1] - 0.5).astype(np.float32)


def _spread(nodes: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Returns nodes over 0..1 interpolated linearly along an axis to the centres of ``size`` pixels."""
    at = (np.arange(size) + 0.5) / size * (nodes.shape[axis] - 1)
    left = np.minimum(at.astype(int), nodes.shape[axis] - 2)
    weight = (at - left).reshape((-1, 1) if axis == 0 else (1, -1))
    low, high = nodes.take(left, axis), nodes.take(left + 1, axis)
    return np.asarray(low + weight * (high - low))


def lens_map(view: View, lens: Lens, width: int, height: int) -> LensMap:
    """Solves a lens for a picture of the given size; ``view`` gives pose and focal lengths of the distorted picture."""
    columns, rows = max(9, 3 * width // _STEP), max(9, 3 * height // _STEP)
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    x, y = lens.undistort((u - 0.5 - lens.off_x) / view.focal_x, (v - 0.5 - lens.off_y) / view.focal_y)
    # The renderer's frustum is symmetric; the small margin is the reach of the interpolation.
    half_x, half_y = float(np.abs(x).max()) * 1.005, float(np.abs(y).max()) * 1.005
    wide = replace(view, focal_x=0.5 / half_x, focal_y=0.5 / half_y)
    return LensMap(wide, 0.5 + x * wide.focal_x, 0.5 + y * wide.focal_y)


def degrade(picture: np.ndarray, rng: np.random.Generator, level: str) -> np.ndarray:
    """Returns RGB (H, W, 3) uint8 as a real sensor gives it: vignetting, exposure, white balance, blur, shot and read
    noise; "none" returns it as it is."""
    if level == "none":
        return picture
    strong = level == "strong"
    height, width = picture.shape[:2]
    light = _LINEAR[picture]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light *= (1 - rng.uniform(0, 0.5 if strong else 0.25) * (u * u + v * v) / 2)[..., None]
    stops = float(np.clip(rng.normal(0, 0.7 if strong else 0.35), -1.6, 1.4))
    balance = np.exp(rng.normal(0, 0.1 if strong else 0.04, 3)).astype(np.float32)
    # Automatic exposure brings most pictures near a middle grey; it is slow and imperfect in real cameras.
    automatic = float(np.clip(0.22 / max(float(light.mean()), 0.01), 0.4, 6.0)) ** rng.uniform(0.0, 0.9)
    light *= 2.0**stops * automatic * balance
    light = _blur(light, rng, strong)
    well = math.exp(rng.uniform(*np.log(_NOISE_ELECTRONS[level])))
    read = rng.uniform(0, 12 if strong else 4) / well
    spread = np.sqrt(np.maximum(light, 0) / well * max(1.0, automatic) + read**2)
    light += spread * rng.standard_normal(light.shape, dtype=np.float32)
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _blur(light: np.ndarray, rng: np.random.Generator, strong: bool) -> np.ndarray:
    """Returns light blurred by motion or lack of focus, now and then; lengths grow with the picture."""
    kind, width = rng.uniform(), light.shape[1]
    if kind < (0.35 if strong else 0.15):
        length = rng.uniform(1.0, 1.0 + width * (0.05 if strong else 0.015))
        size = int(length) // 2 * 2 + 3
        kernel = np.zeros((size, size), np.float32)
        angle, middle = rng.uniform(0, math.pi), size // 2
        reach = np.array([math.cos(angle), math.sin(angle)]) * length / 2
        for step in np.linspace(-1, 1, 4 * size):
            column, row = np.rint(middle + step * reach).astype(int)
            kernel[row, column] += 1
        return np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))
    if kind < (0.7 if strong else 0.4):
        sigma = rng.uniform(0.3, width * (0.012 if strong else 0.004) + 0.3)
        return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    return light
