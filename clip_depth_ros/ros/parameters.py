"""Every parameter of the node in one table: its declaration, checks, YAML file and README come from it."""

from __future__ import annotations

import json
import re
import textwrap
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

from clip_depth_ros.depth.config import (
    ACCELERATIONS,
    DEMO_WEIGHTS,
    PRECISIONS,
    EstimatorConfig,
    distances_problem,
    input_size_problem,
)
from clip_depth_ros.depth.encoder_config import NORMALISATIONS
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import ENCODINGS

_TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Settings:
    """One consistent set of parameter values; a new one replaces it when a parameter changes.

    The fields are those of :data:`PARAMETERS`, with ``_`` for ``.``; meaning, units and ranges stand there.
    """

    cameras: tuple[str, ...]
    heads: tuple[str, ...]
    weights: tuple[str, ...]
    encoder_model: str
    encoder_weights: str
    encoder_input_size: tuple[int, ...]
    encoder_normalisation: str
    device: str
    precision: str
    acceleration: str
    depth_clip_classes: tuple[str, ...]
    depth_clip_template: str
    depth_clip_bins: tuple[float, ...]
    depth_clip_temperature: float
    depth_clip_variant: str
    depth_blip2_bins: tuple[float, ...]
    depth_blip2_temperature: float
    main_output: str
    autostart: bool
    image_transport: str
    encoding_override: str
    depth_encoding: str
    depth_minimum: float
    depth_maximum: float
    rectify: bool
    points_stride: int
    points_minimum: float
    points_maximum: float
    points_edge_threshold: float
    points_organised: bool
    max_rate: tuple[float, ...]
    diagnostics_period: float
    diagnostics_timeout: float

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Returns the settings of all parameters by name: ``{"points.stride": 2, ...}``."""
        return cls(**{name.replace(".", "_"): _frozen(value) for name, value in values.items()})

    @classmethod
    def defaults(cls) -> Settings:
        """Returns the settings of a node that was given no parameters."""
        return cls.from_values({spec.name: spec.default for spec in PARAMETERS})

    @property
    def main_head(self) -> str:
        """The head that publishes under ``depth/``."""
        return self.main_output or self.heads[0]

    def max_rate_of(self, camera: str) -> float:
        """Returns the most images a second (Hz) to take from a camera of :attr:`cameras`; 0 for no limit."""
        return self.max_rate[0] if len(self.max_rate) == 1 else self.max_rate[self.cameras.index(camera)]

    @property
    def estimator(self) -> EstimatorConfig:
        """The part that says which network to run, and where."""
        return EstimatorConfig(**{item.name: getattr(self, item.name) for item in fields(EstimatorConfig)})


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        name: as ROS knows it.
        default: its value when nothing sets it; its type is the parameter's type.
        description: one sentence with the unit.
        minimum: smallest number accepted; in a list, of each.
        maximum: largest number accepted; in a list, of each.
        choices: the strings accepted, when they can be listed.
        at_run_time: it can change while the node is configured.
        start_only: it is read when the process starts and cannot change after that.
        check: returns what is wrong with a value of the right type, or an empty string.
    """

    name: str
    default: bool | int | float | str | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    at_run_time: bool = False
    start_only: bool = False
    check: Callable[[Any], str] | None = None

    def problem(self, value: Any) -> str:
        """Returns why ``value`` (of the right type) is not accepted, or an empty string."""
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}: it must be one of {', '.join(map(repr, self.choices))}."
        if self.minimum is not None and self.maximum is not None:
            is_list = isinstance(self.default, tuple)
            for number in value if is_list else (value,):
                if not self.minimum <= number <= self.maximum:
                    subject = f"{self.name} holds {number}: each" if is_list else f"{self.name} is {number}: it"
                    return f"{subject} must be from {self.minimum:g} to {self.maximum:g}."
        return self.check(value) if self.check else ""

    def descriptor(self) -> ParameterDescriptor:
        """Returns the descriptor that ``ros2 param describe`` and rqt_reconfigure show."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.start_only)
        constraints = [self.when]
        if self.choices:
            constraints.insert(0, f"One of {', '.join(map(repr, self.choices))}.")
        descriptor.additional_constraints = " ".join(constraints)
        if self.minimum is not None and self.maximum is not None:
            # rclpy holds single numbers to a range, not lists: those are held to it by problem() alone.
            if isinstance(self.default[0] if isinstance(self.default, tuple) else self.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
            else:
                limits = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
                descriptor.integer_range = [limits]
        return descriptor

    @property
    def accepted(self) -> str:
        """What values are accepted, for people."""
        if self.choices:
            return ", ".join(choice or "empty" for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            limits = f"{self.minimum:g} to {self.maximum:g}"
            return f"list of numbers, {limits}" if isinstance(self.default, tuple) else limits
        kinds: dict[type, str] = {bool: "true or false", str: "text", int: "whole numbers", float: "numbers"}
        if isinstance(self.default, tuple):
            return f"list of {kinds[type(self.default[0])].removesuffix('s')}s"
        return kinds[type(self.default)]

    @property
    def when(self) -> str:
        """When the parameter may change, as a sentence."""
        if self.start_only:
            return "Fixed when the process starts."
        return "Changes at run time." if self.at_run_time else "Fixed by configure."


def _check_cameras(cameras: Sequence[str]) -> str:
    if not cameras:
        return "cameras is empty: name at least one camera, or use [''] for one camera without a namespace."
    if len(set(cameras)) != len(cameras):
        return f"cameras names a camera twice ({', '.join(map(repr, cameras))}): give each its own namespace."
    bad = [camera for camera in cameras if camera and not _TOPIC.fullmatch(camera)]
    return f"cameras holds {bad[0]!r}, which cannot begin a topic name." if bad else ""


def _check_heads(heads: Sequence[str]) -> str:
    if not heads:
        return "heads is empty: name at least one, such as space_clip."
    if len(set(heads)) != len(heads):
        return f"heads names a head twice ({', '.join(map(repr, heads))})."
    bad = [head for head in heads if "/" in head or not _TOPIC.fullmatch(head)]
    return f"heads holds {bad[0]!r}, which cannot be part of a topic name." if bad else ""


def _check_weights(weights: Sequence[str]) -> str:
    if not weights or (not all(weights) and len(weights) > 1):
        return "weights must name at least one checkpoint file, and no empty one; [''] where no head needs a file."
    return ""


def _check_option(name: str) -> Callable[[Any], str]:
    """Returns the check of one of DepthCLIP's options, which its head makes itself; empty ones are not set."""

    def check(value: Any) -> str:
        if not (any(value) if isinstance(value, (list, tuple)) else value):
            return ""
        from clip_depth_ros.depth.heads.depth_clip import check_options

        try:
            check_options(**{name: value})
        except BadInput as error:
            return str(error)
        return ""

    return check


