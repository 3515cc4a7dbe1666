"""A simulated room before and while it becomes a MuJoCo model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clip_depth_training.simulation.primitives import Geom, Mesh, Tag
from clip_depth_training.simulation.textures import Colour, Surface, colour_word

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


@dataclass(frozen=True)
class Slope:
    """A ceiling that rises from a wall: height is ``knee`` at the line ``normal . (x, y) = offset`` (the wall) and
    falls by ``rise`` for each metre along ``normal``, which points out of the room (metres)."""

    normal: tuple[float, float]
    offset: float
    knee: float
    rise: float

    def height(self, x: float, y: float) -> float:
        """Returns the height of the sloped ceiling over a point."""
        return self.knee + self.rise * (self.offset - self.normal[0] * x - self.normal[1] * y)


@dataclass(frozen=True)
class Item:
    """A thing that can be named: noun, colour word ("" where none fits), centre and half extents (metres)."""

    noun: str
    colour: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]


@dataclass
class Room:
    """A room before it is compiled: geometry, lights, pictures for the materials, and where things stand.

    ``cuts`` are slanted walls as (nx, ny, d): the room is where nx * x + ny * y < d.
    """

    seed: int
    size: tuple[float, float, float]
    kind: str = "room"
    looks: dict[str, str] = field(default_factory=dict)
    cuts: list[tuple[float, float, float]] = field(default_factory=list)
    slopes: list[Slope] = field(default_factory=list)
    geoms: list[Geom] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    lights: list[str] = field(default_factory=list)
    surfaces: dict[str, Surface] = field(default_factory=dict)
    cubes: dict[str, np.ndarray] = field(default_factory=dict)
    tints: dict[str, Colour] = field(default_factory=dict)
    ambient: float = 0.3

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point on the floor lies inside the walls, at least ``margin`` metres from them."""
        inside = abs(x) < self.size[0] / 2 - margin and abs(y) < self.size[1] / 2 - margin
        return inside and all(nx * x + ny * y < d - margin for nx, ny, d in self.cuts)

    def headroom(self, x: float, y: float) -> float:
        """Returns the height of the ceiling over a point (metres)."""
        return min([self.size[2], *(slope.height(x, y) for slope in self.slopes)])

    def inventory(self) -> tuple[list[Item], np.ndarray]:
        """Returns what can be named, and for each solid (G,) int the index of what it belongs to, -1 for the shell."""
        tags: dict[Tag, list[int]] = {}
        for index, geom in enumerate(self.geoms):
            if geom.tag:
                tags.setdefault(geom.tag, []).append(index)
        owner = np.full(len(self.geoms), -1)
        items = []
        for number, (tag, members) in enumerate(tags.items()):
            owner[members] = number
            middles = np.array([self.geoms[index].position for index in members])
            spans = np.array([self.geoms[index].span() for index in members])
            low, high = (middles - spans).min(0), (middles + spans).max(0)
            x, y, z = ((low + high) / 2).tolist()
            half_x, half_y, half_z = ((high - low) / 2).tolist()
            items.append(Item(tag.noun, self._colour(tag.material), (x, y, z), (half_x, half_y, half_z)))
        return items, owner

    def _colour(self, material: str) -> str:
        """Returns a word for a material's look, "" where none says much."""
        if material.startswith("wood"):
            return "wooden"
        if material in self.tints and material != "glow" and not material.startswith("leaf"):
            return colour_word(self.tints[material])
        if material in self.cubes and material != "carton":
            red, green, blue = (self.cubes[material].reshape(-1, 3).mean(0) / 255).tolist()
            return colour_word((red, green, blue))
        return ""

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
        for name, mesh in self._meshes().items():
            vertices = " ".join(f"{value:.4f}" for value in mesh.vertices.ravel())
            faces = " ".join(map(str, mesh.faces.ravel()))
            assets.append(f'<mesh name="{name}" vertex="{vertices}" face="{faces}" inertia="shell"/>')
        return "".join(assets)

    def _meshes(self) -> dict[str, Mesh]:
        """Returns the meshes in use, each once."""
        unique = {id(geom.mesh): geom.mesh for geom in self.geoms if geom.mesh}
        return {f"mesh{index}": mesh for index, mesh in enumerate(unique.values())}

    def _solids(self) -> str:
        names = {id(mesh): name for name, mesh in self._meshes().items()}
        return "".join(
            f'<geom type="{geom.kind}" '
            + (f'mesh="{names[id(geom.mesh)]}" ' if geom.mesh else f'size="{numbers(geom.size, 4)}" ')
            + f'pos="{numbers(geom.position, 4)}" '
            f'quat="{numbers(geom.quaternion, 5)}" material="{geom.material}" contype="0" conaffinity="0"/>'
            for geom in self.geoms
        )


def numbers(values: Iterable[float], digits: int) -> str:
    """Returns numbers as MJCF writes them, rounded to ``digits`` decimals."""
    return " ".join(f"{value:.{digits}f}" for value in values)
