"""``clip-depth info``: what a weight file is."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clip_depth_ros.resources import resolve

if TYPE_CHECKING:
    from rich.table import Table

    from clip_depth_ros.depth.checkpoint import Checkpoint

_SHOWN = {"abs_rel": "AbsRel", "rmse": "RMSE", "a1": "d1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a .safetensors of this project (path or package://...)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Prints method, encoder, range (metres), training data, metrics with protocol, licence and hash.

    Raises:
        BadInput: the file is not a weight file of this project.
    """
    from clip_depth_ros.depth.checkpoint import load_checkpoint

    path = resolve(arguments.file)
    checkpoint = load_checkpoint(path)
    with path.open("rb") as file:
        sha256 = hashlib.sha256(file.read()).hexdigest()
    if arguments.json:
        print(json.dumps({**asdict(checkpoint.metadata), "sha256": sha256}, indent=2))
        return 0
    _print_table(checkpoint, sha256)
    return 0


def _print_table(checkpoint: Checkpoint, sha256: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from clip_depth_ros.depth.checkpoint import count_parameters

    metadata = checkpoint.metadata
    encoder = metadata.encoder
    size = encoder.image_size
    canonical = metadata.canonical_focal_px
    valid_range = metadata.head.get("valid_range")
    where = "in this file" if checkpoint.encoder else "NOT in this file"
    rows = {
        "file": str(checkpoint.path),
        "SHA-256": sha256,
        "method": metadata.method,
        "encoder": f"{encoder.name}, {size[1]}x{size[0]} px, {encoder.activation}; {where}",
        "encoder identity": metadata.encoder_identity,
        "parameters": f"head {count_parameters(checkpoint.head):,}, encoder {count_parameters(checkpoint.encoder):,}",
        "valid range": f"{valid_range[0]:g} to {valid_range[1]:g} m" if valid_range else "-",
        "scale": f"for a focal length of {canonical:g} px at the encoder's input, rescaled by the camera's own"
        if canonical
        else "of the training cameras; another lens changes it",
        "trained on": metadata.trained_on,
        "training cameras": metadata.training_intrinsics,
        "licence": metadata.licence,
        "source": metadata.source,
        "written by": f"clip_depth_ros {metadata.code_version}",
    }
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if metadata.metrics:
        console.print(_metrics_table(metadata.metrics))


def _metrics_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns one line a result: whose it is, under which protocol, and the figures people compare."""
    from rich.table import Table

    protocols = {str(row.get("protocol", "")).partition(";")[2].strip() for row in rows}
    protocols |= {"depth {} to {} m".format(*row.get("depth_range_m", ("?", "?"))) for row in rows}
    title = "; ".join(["measured", *sorted(protocols - {""})])
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    table.add_column("data", overflow="fold")
    for name in ("images", "predictor", "protocol"):
        table.add_column(name, no_wrap=True)
    for name in _SHOWN.values():
        table.add_column(name, justify="right")
    for row in rows:
        told = [str(row.get(name, "?")) for name in ("data", "images", "predictor")]
        told.append(str(row.get("protocol", "?")).partition(";")[0])
        table.add_row(*told, *(f"{row[name]:.3f}" if name in row else "-" for name in _SHOWN))
    return table
