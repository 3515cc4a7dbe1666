"""Encoder and head as one ONNX graph, checked with ONNX Runtime before anybody gets the file.

The graph is made by torch's TorchScript exporter: every torch from 2.4 on has it, it needs nothing but ``onnx``, and it
keeps the batch free. The exporter of torch.export took nine times as long and is not in the older versions.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros import __version__
from clip_depth_ros.depth.checkpoint import CheckpointMetadata
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.exporters.onnx_check import Deviation, compare, references
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing

OPSETS = range(17, 21)  # LayerNormalization came with 17; the exporter knows no more than 20
_TRACED_BATCH = 2  # 1 would be taken for a size that broadcasts
_LARGEST_FILE = 2**31 - 2**20  # protobuf's limit, less the graph itself


@dataclass(frozen=True)
class GraphOptions:
    """What the graph takes and gives.

    Attributes:
        input_size: (height, width) in pixels of the encoder's input, multiples of its patch.
        output_size: (height, width) in pixels of the depth.
        camera_size: (height, width) of camera pictures that the graph resizes itself; None where its input already is
            of ``input_size``.
        opset: version of ONNX's operators.
        half: whether the network computes in 16 bits; input, output and preprocessing stay as they are.
        normalisation: empty for the encoder's own mean and deviation, or a name of others.
    """

    input_size: tuple[int, int]
    output_size: tuple[int, int]
    camera_size: tuple[int, int] | None = None
    opset: int = OPSETS[0]
    half: bool = False
    normalisation: str = ""

    @property
    def input_name(self) -> str:
        """``image`` for camera pictures, ``pixels`` for the encoder's input."""
        return "pixels" if self.camera_size is None else "image"

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one sample of the input."""
        return (3, *self.input_size) if self.camera_size is None else (*self.camera_size, 3)


class CameraResize(nn.Module):
    """The bicubic, antialiased resize of :class:`~clip_depth_ros.depth.preprocess.Preprocess`, to the bit.

    ONNX's own antialiased Resize rounds otherwise and is missing in TensorRT. Between two fixed sizes a resize is one
    matrix an axis, and torch's 8-bit kernel (as PIL's) has whole numbers in it, over a power of two. Their products
    with 8-bit values are exact in 32-bit floats.
    """

    across: Tensor
    down: Tensor

    def __init__(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("down", _resize_matrix(old[0], new[0]), persistent=False)
        self.register_buffer("across", _resize_matrix(old[1], new[1]).T.contiguous(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns ``(B, 3, h, w)`` from ``(B, 3, H, W)``, whole float32 numbers 0..255."""
        pixels = (pixels @ self.across + 0.5).floor().clamp(0, 255)
        return (self.down @ pixels + 0.5).floor().clamp(0, 255)


def _resize_matrix(old: int, new: int) -> Tensor:
    """Returns the matrix ``(new, old)`` float32 that resizes an axis as torch's 8-bit kernel does."""
    unit = torch.eye(old, dtype=torch.float64)[None, None]
    matrix = F.interpolate(unit, (new, old), mode="bicubic", antialias=True)[0, 0]
    # The largest weight just fits a signed 16-bit number; torch goes no further than 22 bits.
    bits = min(22, math.floor(math.log2((2**15 - 0.5) / matrix.max().item())))
    rounded = (matrix.abs() * 2**bits + 0.5).floor().copysign(matrix)
    return (rounded / 2**bits).float()


class DepthGraph(nn.Module):
    """All that is written: resize where asked for, normalisation, encoder up to the last layer read, head."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: SharedEncoder, head: DepthHead, options: GraphOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder, self.head = encoder, head
        self.precision = torch.float16 if options.half else torch.float32
        self.encoder.to(self.precision)
        self.head.to(self.precision)
        size = options.camera_size
        self.resize = None if size in (None, options.input_size) else CameraResize(size, options.input_size)
        self.config = encoder.config.normalised(options.normalisation)
        self.register_buffer("mean", torch.tensor(self.config.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(self.config.std).view(3, 1, 1) * 255, persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns depth ``(B, H, W)`` float32 in metres and, where the head has one, the confidence.

        Args:
            images: RGB 0..255; uint8 ``(B, H, W, 3)`` at the camera's size, or float32 ``(B, 3, h, w)`` at the
                encoder's.
        """
        pixels = images if self.options.camera_size is None else images.permute(0, 3, 1, 2).float()
        if self.resize is not None:
            pixels = self.resize(pixels)
        pixels = ((pixels - self.mean) / self.std).to(self.precision)
        features = self.encoder.encode(pixels, self.head.layers, self.head.needs_pooled)
        prediction = self.head(features.to(self.precision), self.options.output_size)
        outputs = (prediction.depth, prediction.confidence)
        return tuple(value.float() for value in outputs if value is not None)


