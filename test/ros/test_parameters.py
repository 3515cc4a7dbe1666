"""The table of parameters: what it says, what it accepts, and the file made from it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.parameter import Parameter

from clip_depth_ros.depth.config import EstimatorConfig, read_parameters
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import ENCODINGS
from clip_depth_ros.resources import share_path
from clip_depth_ros.ros.parameters import (
    BY_NAME,
    PARAMETERS,
    Settings,
    coerce,
    parameter_table,
    parameter_yaml,
    problem,
)

DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}


def test_the_shipped_file_is_the_table() -> None:
    assert share_path("config/clip_depth.yaml").read_text(encoding="utf-8") == parameter_yaml()


def test_the_shipped_file_holds_every_default(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(parameter_yaml(), encoding="utf-8")
    loaded = read_parameters(path)
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in loaded.items()} == DEFAULTS
    # ROS tells 0.0 from 0 by how it is written.
    assert {name: type(value) for name, value in loaded.items()} == {
        name: list if isinstance(value, tuple) else type(value) for name, value in DEFAULTS.items()
    }


def test_the_demo_file_names_only_parameters_there_are() -> None:
    loaded = read_parameters(share_path("config/demo.yaml"))
    assert set(loaded) <= set(BY_NAME)
    values = {**DEFAULTS, **loaded}
    assert problem(values) == ""
    assert Settings.from_values(values).estimator == EstimatorConfig.from_yaml(
        "package://clip_depth_ros/config/demo.yaml"
    )
    assert yaml.safe_load(share_path("config/demo.yaml").read_text(encoding="utf-8")).keys() == {"/**"}


def test_settings_have_a_field_for_each_parameter() -> None:
    assert [field.name for field in fields(Settings)] == [spec.name.replace(".", "_") for spec in PARAMETERS]
    assert Settings.defaults().estimator == EstimatorConfig()


def test_the_table_for_the_readme_has_a_row_for_each_parameter() -> None:
    rows = parameter_table().splitlines()[2:]
    assert [row.split("|")[1].strip(" `") for row in rows] == list(BY_NAME)
    assert all(row.count("|") == 6 for row in rows)


def test_defaults_are_accepted() -> None:
    assert problem(DEFAULTS) == ""


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cameras", (), "cameras is empty"),
        ("cameras", ("a", "a"), "twice"),
        ("cameras", ("9front",), "'9front', which cannot begin a topic name"),
        ("cameras", ("front/",), "cannot begin a topic name"),
        ("heads", (), "heads is empty"),
        ("heads", ("space_clip", "space_clip"), "twice"),
        ("heads", ("a/b",), "cannot be part of a topic name"),
        ("weights", (), "at least one checkpoint file"),
        ("weights", ("a", ""), "at least one checkpoint file"),
        ("encoder.input_size", (224,), "give height and width in pixels"),
        ("encoder.input_size", (224, 0), "give height and width in pixels"),
        ("encoder.normalisation", "moon", "encoder.normalisation is 'moon': it must be one of '', 'imagenet'"),
        ("main_output", "moa", "main_output is 'moa': it must be one of heads, space_clip"),
        ("depth_clip.classes", ("near", ""), "class word"),
        ("depth_clip.template", "no place", "{class}"),
        ("depth_clip.bins", (1.0, -2.0), "distances in metres"),
        ("depth_clip.temperature", 1e-9, "from 0.001 to 1000"),
        ("depth_clip.variant", "best", "attnpool, released, tokens"),
        ("depth_blip2.bins", (1.0,), "depth_blip2.bins is [1.0]: give at least two distances"),
        ("depth_blip2.temperature", -0.5, "from 0 to 1000"),
        ("device", "tpu", "device is 'tpu'"),
        ("precision", "int3", "must be one of 'auto', 'fp32'"),
        ("image_transport", "theora", "must be one of 'raw', 'compressed'"),
        ("encoding_override", "rgb9", "encoding_override is 'rgb9'"),
        ("depth.encoding", "64FC1", "must be one of '32FC1', '16UC1'"),
        ("points.stride", 0, "from 1 to 64"),
        ("points.stride", 65, "from 1 to 64"),
        ("max_rate", (-1.0,), "max_rate holds -1.0: each must be from 0 to 1000"),
        ("max_rate", (float("nan"),), "from 0 to 1000"),
        ("max_rate", (), "max_rate holds 0 numbers and cameras 1 names"),
        ("max_rate", (5.0, 5.0), "one rate for all cameras or one for each, in their order"),
        ("diagnostics.period", 0.0, "from 0.1 to 60"),
    ],
)
def test_what_is_rejected_and_why(name: str, value: Any, reason: str) -> None:
    assert reason in problem({**DEFAULTS, name: value})


@pytest.mark.parametrize("group", ["depth", "points"])
def test_an_empty_range_is_rejected(group: str) -> None:
    values = {**DEFAULTS, f"{group}.minimum": 3.0, f"{group}.maximum": 2.0}
    assert f"{group}.minimum (3 m) is not below {group}.maximum (2 m)" in problem(values)
    assert problem({**values, f"{group}.maximum": 0.0}) == ""


def test_rates_are_one_for_all_cameras_or_one_for_each() -> None:
    values = {**DEFAULTS, "cameras": ("front", "left", "rear")}
    for rates, of_left in (((15.0,), 15.0), ((15.0, 5.0, 0.0), 5.0)):
        assert problem({**values, "max_rate": rates}) == ""
        assert Settings.from_values({**values, "max_rate": rates}).max_rate_of("left") == of_left
    assert "max_rate holds 2 numbers and cameras 3 names" in problem({**values, "max_rate": (15.0, 5.0)})
    assert "each must be from 0 to 1000" in problem({**values, "max_rate": (15.0, 5.0, 2000.0)})


def test_every_encoding_may_be_named() -> None:
    assert [problem({**DEFAULTS, "encoding_override": encoding}) for encoding in ENCODINGS] == [""] * len(ENCODINGS)


def test_whole_numbers_do_for_rates_one_number_for_a_list_of_them_and_nothing_else_is_guessed() -> None:
    for value, expected in ((10, [10.0]), (2.5, [2.5]), ([10, 20], [10.0, 20.0])):
        coerced = coerce(BY_NAME["max_rate"], Parameter("max_rate", value=value))
        assert (coerced.type_, list(coerced.value)) == (Parameter.Type.DOUBLE_ARRAY, expected)
    coerced = coerce(BY_NAME["diagnostics.period"], Parameter("diagnostics.period", value=2))
    assert (coerced.type_, coerced.value) == (Parameter.Type.DOUBLE, 2.0)
    for name, value in (("max_rate", "10"), ("points.stride", 2.0), ("rectify", 1), ("cameras", "front")):
        with pytest.raises(BadInput, match=f"Parameter {name} is .* give it a value of type"):
            coerce(BY_NAME[name], Parameter(name, value=value))


def test_descriptors_carry_description_and_range() -> None:
    for spec in PARAMETERS:
        descriptor = spec.descriptor()
        assert descriptor.description.endswith(".")
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert [(item.from_value, item.to_value) for item in ranges] == (
            [] if spec.minimum is None else [(spec.minimum, spec.maximum)]
        )
