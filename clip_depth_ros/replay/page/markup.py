"""HTML and SVG elements whose text is always escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

_VOID = {"br", "col", "img", "input", "link", "meta"}


class Markup(str):
    """Text that is HTML already; every other ``str`` is escaped on its way into an element."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Returns one element.

    Args:
        name: of the element.
        children: text (escaped), :class:`Markup` (as it is), numbers, None (left out), or lists of these.
        attributes: ``class_`` is written ``class`` and ``aria_label`` ``aria-label``; True stands for an attribute
            without a value, None and False leave it out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """Returns children, as :func:`tag` takes them, behind each other."""
    return Markup("".join(_child(child) for child in children))


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'


def _child(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, list | tuple):
        return join(child)
    return html.escape(str(child), quote=True)