def export_onnx(
    path: Path,
    encoder: SharedEncoder,
    head: DepthHead,
    options: GraphOptions,
    metadata: CheckpointMetadata,
) -> Deviation:
    """Writes ``path`` after ONNX Runtime agreed with PyTorch on batches of 1 and 3.

    Args:
        path: the ONNX file; nothing is left of it when the check fails.
        encoder: the encoder in fp32 on the CPU; with ``options.half`` it is of 16 bits afterwards.
        head: the head, likewise.
        options: what the graph takes and gives.
        metadata: what the file says of itself; its ``method``, ``encoder`` and ``head`` are not read.

    Returns:
        The differences found.

    Raises:
        BadInput: missing packages, sizes that the encoder cannot read, an encoder or head that ONNX cannot hold, a
            file that differs from PyTorch, or a place that cannot be written.
    """
    require_packages()
    expected = references(
        DepthEstimator(
            encoder, {"head": head}, "cpu", "fp32", input_size=options.input_size, normalisation=options.normalisation
        ),
        options.camera_size or options.input_size,
        options.output_size,
        planes=options.camera_size is None,
    )
    graph = DepthGraph(encoder, head, options).requires_grad_(False)
    size = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    if size > _LARGEST_FILE:
        raise BadInput(
            f"The network has {size / 2**30:.1f} GiB of weights and one ONNX file holds at most 2"
            + (": export a smaller one." if options.half else ": try --half.")
        )
    with replacing(path) as temporary:
        _write(graph, temporary)
        _describe(temporary, graph, metadata, expected[0][1].valid_range)
        deviation = compare(temporary, expected, options.half)
        if not deviation.passes(options.half):
            raise BadInput(
                f"{path} was not written: ONNX Runtime's depth is up to {deviation.largest:.2%} off PyTorch's "
                f"({deviation.p99:.2%} for 99 % of the pixels, confidence {deviation.confidence:.2g}); "
                + ("export it without --half." if options.half else "try another --opset or version of onnxruntime.")
            )
    return deviation


def require_packages() -> None:
    """Checks that the packages of the extra are there.

    Raises:
        BadInput: they are not.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(
            f"Export to ONNX needs {' and '.join(missing)}, not installed here: run pip install 'clip_depth_ros[onnx]'."
        )


def trtexec_line(path: Path, options: GraphOptions, largest_batch: int = 8) -> str:
    """Returns the command that makes a TensorRT engine of the file for batches of 1 to ``largest_batch``."""
    shape = "x".join(map(str, options.sample_shape))
    shapes = [
        f"--{bound}Shapes={options.input_name}:{batch}x{shape}"
        for bound, batch in (("min", 1), ("opt", 1), ("max", largest_batch))
    ]
    precision = ["--stronglyTyped"] if options.half else []
    engine = f"--saveEngine={path.with_suffix('.engine')}"
    return " ".join(["trtexec", f"--onnx={path}", engine, *shapes, *precision])


def _write(graph: DepthGraph, path: Path) -> None:
    options = graph.options
    kind = torch.float32 if options.camera_size is None else torch.uint8
    example = torch.zeros(_TRACED_BATCH, *options.sample_shape, dtype=kind)
    # Older versions of torch have no other exporter, and no name for this one.
    exporter: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    try:
        with torch.no_grad(), _traceable():
            outputs = ["depth", "confidence"][: len(graph(example))]  # this also fills what heads remember
            with redirect_stdout(io.StringIO()):  # of a failure torch prints the whole graph
                torch.onnx.export(
                    graph,
                    (example,),
                    str(path),
                    input_names=[options.input_name],
                    output_names=outputs,
                    dynamic_axes={name: {0: "batch"} for name in (options.input_name, *outputs)},
                    opset_version=options.opset,
                    **exporter,
                )
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise BadInput(
            f"Head {graph.head.method} on encoder {graph.encoder.config.name} cannot be written as ONNX with this "
            f"version of torch ({reason})" + (": export it without --half." if options.half else ".")
        ) from error


@contextmanager
def _traceable() -> Iterator[None]:
    """Makes torch run what an exporter can name, and keeps its remarks on tracing to itself."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _describe(path: Path, graph: DepthGraph, metadata: CheckpointMetadata, valid_range: tuple[float, float]) -> None:
    """Adds to the file what its reader needs to know, as ONNX's metadata properties."""
    import onnx

    model = onnx.load(str(path))
    for output in model.graph.output:
        for dimension, side in zip(output.type.tensor_type.shape.dim[1:], graph.options.output_size):
            dimension.dim_value = side
    onnx.helper.set_model_props(model, _properties(graph, metadata) | {"valid_range": json.dumps(valid_range)})
    model.producer_name, model.producer_version = "clip_depth_ros", __version__
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _properties(graph: DepthGraph, metadata: CheckpointMetadata) -> dict[str, str]:
    options, config = graph.options, graph.config
    canonical = metadata.canonical_focal_px
    height, width = options.input_size
    metres = (
        f"depth * f / {canonical:g}, with f = sqrt(fx * {width} / W * fy * {height} / H) for a camera of W x H pixels "
        "and focal lengths fx, fy in its pixels"
        if canonical
        else "depth is in metres for the cameras it was trained on; another lens changes its scale"
    )
    values: Mapping[str, Any] = {
        "method": graph.head.method,
        "encoder": config.name,
        "encoder_identity": metadata.encoder_identity,
        "canonical_focal_px": canonical,
        "metres": metres,
        "input": f"{options.input_name}: RGB 0..255, normalised in the graph",
        "input_size": options.input_size,
        "camera_size": options.camera_size,
        "output_size": options.output_size,
        "mean": config.mean,
        "std": config.std,
        "precision": "fp16" if options.half else "fp32",
        "trained_on": metadata.trained_on,
        "licence": metadata.licence,
        "version": __version__,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
