"""A simulated room before and while it becomes a MuJoCo model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clip_depth_training.simulation.primitives import Geom
from clip_depth_training.simulation.textures import Colour, Surface

NEAR, FAR = 0.03, 40.0  # metres; what is nearer or farther is not drawn


@dataclass
class Footprint:
    """The floor rectangle something stands on: centre, half sizes along x and y, and its height (metres)."""

    x: float
    y: float
    half_x: float
    half_y: float
    height: float

    def overlaps(self, other: Footprint, margin: float) -> bool:
        """Whether two footprints come closer than ``margin``."""
        apart_x = abs(self.x - other.x) - self.half_x - other.half_x
        apart_y = abs(self.y - other.y) - self.half_y - other.half_y
        return max(apart_x, apart_y) < margin


@dataclass
class Wall:
    """A straight wall: its middle on the floor, its direction and the side it faces (unit), and its length (metres)."""

    x: float
    y: float
    along: tuple[float, float]
    normal: tuple[float, float]
    length: float


@dataclass
class Room:
    """A room before it is compiled: geometry, lights, pictures for the materials, and where things stand."""

    seed: int
    size: tuple[float, float, float]
    geoms: list[Geom] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    lights: list[str] = field(default_factory=list)
    surfaces: dict[str, Surface] = field(default_factory=dict)
    cubes: dict[str, np.ndarray] = field(default_factory=dict)
    tints: dict[str, Colour] = field(default_factory=dict)
    ambient: float = 0.3

    def compile(self, fine: bool = False) -> Any:
        """Returns the room as ``mujoco.MjModel`` with its pictures in place; ``fine`` smooths curves and shadows."""
        import mujoco

        model = mujoco.MjModel.from_xml_string(self.xml(fine))
        for name, picture in {**{k: s.pixels for k, s in self.surfaces.items()}, **self.cubes}.items():
            texture = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)
            start = int(model.tex_adr[texture])
            model.tex_data[start : start + picture.size] = picture.reshape(-1)
        return model

    def xml(self, fine: bool = False) -> str:
        """Returns the room as MJCF; textures are blanks that ``compile`` fills."""
        shadow, slices, stacks, quads = (2048, 20, 12, 8) if fine else (512, 10, 6, 3)
        return (
            '<mujoco><statistic extent="1" center="0 0 1"/><visual>'
            f'<quality shadowsize="{shadow}" offsamples="0" numslices="{slices}" numstacks="{stacks}" '
            f'numquads="{quads}"/><map znear="{NEAR}" zfar="{FAR}"/>'
            f'<headlight ambient="{numbers([self.ambient] * 3, 3)}" diffuse="0 0 0" specular="0 0 0"/>'
            '<global offwidth="2048" offheight="2048"/></visual>'
            f"<asset>{self._assets()}</asset><worldbody>{''.join(self.lights)}{self._solids()}</worldbody></mujoco>"
        )

    def _assets(self) -> str:
        assets = []
        for name, surface in self.surfaces.items():
            height, width = surface.pixels.shape[:2]
            uniform = surface.metres > 0
            repeat = 2.0 / surface.metres if uniform else 1.0  # MuJoCo counts repetitions over half lengths.
            assets.append(
                f'<texture name="{name}" type="2d" builtin="flat" width="{width}" height="{height}"/>'
                f'<material name="{name}" texture="{name}" texuniform="{str(uniform).lower()}" '
                f'texrepeat="{numbers([repeat, repeat], 4)}" specular="0.1" shininess="0.2"/>'
            )
        for name, picture in self.cubes.items():
            side = picture.shape[1]
            assets.append(
                f'<texture name="{name}" type="cube" builtin="flat" width="{side}" height="{side}"/>'
                f'<material name="{name}" texture="{name}" specular="0.15" shininess="0.3"/>'
            )
        for name, tint in self.tints.items():
            emission = 0.8 if name == "glow" else 0.0
            specular = 0.7 if name.startswith("metal") else 0.2
            assets.append(
                f'<material name="{name}" rgba="{numbers(tint, 3)} 1" emission="{emission}" '
                f'specular="{specular}" shininess="0.4"/>'
            )
        return "".join(assets)

    def _solids(self) -> str:
        return "".join(
            f'<geom type="{geom.kind}" size="{numbers(geom.size, 4)}" pos="{numbers(geom.position, 4)}" '
            f'quat="{numbers(geom.quaternion, 5)}" material="{geom.material}" contype="0" conaffinity="0"/>'
            for geom in self.geoms
        )


def numbers(values: Iterable[float], digits: int) -> str:
    """Returns numbers as MJCF writes them, rounded to ``digits`` decimals."""
    return " ".join(f"{value:.{digits}f}" for value in values)
