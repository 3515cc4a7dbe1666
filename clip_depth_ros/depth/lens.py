"""Lens models that ROS names, as maps between the plane z = 1 and where the lens puts its points.

Both sides are (N, 2) float64 in focal lengths from the optical axis: the plane point of a ray is (x / z, y / z), the
lens point is (pixel - principal point) / focal length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.polynomial import Polynomial

from clip_depth_ros.errors import BadInput

_COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "": (0,),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 8, 12, 14),
    "equidistant": (0, 4),
}
_SYNONYMS = {"fisheye": "equidistant"}
# OpenCV stops at five iterations by default, which is more than half a pixel off in the corners of real lenses.
_UNDISTORT_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)


def model_name(name: str) -> str:
    """Returns the name under which ``LensModel`` knows a distortion model ("fisheye" is "equidistant")."""
    return _SYNONYMS.get(name, name)


@dataclass(frozen=True, eq=False)
class LensModel:
    """Distortion of one lens.

    Attributes:
        name: "", "plumb_bob" (Brown-Conrady), "rational_polynomial" (OpenCV's, with thin prism and tilt where there
            are 12 or 14 coefficients) or "equidistant" (Kannala-Brandt).
        coefficients: (N,) float64 in OpenCV's order: 4 or 5, 8 or 12 or 14, 4; empty means no distortion.

    Raises:
        BadInput: unknown name, or a number of coefficients that the model does not have.
    """

    name: str
    coefficients: np.ndarray

    def __post_init__(self) -> None:
        if self.name not in _COEFFICIENTS:
            known = ", ".join(name for name in _COEFFICIENTS if name)
            raise BadInput(f"unknown distortion model {self.name!r}: use one of {known}")
        allowed = _COEFFICIENTS[self.name]
        if self.coefficients.size not in allowed:
            raise BadInput(
                f"distortion D holds {self.coefficients.size} coefficients, but the model {self.name!r} has "
                f"{' or '.join(map(str, allowed))}: calibrate the camera again or name the right model"
            )

    @property
    def _is_pinhole(self) -> bool:
        """Whether nothing is distorted: no coefficients, or zeros (simulators) where zeros mean that."""
        return not self.coefficients.size or (self.name != "equidistant" and not self.coefficients.any())

    @cached_property
    def _growth(self) -> tuple[Polynomial, Polynomial]:
        """Numerator and denominator of the lens model as a function that must grow.

        Equidistant: of the angle theta. Otherwise: of the radius at z = 1.
        """
        d = np.zeros(14)
        d[: self.coefficients.size] = self.coefficients
        if self.name == "equidistant":
            return Polynomial([0, 1, 0, d[0], 0, d[1], 0, d[2], 0, d[3]]), Polynomial([1])
        return Polynomial([0, 1, 0, d[0], 0, d[1], 0, d[4]]), Polynomial([1, 0, d[5], 0, d[6], 0, d[7]])

    @cached_property
    def limit(self) -> float:
        """Where the lens model stops growing: theta in radians up to 90 degrees, or the radius at z = 1."""
        numerator, denominator = self._growth
        slope = numerator.deriv() * denominator - numerator * denominator.deriv()
        roots = np.concatenate([slope.roots(), denominator.roots()])
        roots = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real
        return float(min(roots.min(initial=np.inf), np.pi / 2 if self.name == "equidistant" else np.inf))

    def distort(self, plane: np.ndarray) -> np.ndarray:
        """(N, 2) points at z = 1 -> (N, 2) where the lens puts them, in focal lengths; NaN beyond the limit."""
        if self._is_pinhole or not len(plane):
            return plane
        radius = np.hypot(plane[:, 0], plane[:, 1])[:, None]
        if self.name == "equidistant":
            theta = np.arctan(radius)
            ratio = np.divide(self._growth[0](theta), radius, out=np.ones_like(radius), where=radius > 0)
            return np.where(theta <= self.limit, plane * ratio, np.nan)
        space = np.column_stack([plane, np.ones(len(plane))])
        lens, _ = cv2.projectPoints(space, np.zeros(3), np.zeros(3), np.eye(3), self.coefficients)
        return np.where(radius <= self.limit, lens[:, 0], np.nan)

    def undistort(self, lens: np.ndarray) -> np.ndarray:
        """Inverse of ``distort``, to the precision of float64; NaN where there is none."""
        if self._is_pinhole:
            return lens
        if self.name == "equidistant":
            radius = np.hypot(lens[:, 0], lens[:, 1])
            theta = self._angle(radius)
            return lens * np.divide(np.tan(theta), radius, out=np.ones_like(radius), where=radius > 0)[:, None]
        plane = cv2.undistortPointsIter(lens, np.eye(3), self.coefficients, None, None, _UNDISTORT_CRITERIA)[:, 0]
        return np.where(np.hypot(plane[:, :1], plane[:, 1:]) <= self.limit, plane, np.nan)

    def _angle(self, radius: np.ndarray) -> np.ndarray:
        """Angle off the optical axis, radians, that an equidistant lens puts at ``radius`` focal lengths, or NaN."""
        grow, slope = self._growth[0], self._growth[0].deriv()
        # The polynomial grows up to the limit, so a table starts every pixel near its own root.
        table = np.linspace(0, self.limit, 2049)
        theta = np.interp(radius, grow(table), table, right=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(4):
                theta = theta - (grow(theta) - radius) / slope(theta)
        return np.where(theta < min(self.limit, np.pi / 2), theta, np.nan)
