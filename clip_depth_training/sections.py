"""From YAML values to dataclasses, with one sentence for whatever does not fit."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from clip_depth_ros.errors import BadInput

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Returns the dataclass ``kind`` from the mapping ``values`` of the file (or section) ``where``.

    Raises:
        BadInput: an unknown key (the nearest known one is suggested), a missing one, or a value of another type.
    """
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(known)}."
            raise BadInput(f"{where} has an unknown key {key!r}: {hint}")
        arguments[key] = convert(hints[key], value, f"{key} of {where}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise BadInput(f"{where} is incomplete ({error}).") from error


def convert(hint: Any, value: Any, where: str) -> Any:
    """Returns a YAML value as the type a dataclass field asks for.

    Raises:
        BadInput: it is of another type.
    """
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise BadInput(f"{where} is {value!r}, but must be a section of keys and values.")
        return build(hint, value, where)  # type: ignore[arg-type]
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else convert(next(part for part in parts if part is not type(None)), value, where)
    if origin is tuple:
        many = len(parts) == 2 and parts[1] is Ellipsis
        if not isinstance(value, list | tuple) or not (many or len(value) == len(parts)):
            count = "" if many else f"{len(parts)} "
            raise BadInput(f"{where} is {value!r}, but must be a list of {count}values.")
        return tuple(
            convert(part, entry, where) for part, entry in zip([parts[0]] * len(value) if many else parts, value)
        )
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint not in (int, float, str, bool, Path):
        return value
    if hint is str and value is None:  # `key:` with nothing after it
        return ""
    suits = isinstance(value, bool) if hint is bool else not isinstance(value, bool) or hint is str
    try:
        converted = hint(value) if suits and value is not None else None
    except (TypeError, ValueError):
        converted = None
    if converted is None or (hint is int and converted != float(value)):
        raise BadInput(f"{where} is {value!r}, but must be {hint.__name__}.")
    return converted


def overridden(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Returns nested ``values`` with ``key.key=value`` changes; values are YAML.

    Raises:
        BadInput: a change of another form.
    """
    result = dict(values)
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not path:
            raise BadInput(f"--set {change} is not of the form key=value or section.key=value.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {change} has a value that is not YAML ({' '.join(str(error).split())}).") from error
        *sections, key = path.split(".")
        inner = result
        for section in sections:
            entry = inner.get(section, {})
            if not isinstance(entry, Mapping):
                raise BadInput(f"--set {change}: {section} is a value of the recipe, not a section.")
            inner[section] = dict(entry)
            inner = inner[section]
        inner[key] = value
    return result
