"""``clip-depth info`` says what a weight file is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from networks import TINY, tiny_encoder, tiny_head

from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint

METADATA = CheckpointMetadata(
    method="space_clip",
    encoder=TINY,
    trained_on="rendered rooms",
    canonical_focal_px=51.5,
    metrics=(
        {
            "data": "rooms",
            "images": 5,
            "depth_range_m": [0.1, 10.0],
            "predictor": "space_clip",
            "protocol": "median-scaled; no crop",
            "abs_rel": 0.1234,
        },
    ),
    licence="Apache-2.0",
)


def test_the_table_names_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, METADATA, tiny_head(), tiny_encoder())
    assert main(["info", str(path)]) == 0
    printed = "".join(capsys.readouterr().out.split())
    for expected in (
        "space_clip",
        "tiny,64x64px,quick_gelu;inthisfile",
        tiny_encoder().identity(),
        hashlib.sha256(path.read_bytes()).hexdigest(),
        "0.001to10m",
        "focallengthof51.5px",
        "renderedrooms",
        "Apache-2.0",
        "measured;depth0.1to10.0m;nocrop",
        "rooms5space_clipmedian-scaled0.123--",
    ):
        assert expected in printed


def test_a_head_alone_says_that_it_lacks_the_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, replace(METADATA, canonical_focal_px=None), head=tiny_head())
    assert main(["info", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "NOT in this file" in printed
    assert "another lens changes it" in printed


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, METADATA, tiny_head(), tiny_encoder())
    assert main(["info", "--json", str(path)]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["method"] == "space_clip"
    assert values["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert values["metrics"][0]["abs_rel"] == 0.1234