def _check_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        return f"device is {device!r}: it must be auto, cpu, cuda or cuda:<index>."
    return ""


def _check_encoding(encoding: str) -> str:
    if encoding and encoding not in ENCODINGS:
        return f"encoding_override is {encoding!r}: it must be empty or one of {', '.join(ENCODINGS)}."
    return ""


def _limit(name: str, description: str, maximum: float = 1000.0) -> ParameterSpec:
    """Returns a number that is 0 for no limit and may change at run time."""
    return ParameterSpec(name, 0.0, description, 0.0, maximum, at_run_time=True)


PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "cameras",
        ("",),
        "Namespace of each camera; its topics are <camera>/image, <camera>/depth/image and so on. "
        "[''] is one camera whose topics have no prefix. All cameras share one encode.",
        check=_check_cameras,
    ),
    ParameterSpec(
        "heads",
        ("space_clip",),
        "Depth heads to run on the one encode. The first publishes under depth/ (see main_output), and each, where "
        "there are several, under <head>/depth/.",
        check=_check_heads,
    ),
    ParameterSpec(
        "weights",
        DEMO_WEIGHTS,
        "Checkpoint files (.safetensors): one for each head, and one with the encoder where no head's file "
        "holds it. Paths, or package://clip_depth_ros/... for what comes with the package.",
        check=_check_weights,
    ),
    ParameterSpec(
        "encoder.model",
        "",
        "open_clip model name of the encoder; empty takes the encoder that the checkpoints hold or name.",
    ),
    ParameterSpec(
        "encoder.weights",
        "",
        "Encoder weights: an open_clip pretrained tag (which open_clip may download) or a .safetensors file; "
        "empty takes them from the checkpoints.",
    ),
    ParameterSpec(
        "encoder.input_size",
        (0, 0),
        "Height and width (pixels) that images are resized to for the encoder, multiples of its patch; [0, 0] is the "
        "size it was trained at. Depth heads are best at the size they were trained at.",
        check=input_size_problem,
    ),
    ParameterSpec(
        "encoder.normalisation",
        "",
        "Mean and deviation that images are normalised by: empty for the encoder's own, imagenet for ImageNet's, which "
        "the public code of DepthCLIP and DepthBLIP-2 has. It is for all heads; one trained otherwise gets worse.",
        choices=("", *NORMALISATIONS),
    ),
    ParameterSpec(
        "device",
        "auto",
        "Torch device: auto (a GPU when there is one), cpu, cuda or cuda:<index>.",
        check=_check_device,
    ),
    ParameterSpec(
        "precision",
        "auto",
        "Number format of the network's products: fp32, bf16, bf16_encoder (heads in fp32) or fp16; auto takes fp16 on "
        "a GPU, and on a CPU bf16 where it is measured at the start to be 1.3 times as fast as fp32.",
        choices=PRECISIONS,
    ),
    ParameterSpec(
        "acceleration",
        "auto",
        "How the network is run: eager, compile (torch.compile, in the background) or cuda_graph; auto takes "
        "cuda_graph on a GPU, eager on a CPU. All give the same depth; what fails falls back to eager with a warning.",
        choices=ACCELERATIONS,
    ),
    ParameterSpec(
        "depth_clip.classes",
        ("",),
        "DepthCLIP's class words; [''] takes the checkpoint's, or the published seven.",
        check=_check_option("classes"),
    ),
    ParameterSpec(
        "depth_clip.template",
        "",
        "The sentence around a class word, {class}; empty takes the checkpoint's or 'This object is {class}'.",
        check=_check_option("template"),
    ),
    ParameterSpec(
        "depth_clip.bins",
        (0.0,),
        "Distance (m) that each class word stands for; [0.0] takes the checkpoint's or the published seven.",
        check=_check_option("bins"),
    ),
    ParameterSpec(
        "depth_clip.temperature",
        0.0,
        "Divides DepthCLIP's logits; 0 takes the checkpoint's or the published 0.1.",
        0.0,
        1000.0,
        check=_check_option("temperature"),
    ),
    ParameterSpec(
        "depth_clip.variant",
        "",
        "Patch features that meet the words: attnpool or released (RN50), tokens (vision transformers); empty takes "
        "the checkpoint's or what suits the encoder.",
        check=_check_option("variant"),
    ),
    ParameterSpec(
        "depth_blip2.bins",
        (0.0,),
        "Distance (m) that each prompt of DepthBLIP-2 stands for, for heads with fixed distances; [0.0] takes the "
        "checkpoint's.",
        check=lambda bins: distances_problem("depth_blip2.bins", bins) if any(bins) else "",
    ),
    ParameterSpec(
        "depth_blip2.temperature",
        0.0,
        "Divides DepthBLIP-2's maps before the softmax over the prompts; 0 takes the checkpoint's.",
        0.0,
        1000.0,
    ),
    ParameterSpec(
        "main_output",
        "",
        "The head that publishes under depth/: one of heads; empty is the first of them. With several heads each has "
        "topics of its own too, so that no topic comes or goes with a change, and no frame is lost.",
        at_run_time=True,
    ),
    ParameterSpec(
        "autostart",
        True,
        "Configure and activate when the process starts; false leaves both to a lifecycle manager.",
        start_only=True,
    ),
    ParameterSpec(
        "image_transport",
        "raw",
        "raw subscribes to <camera>/image (Image), compressed to <camera>/image/compressed.",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "encoding_override",
        "",
        "Encoding to read raw images with instead of the one they name, for drivers that name a wrong one; "
        "empty believes the message.",
        at_run_time=True,
        check=_check_encoding,
    ),
    ParameterSpec(
        "depth.encoding",
        "32FC1",
        "Encoding of depth images: 32FC1 (metres, NaN = no reading) or 16UC1 (millimetres, 0 = no reading).",
        choices=("32FC1", "16UC1"),
        at_run_time=True,
    ),
    _limit(
        "depth.minimum",
        "Depth nearer than this (m) is no reading; 0 takes the head's own limit, which this can only narrow.",
    ),
    _limit(
        "depth.maximum",
        "Depth beyond this (m) is no reading; 0 takes the head's own limit, which this can only narrow.",
    ),
    ParameterSpec(
        "rectify",
        False,
        "Undistort each image by its camera_info first; publish depth/image_rect in place of depth/image.",
    ),
    ParameterSpec(
        "points.stride",
        1,
        "Take every n-th row and column (pixels) of the depth image for the cloud.",
        1,
        64,
        at_run_time=True,
    ),
    _limit("points.minimum", "Points nearer than this (m along the optical axis) are left out; 0 is no limit."),
    _limit("points.maximum", "Points beyond this (m along the optical axis) are left out; 0 is no limit."),
    ParameterSpec(
        "points.edge_threshold",
        0.1,
        "Leave out points on both sides of a step between neighbouring pixels larger than this part of their "
        "depth (flying points between an object and the wall behind it); 0 keeps all.",
        0.0,
        10.0,
        at_run_time=True,
    ),
    ParameterSpec(
        "points.organised",
        True,
        "Publish the cloud as rows and columns of the image, NaN where there is no point; false lists the points only.",
        at_run_time=True,
    ),
    ParameterSpec(
        "max_rate",
        (0.0,),
        "Most images a second (Hz) taken from a camera: one number for all cameras, or one for each in their order; "
        "0 takes all the node keeps up with.",
        0.0,
        1000.0,
        at_run_time=True,
    ),
    ParameterSpec(
        "diagnostics.period",
        1.0,
        "Time between two messages on /diagnostics (s).",
        0.1,
        60.0,
        at_run_time=True,
    ),
    ParameterSpec(
        "diagnostics.timeout",
        3.0,
        "A camera without an image for this long (s) is reported, with the likely reason.",
        0.1,
        600.0,
        at_run_time=True,
    ),
)
BY_NAME = {spec.name: spec for spec in PARAMETERS}


