"""Small weights to measure, and pictures to measure them on."""

import json

import numpy as np
import pytest
from networks import tiny_encoder, tiny_head
from pictures_on_disk import write_picture

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint

CANONICAL = 40.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Head and encoder in two files, with random weights; depth for a focal length of 40 encoder pixels."""
    folder = tmp_path_factory.mktemp("weights")
    encoder = tiny_encoder()
    card = CheckpointMetadata(
        method="encoder",
        encoder=encoder.config,
        encoder_identity=encoder.identity(),
        canonical_focal_px=CANONICAL,
        trained_on="nothing",
        source="recipe random",
    )
    files = (folder / "encoder.safetensors", folder / "head.safetensors")
    save_checkpoint(files[0], card, encoder=encoder)
    save_checkpoint(files[1], card, head=tiny_head())
    return tuple(map(str, files))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An RGB-D folder of two sizes, with holes, and one picture without any ground truth."""
    root = tmp_path_factory.mktemp("data") / "office"
    rng = np.random.default_rng(5)
    for number, (height, width) in enumerate([(48, 64), (48, 64), (60, 50), (48, 64)]):
        depth = rng.integers(500, 6000, (height, width)).astype(np.uint16)
        depth[rng.random((height, width)) < 0.2] = 0
        write_picture(root / "rgb" / f"{number}.png", rng.integers(0, 255, (height, width, 3), np.uint8))
        write_picture(root / "depth" / f"{number}.png", depth * (number != 3))
    values = {"fx": 55.0, "fy": 60.0, "cx": 30.0, "cy": 25.0, "depth_scale_units_per_metre": 1000}
    (root / "intrinsics.json").write_text(json.dumps(values))
    return root
