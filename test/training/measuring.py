"""Running ``clip-depth-train evaluate``, and its figures computed another way."""

import json

import numpy as np

from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_training.cli import main
from clip_depth_training.data_sets import open_data_set


def run(*words):
    return main(["evaluate", *(str(word) for word in words)])


def report(tmp_path, *words):
    """Runs the command; returns its JSON report and the Markdown beside it."""
    file = tmp_path / "out" / "report.json"
    assert run(*words, "--device", "cpu", "-o", file) == 0
    return json.loads(file.read_text()), file.with_suffix(".md").read_text()


def refusal(capsys, *words):
    """Runs the command, which must refuse; returns its sentence."""
    capsys.readouterr()
    assert run(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]  # above it may be the progress of what was read


def row(found, predictor, scaling):
    (match,) = [row for row in found["rows"] if (row["predictor"], row["scaling"]) == (predictor, scaling)]
    return match


def by_numpy(predictions, truths, masks, low, high, scale):
    """The nine metrics, one picture after the other, in plain numpy."""
    rows = []
    for guess, truth, mask in zip(predictions, truths, masks):
        p, t = guess[mask].astype(np.float64), truth[mask].astype(np.float64)
        p = np.clip(p * (np.median(t) / np.median(p) if scale else 1), low, high)
        log, ratio = np.log(p) - np.log(t), np.maximum(p / t, t / p)
        rows.append(
            [
                np.mean(np.abs(p - t) / t),
                np.mean((p - t) ** 2 / t),
                np.sqrt(np.mean((p - t) ** 2)),
                np.sqrt(np.mean(log**2)),
                np.mean(np.abs(np.log10(p) - np.log10(t))),
                100 * np.std(log),
                *(np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
            ]
        )
    return dict(zip(NAMES, np.mean(rows, axis=0)))


def as_the_node(weights, folder, size=None, flip=False, head="space_clip", **settings):
    """Depth of each picture on its own: the estimator's, with that head alone and the camera."""
    config = EstimatorConfig(heads=(head,), weights=weights, device="cpu", precision="fp32", **settings)
    estimator = DepthEstimator.from_settings(config)
    found = []
    for number in range(4):
        sample = open_data_set(folder).sample(number)
        image, matrix = sample.image, sample.intrinsics
        depth = estimator(image, matrix, size)[head].depth[0].numpy()
        if flip:
            depth = (depth + estimator(image[:, ::-1], matrix, size)[head].depth[0].numpy()[:, ::-1]) / 2
        found.append((depth, sample.depth))
    return [pair[0] for pair in found[:3]], [pair[1] for pair in found[:3]]
