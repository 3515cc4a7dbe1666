"""Reports and strips of frames whose numbers are known by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.replay.page import StripFrame


def _nine(first: float) -> dict[str, float]:
    return {name: first + index / 100 for index, name in enumerate(NAMES)}


def _accuracy(first: float) -> dict[str, Any]:
    bands = [
        {
            "near_m": near,
            "far_m": far,
            "pixels": pixels,
            "share": share,
            "metric": _nine(first + near / 100) if pixels else None,
            "median_scaled": _nine(first + near / 200) if pixels else None,
        }
        for near, far, pixels, share in ((0, 1, 0, 0.0), (1, 2, 300, 0.3), (2, 4, 500, 0.5), (8, None, 200, 0.2))
    ]
    return {
        "images": 3,
        "range_m": [0.1, 10.0],
        "crop": "none",
        "coverage": 0.9,
        "metric": _nine(first),
        "median_scaled": _nine(first - 0.05),
        "constant": {"depth_m": 2.5, "metric": _nine(0.5), "median_scaled": _nine(0.45)},
        "bands": bands,
        "regions": {
            "rows": 3,
            "columns": 3,
            "share": [[0.1, 0.2, 0.0], [0.1, 0.2, 0.1], [0.1, 0.1, 0.1]],
            "metric_abs_rel": [[0.111, 0.2, None], [0.3, 0.222, 0.1], [0.1, 0.1, 0.333]],
            "median_scaled_abs_rel": [[0.1, 0.2, None], [0.3, 0.2, 0.1], [0.1, 0.1, 0.3]],
        },
        "cloud": {
            "points": 12345,
            "metric": {"within_5cm": 0.123, "within_10cm": 0.234, "median_error_m": 0.345},
            "median_scaled": {"within_5cm": 0.456, "within_10cm": 0.567, "median_error_m": 0.078},
        },
        "scale": {"median": 0.88, "p10": 0.8, "p90": 0.95, "drift_per_minute": 0.02},
        "flicker": {"mean": 0.031, "truth_mean": 0.002, "pixels_share": 0.4},
    }


def _run(head: str, condition: str, first: float) -> dict[str, Any]:
    return {
        "head": head,
        "condition": condition,
        "frames": {
            "t_s": [0.0, 0.5, 1.0],
            "stamp_ns": ["1700000000000000001", "1700000000500000002", "1700000001000000003"],
            "abs_rel": [0.1, None, 0.3],
            "abs_rel_median_scaled": [0.05, None, 0.2],
            "scale": [0.9, None, 1.1],
            "flicker": [None, 0.03, 0.04],
        },
        "speed": {"frames": 3, "frames_per_s": 12.5, "network_ms_p50": 81.5, "batch": 4},
        "accuracy": _accuracy(first),
    }


def _live_run(rate: float, dropped: int) -> dict[str, Any]:
    return {
        "rate": rate,
        "offered_hz": 10.0 * (rate or 3.0),
        "seconds": 5.0,
        "sent": 50,
        "received": 50 - dropped,
        "dropped_by_node": dropped,
        "lost_by_dds": 0,
        "unexpected": 0,
        "sent_hz": 10.0,
        "received_hz": 9.8,
        "latency_ms": {"p50": 41.0, "p90": 50.0, "p95": 62.0, "p99": 77.0, "max": 90.0},
        "jitter_ms": {"p50": 1.5, "p99": 8.5},
        "latencies": {"t_s": [0.0, 1.0, 2.0, 3.0], "ms": [40.0, 41.0, 42.0, 90.0]},
        "cpu_percent": {"mean": 88.0, "max": 120.0},
        "memory_mib": {"start": 500.0, "end": 510.0, "max": 515.0},
        "gpu": {"utilisation_percent": {"mean": 20.0, "max": 40.0}, "memory_mib": {"max": 900.0}},
    }


_REPORT: dict[str, Any] = {
    "format": 1,
    "kind": "offline",
    "title": "corridor",
    "created": "2026-11-21T22:40:00Z",
    "complete": True,
    "stopped": "",
    "bag": {
        "name": "corridor",
        "duration_s": 1.0,
        "images": 4,
        "image_topic": "/camera/image",
        "image_size": [64, 48],
        "camera_info_topic": "/camera/camera_info",
        "truth_topic": "/camera/depth/image",
        "truth_kind": "depth image",
        "warnings": [],
    },
    "matching": {"images": 4, "truths": 5, "matched": 3, "tolerance_s": 0.02, "notes": ["One image has no truth."]},
    "settings": {"head": "space_clip", "device": "cpu"},
    "provenance": {"trained on": "rooms", "licence": "Apache-2.0"},
    "runs": [_run("space_clip", "as recorded", 0.2), _run("space_clip", "dark", 0.3)],
    "live": None,
}
_LIVE = {"start_up_s": 6.5, "highest_rate_hz": 20.0, "runs": [_live_run(1.0, 0), _live_run(2.0, 0), _live_run(0, 7)]}


@pytest.fixture
def report() -> dict[str, Any]:
    """An offline report of one head under two conditions."""
    return copy.deepcopy(_REPORT)


@pytest.fixture
def live_report(report: dict[str, Any]) -> dict[str, Any]:
    """The same with a live part of three rates."""
    return {**report, "kind": "live", "live": copy.deepcopy(_LIVE)}


@pytest.fixture
def blind_report(report: dict[str, Any]) -> dict[str, Any]:
    """A report of a recording without ground truth."""
    run = report["runs"][0]
    run["accuracy"] = None
    run["frames"] |= {name: [None] * 3 for name in ("abs_rel", "abs_rel_median_scaled", "scale")}
    bag = {**report["bag"], "truth_topic": "", "truth_kind": "", "camera_info_topic": ""}
    return {**report, "runs": [run], "matching": None, "bag": bag}


@pytest.fixture
def frames() -> Callable[..., list[StripFrame]]:
    """Makes a strip: depth is a ramp that moves, without a reading in one corner."""

    def make(count: int = 3, keys: tuple[str, ...] = ("space_clip", "space_clip, dark"), truth: bool = True):
        made = []
        for index in range(count):
            rgb = np.zeros((48, 64, 3), np.uint8)
            rgb[:, 20 * index : 20 * index + 20] = (220, 60, 30)
            ramp = np.broadcast_to(np.linspace(1.0, 5.0, 64, dtype=np.float32), (48, 64)) + np.float32(0.3 * index)
            depth = ramp.copy()
            depth[:8, :8] = np.nan
            depths = {key: depth * np.float32(1 + 0.2 * place) for place, key in enumerate(keys)}
            made.append(StripFrame(0.5 * index, rgb, ramp.copy() if truth else None, depths))
        return made

    return make