def coerce(spec: ParameterSpec, parameter: Parameter) -> Parameter:
    """Returns ``parameter`` with its value in the type of ``spec``: ``10`` for rates in Hz becomes ``[10.0]``.

    Raises:
        BadInput: the value is of another type.
    """
    expected = Parameter.Type.from_parameter_value(spec.default)
    if parameter.type_ == expected:
        return parameter
    if expected == Parameter.Type.DOUBLE and parameter.type_ == Parameter.Type.INTEGER:
        return Parameter(parameter.name, expected, float(parameter.value))
    if expected == Parameter.Type.DOUBLE_ARRAY and parameter.type_ == Parameter.Type.INTEGER_ARRAY:
        return Parameter(parameter.name, expected, [float(value) for value in parameter.value])
    if expected == Parameter.Type.DOUBLE_ARRAY and parameter.type_ in (Parameter.Type.DOUBLE, Parameter.Type.INTEGER):
        return Parameter(parameter.name, expected, [float(parameter.value)])
    raise BadInput(
        f"Parameter {spec.name} is {parameter.value!r} of type {parameter.type_.name}: "
        f"give it a value of type {expected.name}."
    )


def problem(values: Mapping[str, Any]) -> str:
    """Returns what is wrong with all parameter values by name, as one sentence, or an empty string."""
    for name, value in values.items():
        if reason := BY_NAME[name].problem(value):
            return reason
    if values["main_output"] and values["main_output"] not in values["heads"]:
        return f"main_output is {values['main_output']!r}: it must be one of heads, {', '.join(values['heads'])}."
    rates, cameras = values["max_rate"], values["cameras"]
    if len(rates) not in (1, len(cameras)):
        return (
            f"max_rate holds {len(rates)} numbers and cameras {len(cameras)} names: give one rate for all cameras or "
            "one for each, in their order; where both change, set both in one request."
        )
    for group in ("depth", "points"):
        low, high = values[f"{group}.minimum"], values[f"{group}.maximum"]
        if high and low >= high:
            return (
                f"{group}.minimum ({low:g} m) is not below {group}.maximum ({high:g} m): "
                "change both in one request to move the range."
            )
    return ""


