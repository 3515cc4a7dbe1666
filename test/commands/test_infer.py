"""``clip-depth infer`` on images, folders and videos, and its bad input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from networks import TINY, tiny_encoder, tiny_head

from clip_depth_ros import DepthEstimator
from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.masking import millimetres, readings

CALIBRATION = """
image_width: 64
image_height: 48
camera_name: test
camera_matrix: {rows: 3, cols: 3, data: [60, 0, 31.5, 0, 60, 23.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [60, 0, 31.5, 0, 0, 60, 23.5, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, CheckpointMetadata("space_clip", TINY), tiny_head(), tiny_encoder())
    return str(path)


def rgb(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def infer(source: Path, output: Path, weights: str, *extra: str) -> int:
    return main(["infer", str(source), "-o", str(output), "--weights", weights, "--device", "cpu", *extra])


def test_a_calibrated_image_gives_all_four_files(tmp_path: Path, weights: str) -> None:
    image = rgb()
    cv2.imwrite(str(tmp_path / "view.png"), image[..., ::-1])
    (tmp_path / "cam.yaml").write_text(CALIBRATION)
    assert infer(tmp_path / "view.png", tmp_path / "out", weights, "--camera-info", str(tmp_path / "cam.yaml")) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"view_depth.png", "view_depth.npy", "view_colour.png", "view.ply"}
    prediction = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu")(image)["space_clip"]
    expected = readings(prediction.depth[0].numpy(), prediction.valid_range)
    depth = np.load(tmp_path / "out" / "view_depth.npy")
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, expected, atol=1e-5)
    stored = cv2.imread(str(tmp_path / "out" / "view_depth.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, millimetres(depth))
    assert cv2.imread(str(tmp_path / "out" / "view_colour.png")).shape == (48, 64, 3)
    import plyfile

    vertices = plyfile.PlyData.read(tmp_path / "out" / "view.ply")["vertex"]
    assert 0 < len(vertices) <= 48 * 64
    assert np.isfinite(vertices["z"]).all()


def test_a_folder_without_calibration_has_no_clouds(tmp_path: Path, weights: str, capsys) -> None:
    folder = tmp_path / "views"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.jpg"), rgb(index, (40 + index, 64)))
    (folder / "notes.txt").write_text("not an image")
    assert infer(folder, tmp_path / "out", weights) == 0
    assert "3 pictures" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*_depth.png"))) == 3
    assert not list((tmp_path / "out").glob("*.ply"))
    assert np.load(tmp_path / "out" / "2_depth.npy").shape == (42, 64)


def test_a_video_gives_numbered_frames(tmp_path: Path, weights: str) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(4):
        writer.write(rgb(index))
    writer.release()
    assert infer(tmp_path / "walk.avi", tmp_path / "out", weights) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npy")) == [
        f"walk_{index:06d}_depth.npy" for index in range(4)
    ]


def write_bad_image(folder: Path) -> None:
    (folder / "view.png").write_bytes(b"not a picture")


def write_good_image(folder: Path) -> None:
    cv2.imwrite(str(folder / "view.png"), rgb(size=(50, 64)))


@pytest.mark.parametrize(
    ("prepare", "source", "extra", "message"),
    [
        (lambda folder: None, "absent.png", (), "does not exist"),
        (write_bad_image, "view.png", (), "no image, or it is damaged"),
        (lambda folder: (folder / "empty").mkdir(), "empty", (), "has no images"),
        (lambda folder: (folder / "v.mp4").write_bytes(b"x" * 99), "v.mp4", (), "no video that OpenCV can read"),
        (write_good_image, "view.png", ("--camera-info", "cam.yaml"), "is for 64x48 px, but view is 64x50 px"),
        (write_good_image, "view.png", ("--device", "cuda:99"), "usable CUDA devices"),
        (write_good_image, "view.png", ("--config", "absent.yaml"), "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, weights: str, monkeypatch, capsys, prepare, source: str, extra: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cam.yaml").write_text(CALIBRATION)
    prepare(tmp_path)
    assert infer(Path(source), tmp_path / "out", weights, *extra) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, weights: str, capsys) -> None:
    write_good_image(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert infer(tmp_path / "view.png", tmp_path / "file", weights) == 2
    assert "cannot be made" in capsys.readouterr().err
