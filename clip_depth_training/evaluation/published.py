"""Figures that papers print, each with the protocol its source states: none of them was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_SPACE_CLIP = "SPACE-CLIP, arXiv 2601.17657"
_SPACE_CLIP_NOTE = (
    "possibly median-scaled (the authors' code of that time scaled each image by its median), flip averaged"
)
_SPACE_CLIP_NYU = f"{_SPACE_CLIP_NOTE}, no crop, 0.001 to 10 m"
_SPACE_CLIP_KITTI = (
    f"{_SPACE_CLIP_NOTE}, at 352x704, crop unclear (Eigen in the recipe, none in the code of that time), 0.001 to 80 m"
)
_MOA = "MoA-DepthCLIP, arXiv 2604.01118"
_MOA_NOTE = "not fully stated, possibly median-scaled; up to 10 m"
_BLIP2 = "DepthBLIP-2"
_BLIP2_NOTE = (
    "scaling and flip averaging not stated; rows 56 to 471 and columns 60 to 601 of 480x640 (416x544 pasted, within "
    "the Eigen crop), 0.001 to 10 m"
)
_DEPTH_CLIP = "DepthCLIP, 2022 (Can language understand depth?)"


@dataclass(frozen=True)
class PublishedFigures:
    """One line of a paper's table.

    Attributes:
        data: ``nyu`` or ``kitti``.
        method: what was measured.
        encoder: its image encoder.
        source: the paper.
        protocol: as far as the source states it.
        figures: by metric name, see :data:`clip_depth_ros.depth.metrics.NAMES`.
    """

    data: str
    method: str
    encoder: str
    source: str
    protocol: str
    figures: Mapping[str, float]

    def row(self) -> dict[str, Any]:
        """Returns the line as JSON-ready values."""
        return {**asdict(self), "figures": dict(self.figures), "measured_here": False}


def _space_clip_kitti(variant: str, abs_rel: float) -> PublishedFigures:
    return PublishedFigures(
        "kitti",
        f"SPACE-CLIP, {variant}",
        "CLIP ViT-B/16, frozen",
        _SPACE_CLIP,
        _SPACE_CLIP_KITTI,
        {"abs_rel": abs_rel},
    )


def _moa_nyu(variant: str, **figures: float) -> PublishedFigures:
    return PublishedFigures("nyu", f"MoA-DepthCLIP, {variant}", "CLIP ViT-B/32", _MOA, _MOA_NOTE, figures)


def _blip2_nyu(variant: str, *values: float) -> PublishedFigures:
    names = ("a1", "a2", "a3", "abs_rel", "log_10", "rmse")
    return PublishedFigures(
        "nyu", f"DepthBLIP-2, {variant}", "CLIP ViT-L/14 with Q-Former", _BLIP2, _BLIP2_NOTE, dict(zip(names, values))
    )


PUBLISHED = (
    PublishedFigures(
        "kitti",
        "SPACE-CLIP",
        "CLIP ViT-B/16, frozen",
        _SPACE_CLIP,
        _SPACE_CLIP_KITTI,
        {
            "abs_rel": 0.0901,
            "sq_rel": 0.4701,
            "rmse": 3.8451,
            "rmse_log": 0.1528,
            "a1": 0.9088,
            "a2": 0.9812,
            "a3": 0.9945,
        },
    ),
    _space_clip_kitti("semantic only", 0.1165),
    _space_clip_kitti("semantic with FiLM", 0.1142),
    _space_clip_kitti("semantic with structural", 0.1094),
    PublishedFigures(
        "nyu",
        "SPACE-CLIP",
        "CLIP ViT-B/16, frozen",
        _SPACE_CLIP,
        _SPACE_CLIP_NYU,
        {"abs_rel": 0.1042, "rmse": 0.3848, "log_10": 0.0446, "a1": 0.8958, "a2": 0.9839, "a3": 0.9973},
    ),
    _moa_nyu("full model", a1=0.745, a2=0.841, a3=0.895, abs_rel=0.321, log_10=0.098, rmse=0.520),
    _moa_nyu("composite loss alone", abs_rel=0.310, a1=0.503),
    _moa_nyu("composite loss with MoA", abs_rel=0.308, a1=0.508),
    PublishedFigures(
        "nyu",
        "DepthCLIP, as MoA-DepthCLIP's table gives it",
        "CLIP RN50",
        _MOA,
        _MOA_NOTE,
        {"a1": 0.390, "abs_rel": 0.393, "rmse": 1.176},
    ),
    _blip2_nyu("zero-shot, fixed bins", 0.384, 0.683, 0.856, 0.368, 0.156, 1.172),
    _blip2_nyu("few-shot bins", 0.401, 0.707, 0.898, 0.363, 0.153, 1.132),
    _blip2_nyu("fine-tuned Q-Former, fixed bins", 0.388, 0.687, 0.857, 0.377, 0.158, 1.162),
    PublishedFigures(
        "nyu",
        "DepthCLIP, zero-shot",
        "CLIP RN50",
        _DEPTH_CLIP,
        "scaling not stated; flip averaging, crop and paste as DepthBLIP-2",
        {"a1": 0.394, "a2": 0.683, "a3": 0.851, "abs_rel": 0.388, "log_10": 0.156, "rmse": 1.167},
    ),
)


def published_for(kinds: set[str], everything: bool = False) -> list[PublishedFigures]:
    """Returns the papers' figures on the data sets of ``kinds`` (``nyu_sync``, ``kitti_eigen`` ...).

    Args:
        kinds: kinds of the data sets that were measured; others than NYU's and KITTI's have no published figures.
        everything: return all of them whatever was measured.
    """
    return [row for row in PUBLISHED if everything or any(kind.startswith(row.data) for kind in kinds)]
