"""What an exported file has to pass: the same depth in ONNX Runtime as in PyTorch, for several batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import DepthPrediction
from clip_depth_ros.errors import BadInput

FP32_LIMIT = 1e-3
"""Largest relative depth error of a file in 32 bits, over every pixel."""
FP16_LIMIT = 5e-3
"""Largest relative depth error of a file in 16 bits, at 99 % of the pixels."""
_CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class Deviation:
    """How far ONNX Runtime was from PyTorch in 32 bits.

    Attributes:
        largest: largest relative depth error of any pixel. Depths below a hundredth of the farthest count as that.
        p99: the relative depth error that 99 % of the pixels stay within.
        confidence: largest absolute error of the confidence; 0 where there is none.
    """

    largest: float
    p99: float
    confidence: float

    def passes(self, half: bool) -> bool:
        """Whether the file may be used."""
        if half:
            return self.p99 <= FP16_LIMIT
        return self.largest <= FP32_LIMIT and self.confidence <= FP32_LIMIT


def references(
    estimator: DepthEstimator, size: tuple[int, int], output_size: tuple[int, int], planes: bool
) -> list[tuple[np.ndarray, DepthPrediction]]:
    """Returns inputs of the graph, and what the estimator makes of the same pictures.

    Args:
        estimator: the network with one head, in fp32 on the CPU.
        size: (height, width) in pixels of the pictures.
        output_size: (height, width) in pixels of the depth.
        planes: inputs are float32 ``(B, 3, h, w)``, else uint8 ``(B, H, W, 3)``.
    """
    found = []
    for batch in _CHECKED_BATCHES:
        pictures = _pictures(batch, size)
        (prediction,) = estimator(pictures, output_size=output_size, tokens=False).values()
        inputs = pictures.transpose(0, 3, 1, 2).astype(np.float32) if planes else pictures
        found.append((np.ascontiguousarray(inputs), prediction))
    return found


def _pictures(batch: int, size: tuple[int, int]) -> np.ndarray:
    """Returns the same uint8 pictures ``(batch, *size, 3)`` each time: random shapes, edges and noise."""
    generator = torch.Generator().manual_seed(batch)
    values = 30 * torch.rand(batch, 3, *size, generator=generator)
    for cells, mode in ((5, "bicubic"), (12, "nearest")):
        coarse = torch.rand(batch, 3, cells, cells, generator=generator)
        values += 112 * F.interpolate(coarse, size, mode=mode)
    return values.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def compare(path: Path, expected: list[tuple[np.ndarray, DepthPrediction]], half: bool) -> Deviation:
    """Runs the file on the CPU and compares."""
    errors, confidence = [], 0.0
    for outputs, (_, prediction) in zip(_run(path, [inputs for inputs, _ in expected], half), expected):
        reference = prediction.depth.numpy()
        smallest = prediction.valid_range[1] / 100
        errors.append((np.abs(outputs[0] - reference) / np.maximum(np.abs(reference), smallest)).ravel())
        if prediction.confidence is not None:
            confidence = max(confidence, float(np.abs(outputs[1] - prediction.confidence.numpy()).max()))
    relative = np.concatenate(errors)
    return Deviation(float(relative.max()), float(np.quantile(relative, 0.99)), confidence)


def _run(path: Path, batches: list[np.ndarray], half: bool) -> list[list[np.ndarray]]:
    """Returns ONNX Runtime's outputs for every batch."""
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = torch.get_num_threads()
    # Version 1.31 crashes on a CPU when it rearranges a graph of 16 bits with all that it has.
    settings.graph_optimization_level = levels.ORT_ENABLE_BASIC if half else levels.ORT_ENABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return [session.run(None, {name: inputs}) for inputs in batches]
    except Exception as error:  # its kinds of error have no common base
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise BadInput(f"ONNX Runtime cannot run what was exported ({reason}): try another --opset.") from error
