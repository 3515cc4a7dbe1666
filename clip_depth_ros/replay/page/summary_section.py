"""The top of the page: what was replayed, the verdict, and the figures that matter most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.tables import pairs
from clip_depth_ros.replay.page.text import (
    DASH,
    METRICS,
    TIMES,
    at,
    count,
    entries,
    figure,
    number,
    percent,
    plural,
    run_key,
    short,
    with_unit,
)
from clip_depth_ros.replay.page.verdict import best_live_run, constant_name, notices, verdict


def header(report: Mapping[str, Any]) -> Markup:
    """Returns title, verdict, notices and the main figures."""
    found = verdict(report)
    kind = {"live": "live", "offline": "offline"}.get(str(at(report, "kind")), "")
    warnings = [tag("p", text, class_="notice") for text in notices(report)]
    runs = entries(at(report, "runs"))
    return tag(
        "header",
        tag("p", " · ".join(part for part in ("Replay report", kind) if part), class_="eyebrow"),
        tag("h1", at(report, "title") or at(report, "bag", "name") or "Replay"),
        tag("p", _about(report), class_="about"),
        tag("div", warnings, role="note") if warnings else None,
        tag(
            "section",
            tag("h2", found.headline),
            tag("p", _unbroken(found.sentences[0]), class_="lead") if found.sentences else None,
            tag("ul", [tag("li", _unbroken(sentence)) for sentence in found.sentences[1:]]),
            class_=f"verdict {found.level}",
            aria_label="Verdict",
        ),
        _tiles(report, runs[0] if runs else None),
    )


def recording_section(report: Mapping[str, Any]) -> Markup:
    """Returns what the bag holds and how images and truth were matched."""
    bag = at(report, "bag")
    size = entries(at(bag, "image_size"))
    values = {
        "Recording": at(bag, "name"),
        "Length": with_unit(number(at(bag, "duration_s"), 1), "s"),
        "Images": f"{count(at(bag, 'images'))} of {TIMES.join(count(one) for one in size) or DASH} pixels",
        "Image topic": at(bag, "image_topic"),
        "Calibration topic": at(bag, "camera_info_topic") or "none",
        "Truth topic": at(bag, "truth_topic") or "none",
        "Kind of truth": at(bag, "truth_kind"),
    }
    return tag("div", pairs(values, ""), _matching(at(report, "matching")), class_="columns")


def provenance_section(report: Mapping[str, Any]) -> Markup:
    """Returns the settings of the run and what the weights say about themselves."""
    settings = join((tag("h3", "Settings"), pairs(at(report, "settings"), "No settings were noted.")))
    weights = join((tag("h3", "Weights"), pairs(at(report, "provenance"), "The weights say nothing about themselves.")))
    return tag("div", tag("div", settings), tag("div", weights), class_="columns")


def glossary() -> Markup:
    """Returns what the numbers mean."""
    rows = {metric.label: metric.meaning for metric in METRICS}
    rows["Median-scaled"] = "each image multiplied by median(truth) / median(prediction) first: shape without scale"
    rows["Constant"] = "one depth for every pixel, the median of this recording's truth: what a useful depth must beat"
    rows["Scale"] = "median(prediction) / median(truth) of an image: 1 is right, below 1 too near"
    rows["Flicker"] = "mean |log(depth / depth before)| of pixels that do not move: 0.01 is a change of 1 % an image"
    return tag("details", tag("summary", "What the numbers mean"), pairs(rows, ""))


def _about(report: Mapping[str, Any]) -> str:
    bag = at(report, "bag")
    size = entries(at(bag, "image_size"))
    parts = [
        str(at(bag, "name") or ""),
        plural(at(bag, "images"), "image"),
        TIMES.join(count(one) for one in size),
        with_unit(number(at(bag, "duration_s"), 1), "s"),
        str(at(report, "created") or "").replace("T", " ").replace("Z", " UTC"),
    ]
    return " · ".join(part for part in parts if part and part != DASH)


def _unbroken(text: str) -> str:
    """Returns the text with every number and its unit on one line."""
    return re.sub(r"(?<=\d) (?=(%|ms|Hz|m|s)(\W|$))", "\u00a0", text)


def _matching(matching: Any) -> Markup:
    if not isinstance(matching, Mapping):
        return tag("p", "Nothing was matched: there is no ground truth.", class_="empty")
    values = {
        "Images": count(at(matching, "images")),
        "Truths": count(at(matching, "truths")),
        "Matched": count(at(matching, "matched")),
        "Tolerance": with_unit(short(_thousand(at(matching, "tolerance_s"))), "ms between header stamps"),
    }
    notes = [tag("li", note) for note in entries(at(matching, "notes"))]
    return tag("div", pairs(values, ""), tag("ul", notes, class_="notes") if notes else None)


def _thousand(value: Any) -> float | None:
    found = figure(value)
    return None if found is None else 1000 * found


def _tiles(report: Mapping[str, Any], run: Any) -> Markup:
    accuracy, live = at(run, "accuracy"), at(report, "live")
    tiles = []
    if isinstance(accuracy, Mapping):
        tiles += [_abs_rel(accuracy), _within(accuracy)]
    fastest = best_live_run(live)
    if fastest is not None:
        highest = short(at(live, "highest_rate_hz"))
        tiles.append(_tile("Highest rate without a drop", highest, "of the tested rates", "Hz"))
        p50, p99 = (short(at(fastest, "latency_ms", name)) for name in ("p50", "p99"))
        below = f"p99 {with_unit(p99, 'ms')}, at {short(at(fastest, 'offered_hz'))} Hz"
        tiles.append(_tile("Latency, p50", p50, below, "ms"))
    elif isinstance(at(run, "speed"), Mapping):
        batch = count(at(run, "speed", "batch"))
        tiles.append(_tile("Offline speed", short(at(run, "speed", "frames_per_s")), f"batch {batch}", "images/s"))
    if isinstance(at(report, "matching"), Mapping):
        matched, images = at(report, "matching", "matched"), at(report, "matching", "images")
        tiles.append(_tile("Images with ground truth", count(matched), f"of {count(images)}"))
    elif run is not None:
        tiles.append(_tile("Images processed", count(len(entries(at(run, "frames", "t_s")))), run_key(run)))
    if not tiles:
        return Markup("")
    label = f"Main figures of {run_key(run)}" if run is not None else "Main figures"
    return tag("div", tiles, class_="figures", role="group", aria_label=label)


def _abs_rel(accuracy: Mapping[str, Any]) -> Markup:
    """Returns the metric beside median-scaled and beside the constant, as bars on one scale."""
    lines = (
        ("metric", "metric", at(accuracy, "metric", "abs_rel")),
        (constant_name(accuracy), "constant", at(accuracy, "constant", "metric", "abs_rel")),
        ("median-scaled", "scaled", at(accuracy, "median_scaled", "abs_rel")),
        ("constant, median-scaled", "constant", at(accuracy, "constant", "median_scaled", "abs_rel")),
    )
    most = max([figure(value) or 0.0 for _, _, value in lines]) or 1.0
    drawn = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", number(value)),
            tag(
                "svg",
                tag("rect", class_=f"bar {style}", width=f"{100 * (figure(value) or 0.0) / most:.1f}%", height="100%"),
                aria_hidden="true",
            ),
        )
        for name, style, value in lines
    ]
    main = tag("p", number(lines[0][2]), class_="big")
    return tag(
        "div", tag("p", "AbsRel, lower is better", class_="what"), main, tag("dl", drawn), class_="figure wide-figure"
    )


def _within(accuracy: Mapping[str, Any]) -> Markup:
    scaled = percent(at(accuracy, "median_scaled", "a1"))
    flat = percent(at(accuracy, "constant", "metric", "a1"))
    below = f"median-scaled {scaled}, constant {flat}"
    return _tile("Pixels within a factor of 1.25 (δ1)", percent(at(accuracy, "metric", "a1")), below)


def _tile(what: str, value: str, below: str, unit: str = "") -> Markup:
    return tag(
        "div",
        tag("p", what, class_="what"),
        tag("p", value, tag("small", unit) if unit and value != DASH else None, class_="big"),
        tag("p", below, class_="below"),
        class_="figure",
    )
