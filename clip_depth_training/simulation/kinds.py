"""Kinds of rooms: how large they are, what stands in them and hangs on their walls, how full they are.

Sizes are metres, after building practice: corridors 1.2 to 2.4 m wide, bathrooms from 1.8 m, ceilings 2.3 to 3.6 m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clip_depth_training.simulation import bathroom, clutter, equipment, furniture, machines, shapes, soft
from clip_depth_training.simulation.furniture import Maker

Weights = Mapping[Maker, float]
Range = tuple[float, float]

# What may stand or hang anywhere.
_ANYWHERE: Weights = {furniture.plant: 0.5, furniture.bin_: 0.4, furniture.cartons: 0.25, furniture.cabinet: 0.3}
_WALLS: Weights = {
    clutter.door: 2.0,
    clutter.window: 2.0,
    clutter.picture: 1.5,
    clutter.fittings: 1.2,
    clutter.radiator: 0.3,
}
_HOME: Weights = {clutter.shelf_board: 0.5, clutter.mirror: 0.3}
_STUDY: Weights = {clutter.board: 1.2, clutter.shelf_board: 0.4, clutter.blackboard: 0.2}


@dataclass(frozen=True, eq=False)
class RoomKind:
    """One kind of room.

    Attributes:
        name: as captions say it.
        sides: shorter and longer side (m).
        height: ceiling (m).
        against: what stands against walls, with weights.
        free: what stands free, with weights.
        walls: what hangs on walls, with weights, besides doors, windows and pictures.
        amount: how full it is; 1 is about a piece for each metre of wall.
        floors: odds of plank, carpet, tile, concrete and plain floors.
    """

    name: str
    sides: tuple[Range, Range]
    height: Range
    against: Weights
    free: Weights = field(default_factory=dict)
    walls: Weights = field(default_factory=dict)
    amount: Range = (0.3, 1.2)
    floors: tuple[float, ...] = (0.35, 0.25, 0.2, 0.12, 0.08)

    def standing(self) -> Weights:
        """Returns what stands against walls."""
        return {**_ANYWHERE, **self.against}

    def hanging(self) -> Weights:
        """Returns what hangs on walls."""
        return {**_WALLS, **self.walls}


F, S, B, E, M = furniture, soft, bathroom, equipment, machines
KINDS: tuple[tuple[RoomKind, float], ...] = (
    (
        RoomKind(
            "bedroom",
            ((2.4, 4.2), (2.8, 5.2)),
            (2.3, 2.8),
            {F.bed: 3.0, F.cabinet: 2.5, F.shelf: 0.8, F.desk: 0.8, F.floor_lamp: 0.6, S.laundry_basket: 0.5},
            {F.chair: 0.8, S.pouf: 0.7, F.cartons: 0.3},
            _HOME,
            floors=(0.5, 0.35, 0.02, 0.03, 0.1),
        ),
        1.2,
    ),
    (
        RoomKind(
            "living room",
            ((3.0, 5.5), (3.6, 7.5)),
            (2.3, 3.0),
            {
                shapes.stairs: 0.15,
                F.sofa: 1.5,
                S.soft_sofa: 1.5,
                F.shelf: 1.5,
                F.cabinet: 1.2,
                F.floor_lamp: 0.9,
                S.tv_stand: 1.2,
                S.vase: 0.4,
            },
            {
                F.coffee_table: 1.6,
                F.sofa: 0.5,
                S.pouf: 0.8,
                F.round_table: 0.5,
                F.plant: 0.6,
                F.person: 0.3,
                S.soft_sofa: 0.5,
            },
            _HOME,
            floors=(0.5, 0.3, 0.1, 0.05, 0.05),
        ),
        1.4,
    ),
    (
        RoomKind(
            "kitchen",
            ((2.2, 4.0), (2.6, 5.0)),
            (2.3, 2.8),
            {F.kitchen: 3.5, F.cabinet: 0.8, B.washing_machine: 0.5, F.bin_: 0.8, B.stove: 0.8},
            {F.table: 1.2, F.round_table: 0.7, F.stool: 1.0, F.chair: 0.8, F.person: 0.3},
            {clutter.shelf_board: 0.8},
            amount=(0.5, 1.3),
            floors=(0.2, 0.0, 0.55, 0.1, 0.15),
        ),
        1.1,
    ),
    (
        RoomKind(
            "dining room",
            ((2.8, 4.8), (3.2, 6.0)),
            (2.3, 3.0),
            {F.cabinet: 2.0, F.shelf: 0.8, F.chair: 0.8, F.floor_lamp: 0.4, S.vase: 0.5},
            {F.table: 3.0, F.round_table: 1.5, F.chair: 0.5},
            _HOME,
            amount=(0.3, 0.9),
            floors=(0.6, 0.15, 0.2, 0.02, 0.03),
        ),
        0.9,
    ),
    (
        RoomKind(
            "office",
            ((2.6, 6.0), (3.0, 9.0)),
            (2.4, 3.0),
            {F.desk: 2.5, F.partition: 1.5, F.shelf: 1.5, F.cabinet: 1.5, M.printer: 0.5},
            {F.desk: 2.0, F.office_chair: 1.5, F.partition: 0.8, F.person: 0.5, F.bin_: 0.4},
            _STUDY,
            floors=(0.15, 0.55, 0.1, 0.05, 0.15),
        ),
        1.5,
    ),
    (
        RoomKind(
            "meeting room",
            ((3.0, 5.5), (4.0, 8.0)),
            (2.4, 3.2),
            {shapes.platform: 0.15, F.cabinet: 1.0, F.chair: 1.0, S.tv_stand: 0.5, F.office_chair: 0.8},
            {E.long_table: 2.5, F.table: 1.0, F.office_chair: 0.6, F.person: 0.6},
            _STUDY,
            amount=(0.2, 0.8),
            floors=(0.2, 0.6, 0.05, 0.05, 0.1),
        ),
        0.8,
    ),
    (
        RoomKind(
            "classroom",
            ((5.0, 8.0), (6.0, 10.0)),
            (2.7, 3.6),
            {shapes.platform: 0.5, F.cabinet: 1.5, F.shelf: 1.0, F.desk: 0.8},
            {F.desk: 3.0, F.chair: 1.2, F.person: 0.5},
            {**_STUDY, clutter.blackboard: 1.0},
            amount=(0.3, 0.8),
            floors=(0.25, 0.05, 0.2, 0.1, 0.4),
        ),
        0.7,
    ),
    (
        RoomKind(
            "corridor",
            ((1.2, 2.4), (4.0, 12.0)),
            (2.3, 3.2),
            {F.cabinet: 0.8, M.drinks_machine: 0.3, E.bench: 0.7, F.chair: 0.5, E.bicycle: 0.3, E.locker: 0.8},
            {F.person: 1.0, F.cartons: 0.5, E.trolley: 0.6},
            {clutter.door: 3.0, clutter.board: 0.3},
            amount=(0.05, 0.5),
            floors=(0.15, 0.2, 0.25, 0.15, 0.25),
        ),
        1.3,
    ),
    (
        RoomKind(
            "storage room",
            ((2.0, 6.0), (2.6, 9.0)),
            (2.3, 3.6),
            {
                shapes.stairs: 0.2,
                E.rack: 4.0,
                F.cartons: 2.0,
                E.pallet: 1.0,
                E.ladder: 0.6,
                E.locker: 0.6,
                E.gas_bottle: 0.3,
            },
            {F.cartons: 2.0, E.pallet: 2.0, E.trolley: 1.0, F.person: 0.3, E.cone: 0.4, E.barrel: 0.5, E.rack: 0.6},
            amount=(0.4, 1.4),
            floors=(0.02, 0.02, 0.1, 0.7, 0.16),
        ),
        1.0,
    ),
    (
        RoomKind(
            "bathroom",
            ((1.6, 3.2), (2.0, 4.2)),
            (2.3, 2.7),
            {B.toilet: 1.5, B.washstand: 1.5, B.bathtub: 1.3, B.shower: 0.8, B.washing_machine: 0.6, F.shelf: 0.2},
            {F.stool: 0.4, S.laundry_basket: 0.6},
            {clutter.mirror: 1.2, clutter.picture: 0.4},
            amount=(0.5, 1.2),
            floors=(0.05, 0.0, 0.85, 0.05, 0.05),
        ),
        0.9,
    ),
    (
        RoomKind(
            "workshop",
            ((3.0, 7.0), (4.0, 10.0)),
            (2.6, 3.6),
            {
                shapes.stairs: 0.2,
                E.workbench: 3.0,
                E.rack: 1.5,
                E.locker: 0.8,
                E.ladder: 0.6,
                E.tyres: 0.8,
                E.barrel: 0.4,
                E.gas_bottle: 0.4,
            },
            {E.workbench: 1.2, F.stool: 0.8, E.trolley: 0.8, E.tyres: 0.6, F.person: 0.4, E.bicycle: 0.6, E.cone: 0.4},
            {clutter.board: 0.3, clutter.shelf_board: 0.8},
            floors=(0.05, 0.0, 0.1, 0.75, 0.1),
        ),
        1.0,
    ),
    (
        RoomKind(
            "lobby",
            ((4.5, 9.0), (6.0, 12.0)),
            (2.7, 3.6),
            {
                shapes.stairs: 0.4,
                shapes.platform: 0.3,
                S.soft_sofa: 1.5,
                F.sofa: 1.0,
                F.plant: 1.5,
                M.drinks_machine: 0.7,
                E.bench: 1.0,
                F.cabinet: 0.5,
            },
            {
                S.soft_sofa: 0.8,
                F.coffee_table: 1.0,
                S.pouf: 0.8,
                F.plant: 1.0,
                F.person: 1.0,
                M.counter: 0.6,
                E.bollard: 0.5,
            },
            {clutter.board: 0.4},
            amount=(0.1, 0.6),
            floors=(0.15, 0.2, 0.4, 0.15, 0.1),
        ),
        0.8,
    ),
    (
        RoomKind(
            "laundry room",
            ((1.8, 3.2), (2.2, 4.5)),
            (2.3, 2.7),
            {B.washing_machine: 3.0, S.laundry_basket: 1.2, F.shelf: 0.8, F.cartons: 0.5, B.washstand: 0.5},
            {S.laundry_basket: 1.0, F.table: 0.5},
            {clutter.shelf_board: 0.8},
            floors=(0.05, 0.0, 0.5, 0.25, 0.2),
        ),
        0.4,
    ),
    (
        RoomKind(
            "server room",
            ((2.4, 5.0), (3.0, 8.0)),
            (2.5, 3.2),
            {M.server_rack: 4.0, F.desk: 0.4, F.cabinet: 0.3},
            {M.server_rack: 1.5, F.office_chair: 0.5, E.trolley: 0.4},
            amount=(0.4, 1.2),
            floors=(0.0, 0.05, 0.45, 0.2, 0.3),
        ),
        0.4,
    ),
)
