"""Small RGB-D data sets made for a test, in the layouts that public ones have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 32, 24
STAMPS = ("1305031102.175304", "1305031102.211214", "1305031102.275326")
DEPTH_STAMPS = ("1305031102.160407", "1305031102.226738", "1305031103.000000")  # -15 ms, +16 ms, far off


def write_picture(path: Path, index: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(index)
    cv2.imwrite(str(path), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def write_depth(path: Path, value: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width), value, np.uint16))


def write_tum(root: Path) -> Path:
    """TUM RGB-D as it is downloaded: lists with three comment lines, one depth of three out of reach."""
    for kind, stamps in (("rgb", STAMPS), ("depth", DEPTH_STAMPS)):
        lines = [f"# {kind} maps", "# file: 'rgbd_dataset.bag'", "# timestamp filename"]
        for index, stamp in enumerate(stamps):
            file = root / kind / f"{stamp}.png"
            if kind == "rgb":
                write_picture(file, index)
            else:
                write_depth(file, 5000 * (index + 1))
            lines.append(f"{stamp} {kind}/{stamp}.png")
        (root / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_trajectory(path: Path) -> None:
    """Moves 1 m a second along x from the first picture's stamp on, turning about z by a quarter in two seconds."""
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for step in range(-1, 7):
        half = step * 0.02 * np.pi / 8
        lines.append(f"1305031102.{175304 + step * 20000:06d} {step * 0.02} 0 1.5 0 0 {np.sin(half)} {np.cos(half)}")
    path.write_text("\n".join(lines) + "\n")


def write_scannet(root: Path, depth_size: tuple[int, int] = (16, 12)) -> Path:
    """An export of ScanNet: depth of half the size, looking the same way."""
    for index in range(3):
        write_picture(root / "color" / f"{index}.jpg", index)
        width, height = depth_size
        rows, columns = np.mgrid[:height, :width]
        depth = (1000 + 100 * rows + columns + 10000 * index).astype(np.uint16)
        (root / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "depth" / f"{index}.png"), depth)
        pose = np.eye(4)
        pose[0, 3] = index
        (root / "pose").mkdir(exist_ok=True)
        np.savetxt(root / "pose" / f"{index}.txt", pose if index != 1 else np.full((4, 4), -np.inf))
    (root / "intrinsic").mkdir()
    for name, k in (("color", (30.0, 30.0, 15.5, 11.5)), ("depth", (15.0, 15.0, 7.5, 5.5))):
        matrix = np.eye(4)
        matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2] = k
        np.savetxt(root / "intrinsic" / f"intrinsic_{name}.txt", matrix)
        np.savetxt(root / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4))
    return root