def parameter_table() -> str:
    """Returns the parameters as a Markdown table; the README's is tested to be this one."""
    lines = ["| parameter | default | accepted | at run time | meaning |", "|---|---|---|---|---|"]
    for spec in PARAMETERS:
        cells = [
            f"`{spec.name}`",
            f"`{_yaml(spec.default)}`",
            spec.accepted,
            "yes" if spec.at_run_time else "no",
        ]
        meaning = spec.description.replace("<", "&lt;").replace("|", "\\|")
        lines.append(f"| {' | '.join(cells)} | {meaning} |")
    return "\n".join(lines) + "\n"


def parameter_yaml() -> str:
    """Returns config/clip_depth.yaml: every parameter with its default and meaning."""
    lines = [
        "# Every parameter of the clip_depth node with its default. Copy this file and keep what you change.",
        "# Fixed by configure: read when the node is configured; to change it, clean the node up first.",
        "# The QoS of each topic is a parameter too, for example:",
        "#   qos_overrides: {/depth/points: {publisher: {reliability: best_effort}}}",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for spec in PARAMETERS:
        prefix, _, last = spec.name.rpartition(".")
        if prefix and prefix != group:
            lines.append(f"    {prefix}:")
        group = prefix
        indent = "      " if prefix else "    "
        text = f"{spec.description} Accepts: {spec.accepted}. {spec.when}"
        lines += textwrap.wrap(text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines.append(f"{indent}{last}: {_yaml(spec.default)}")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """Returns a value as ROS parameter YAML in one line."""
    # JSON is YAML; rcl's parser tells 0.0 (double) from 0 (integer) as Python's JSON writer does.
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple, array)) else value  # rclpy has arrays for numbers
