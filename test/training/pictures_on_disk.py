"""Small data sets in the exact layouts of the public ones."""

import json

import cv2
import numpy as np

from clip_depth_training.cli import main


def picture(height, width, seed=0):
    """A picture (H, W, 3) uint8 RGB whose channels differ: red rises to the right, green to the bottom."""
    rng = np.random.default_rng(seed)
    red = np.linspace(0, 255, width)[None, :] + np.zeros((height, 1))
    green = np.linspace(0, 255, height)[:, None] + np.zeros((1, width))
    return np.stack([red, green, np.full((height, width), rng.integers(0, 255))], 2).astype(np.uint8)


def ramp(height, width, first=1000, seed=0):
    """Depth units (H, W) uint16: ``first + seed`` in the first row, one more in each row below."""
    return (np.arange(height, dtype=np.uint16)[:, None] + np.zeros((1, width), np.uint16) + first + seed).astype(
        np.uint16
    )


def write_picture(file, rgb):
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), rgb[..., ::-1] if rgb.ndim == 3 else rgb)


def write_rgbd(folder, count=3, height=24, width=32, calibration=None):
    """An RGB-D folder with 1000 units a metre, unless ``calibration`` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_picture(folder / "rgb" / f"{number:04d}.png", picture(height, width, number))
        write_picture(folder / "depth" / f"{number:04d}.png", ramp(height, width, 1000, 100 * number))
    values = {
        "fx": 30.0,
        "fy": 31.0,
        "cx": 15.0,
        "cy": 11.0,
        "depth_scale_units_per_metre": 1000,
        **(calibration or {}),
    }
    (folder / "intrinsics.json").write_text(json.dumps(values))
    return folder


def write_nyu(folder, scenes=("kitchen_0028b", "bathroom_0001"), slash="/"):
    """NYU's sync layout; returns the list file."""
    lines = []
    for number, scene in enumerate(scenes):
        write_picture(folder / scene / "rgb_00045.jpg", picture(480, 640, number))
        write_picture(folder / scene / "sync_depth_00045.png", ramp(480, 640, 1000, number))
        lines.append(f"{slash}{scene}/rgb_00045.jpg {slash}{scene}/sync_depth_00045.png 518.8579")
    file = folder / "list.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def prepare(*words):
    """Runs the command line; returns its exit code."""
    return main(["prepare", *(str(word) for word in words)])


def refusal(capsys, *words):
    """Runs the command line, which must refuse in one sentence; returns the sentence."""
    assert prepare(*words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clip-depth-train prepare:")]
    assert len(lines) == 1
    assert lines[0].endswith(".")
    assert "Traceback" not in lines[0]
    return lines[0]
