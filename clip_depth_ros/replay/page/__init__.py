"""A replay's report: ``report.html`` to look at, ``report.json`` for programs, ``report.md`` for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_depth_ros.files import replacing
from clip_depth_ros.replay.page.markdown import markdown
from clip_depth_ros.replay.page.plain import as_json, plain
from clip_depth_ros.replay.page.strip import StripFrame

__all__ = ["StripFrame", "markdown", "write_report"]


def write_report(folder: Path, report: Mapping[str, Any], strip: Sequence[StripFrame]) -> list[Path]:
    """Writes ``report.html``, ``report.json`` and ``report.md``.

    Args:
        folder: where to; made if it is missing.
        report: what was measured, as ``report.json`` holds it; numbers that are not finite become null.
        strip: moments to look at, in time order; some forty are plenty.

    Returns:
        The files.

    Raises:
        BadInput: a file cannot be written.
    """
    from clip_depth_ros.replay.page.document import report_page

    content = plain(report)
    texts = {
        "report.html": report_page(content, strip),
        "report.json": as_json(content),
        "report.md": markdown(content),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
