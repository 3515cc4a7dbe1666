from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recordings import HEIGHT, PERIOD_NS, START_NS, WIDTH

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.rerun_log import RerunLog

RANGE = (0.5, 8.0)
CAMERA = CameraModel.pinhole(WIDTH, HEIGHT, 30.0, 30.0, 16.0, 12.0)
ERRORS = (0.125, None, float("nan"), 0.5)


def depth_of(index: int) -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), 1.0 + index, np.float32)
    depth[: HEIGHT // 2] = np.nan
    return depth


def picture_of(index: int) -> np.ndarray:
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[...] = (200, 30 * index, 10)
    return rgb


def write(path: Path, camera: CameraModel | None = CAMERA) -> Path:
    with RerunLog(path, {"space_clip": RANGE}) as log:
        for index, error in enumerate(ERRORS):
            log.log(
                START_NS + index * PERIOD_NS + 1,
                picture_of(index),
                {"space_clip": depth_of(index)},
                depth_of(index) + 1 if index else None,
                camera,
                {"space_clip/abs_rel": error},
            )
    return path


def read_columns(path: Path) -> dict[tuple[str, str], list[Any]]:
    """Every value in a recording by entity and column, in the order of the frames."""
    chunk = pytest.importorskip("rerun.chunk", reason="needs a rerun-sdk that reads what it wrote")
    rows: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for part in chunk.RrdReader(str(path)).stream():
        batch = part.to_record_batch()
        frames = batch.column("frame").to_pylist() if "frame" in batch.schema.names else [-1] * batch.num_rows
        for name in batch.schema.names:
            if ":" in name:
                values = batch.column(name).to_pylist()
                rows.setdefault((str(part.entity_path), name), []).extend(zip(frames, values, strict=True))
        if "stamp" in batch.schema.names:
            stamps = [one.value for one in batch.column("stamp")]
            rows.setdefault((str(part.entity_path), "stamp"), []).extend(zip(frames, stamps, strict=True))
    return {key: [value for _, value in sorted(pairs, key=lambda pair: pair[0])] for key, pairs in rows.items()}


def test_frames_are_read_back_as_they_were_logged(tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install 'clip_depth_ros[rerun]'")
    path = write(tmp_path / "run.rrd")
    assert [item.name for item in tmp_path.iterdir()] == ["run.rrd"]
    assert path.read_bytes().startswith(b"RRF")
    found = read_columns(path)
    assert found["/scores/space_clip/abs_rel", "Scalars:scalars"] == [[0.125], [0.5]]
    assert found["/camera/image", "stamp"] == [START_NS + index * PERIOD_NS + 1 for index in range(4)]
    depths = found["/depth/space_clip", "DepthImage:buffer"]
    for index in range(4):
        written = np.array(depths[index][0], np.uint8).view(np.float32).reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(written, np.nan_to_num(depth_of(index)))
        positions = np.array(found["/points/space_clip", "Points3D:positions"][index])
        rows, columns = np.mgrid[12:HEIGHT:2, 0:WIDTH:2]
        z = 1.0 + index
        expected = np.stack([(columns - 16) / 30 * z, (rows - 12) / 30 * z, np.full(rows.shape, z)], axis=-1)
        np.testing.assert_allclose(positions, expected.reshape(-1, 3), atol=1e-5)
        blob = np.array(found["/camera/image", "EncodedImage:blob"][index][0], np.uint8)
        rgb = cv2.cvtColor(cv2.imdecode(blob, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert np.abs(rgb.astype(int) - picture_of(index)).max() < 8
    assert len(found["/depth/truth", "DepthImage:buffer"]) == 3
    (matrix,) = found["/camera", "Pinhole:image_from_camera"]
    np.testing.assert_allclose(matrix[0], [30, 0, 0, 0, 30, 0, 16, 12, 1])  # by columns


def test_without_a_camera_there_are_no_points(tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install 'clip_depth_ros[rerun]'")
    found = read_columns(write(tmp_path / "run.rrd", None))
    assert not any(entity.startswith("/points/") for entity, _ in found)
    assert ("/depth/space_clip", "DepthImage:buffer") in found


def test_interruption_and_bad_names_leave_nothing(tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install 'clip_depth_ros[rerun]'")
    with pytest.raises(BadInput, match=r"ends in \.rrd"):
        RerunLog(tmp_path / "run.mcap", {"head": RANGE})
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        RerunLog(tmp_path / "file" / "run.rrd", {"head": RANGE})
    (tmp_path / "file").unlink()

    def interrupted() -> None:
        with RerunLog(tmp_path / "run.rrd", {"head": RANGE}) as log:
            log.log(START_NS, picture_of(0), {"head": depth_of(0)})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_nearly_full_is_bad_input_and_leaves_nothing(tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install 'clip_depth_ros[rerun]'")
    with (
        pytest.raises(BadInput, match=r"free, but .* must stay free: free some space"),
        RerunLog(tmp_path / "run.rrd", {"head": RANGE}, spare=2**62) as log,
    ):
        log.log(START_NS, picture_of(0), {"head": depth_of(0)})
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)  # what an import of an absent package meets
    with pytest.raises(BadInput, match=r"pip install 'clip_depth_ros\[rerun\]'"):
        RerunLog(tmp_path / "run.rrd", {"head": RANGE})
    assert list(tmp_path.iterdir()) == []
