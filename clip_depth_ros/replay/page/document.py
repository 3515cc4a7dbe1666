"""The page as one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_depth_ros import __version__
from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.plain import script_json
from clip_depth_ros.replay.page.strip import StripFrame
from clip_depth_ros.replay.page.text import at, entries, run_key

_SCRIPT, _STYLE = "page.js", "page.css"


def report_page(report: Mapping[str, Any], strip: Sequence[StripFrame]) -> str:
    """Returns ``report.html`` of a plain report (no NaN, Python's own numbers)."""
    from clip_depth_ros.replay.page.accuracy_section import accuracy_section, time_section
    from clip_depth_ros.replay.page.live_section import speed_section
    from clip_depth_ros.replay.page.pictures import strip_pictures
    from clip_depth_ros.replay.page.strip_section import payload, strip_section
    from clip_depth_ros.replay.page.summary_section import glossary, header, provenance_section, recording_section

    pictures = strip_pictures(strip)
    runs = entries(at(report, "runs"))
    sections = (
        ("frames", "Frames", strip_section(pictures)),
        ("accuracy", "Accuracy", accuracy_section(report)),
        ("time", "Over time", time_section(report)),
        ("speed", "Speed and latency", speed_section(report)),
        ("recording", "Recording", recording_section(report)),
        ("settings", "Settings", join((provenance_section(report), glossary()))),
    )
    body = join((header(report), _top_bar(sections, runs), *(section(*one) for one in sections)))
    data = {"strip": payload(pictures), "runs": [run_key(run) for run in runs]}
    return page(f"{at(report, 'title') or 'Replay'}: replay report", body, data)


def page(title: str, body: Markup, data: Any) -> str:
    """Returns a whole page in the project's look; ``data`` (plain) is what its script gets."""
    script, style = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in (_SCRIPT, _STYLE))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    foot = tag("footer", f"clip_depth_ros {__version__}. This file is complete: it loads nothing from anywhere.")
    no_script = tag("noscript", tag("p", "The slider and the choosers need JavaScript.", class_="notice"))
    embedded = tag("script", Markup(script_json(data)), type="application/json", id="data")
    content = tag("body", tag("main", no_script, body), foot, embedded, tag("script", Markup(script)))
    return f"<!doctype html>\n{tag('html', head, content, lang='en')}\n"


def section(name: str, title: str, content: Markup) -> Markup:
    """Returns a part of the page with its heading."""
    return tag("section", tag("h2", title, id=f"{name}-title"), content, id=name, aria_labelledby=f"{name}-title")


def _top_bar(sections: Sequence[tuple[str, str, Markup]], runs: Sequence[Any]) -> Markup:
    links = tag(
        "nav", [tag("a", title, href=f"#{name}") for name, title, _ in sections], aria_label="Parts of the page"
    )
    options = [tag("option", run_key(run), value=str(index)) for index, run in enumerate(runs)]
    select = tag("select", options, id="run", autocomplete="off")
    chooser = tag("label", tag("span", "Head and condition "), select, class_="chooser") if len(options) > 1 else None
    return tag("div", links, chooser, class_="top-bar")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
