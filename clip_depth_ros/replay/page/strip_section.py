"""The strip of frames: picture, depth, truth and error of one moment, and a slider over time."""

from __future__ import annotations

from typing import Any

from clip_depth_ros.depth.pictures import LARGEST_ERROR
from clip_depth_ros.replay.page.markup import Markup, tag
from clip_depth_ros.replay.page.pictures import StripPictures
from clip_depth_ros.replay.page.text import percent, short

_TILES = (("rgb", "Picture"), ("depth", "Predicted depth"), ("truth", "Ground truth"), ("error", "Relative error"))
_CHANGED = "The picture is shown as it was recorded; under another condition the network saw it changed."
_SPARSE = "Few pixels have ground truth: it and the error are drawn three pixels wide."


def strip_section(pictures: StripPictures) -> Markup:
    """Returns the first frame and the controls; the page's script shows the others."""
    if not pictures.frames:
        return tag("p", "No frame was kept to look at.", class_="empty")
    first = pictures.frames[0]
    chosen = first["depths"].get(pictures.keys[0], {}) if pictures.keys else {}
    shown = {"rgb": first["rgb"], "truth": first["truth"], **chosen}
    truth = any(frame["truth"] for frame in pictures.frames)
    tiles = [
        _tile(name, title, shown.get(name), pictures.size)
        for name, title in _TILES
        if truth or name in ("rgb", "depth")
    ]
    return tag(
        "div",
        _controls(pictures),
        tag("div", tiles, class_=f"tiles of-{len(tiles)}"),
        tag("p", "Point at a picture to read its depth.", id="strip-reading", class_="reading"),
        tag("div", _legends(pictures, truth), class_="ramps"),
        tag("p", _SPARSE, class_="caption") if pictures.sparse else None,
        tag("p", _CHANGED, class_="caption") if any(", " in key for key in pictures.keys) else None,
        class_="strip",
        id="strip",
    )


def payload(pictures: StripPictures) -> dict[str, Any]:
    """Returns what the page's script needs of the strip."""
    return {
        "frames": pictures.frames,
        "keys": pictures.keys,
        "near": pictures.near,
        "far": pictures.far,
        "palette": pictures.palette,
    }


def _controls(pictures: StripPictures) -> Markup:
    last = len(pictures.frames) - 1
    slider = tag(
        "input",
        type="range",
        id="moment",
        min="0",
        max=str(last),
        value="0",
        step="1",
        autocomplete="off",
        disabled=last == 0,
    )
    options = [tag("option", key, value=key) for key in pictures.keys]
    chooser = tag("label", "Depth of ", tag("select", options, id="strip-key", autocomplete="off"), class_="chooser")
    moment = f"{pictures.frames[0]['t']:.2f} s"
    return tag(
        "div",
        chooser if len(options) > 1 else None,
        tag(
            "div",
            tag("button", "Play", type="button", id="play", aria_pressed="false", disabled=last == 0),
            tag("label", "Time", for_="moment"),
            slider,
            tag("output", moment, id="moment-text", for_="moment"),
            class_="slider",
        ),
        class_="controls",
    )


def _tile(name: str, title: str, source: str | None, size: tuple[int, int]) -> Markup:
    picture = tag(
        "img",
        src=source,
        alt=f"{title}, first frame" if source else "",
        id=f"tile-{name}",
        width=str(size[0]),
        height=str(size[1]),
        hidden=source is None,
        draggable="false",
    )
    none = tag("span", "none at this moment", class_="none", hidden=source is not None)
    cross = tag("span", class_="cross", hidden=True)
    return tag("figure", tag("figcaption", title), tag("div", picture, none, cross, class_="picture"), data_tile=name)


def _legends(pictures: StripPictures, truth: bool) -> list[Markup]:
    near, far = pictures.near, pictures.far
    ticks = [f"{short(near + part * (far - near), 2)} m" for part in (0, 0.25, 0.5, 0.75, 1)]
    ticks[0], ticks[-1] = f"≤ {ticks[0]}", f"≥ {ticks[-1]}"
    what = "Depth and ground truth" if truth else "Depth"
    found = [_ramp(what, pictures.palette[::2], ticks)]
    if truth:
        parts = [f"{LARGEST_ERROR * part / 4:.1%}".replace(".0%", "%").replace("%", " %") for part in range(5)]
        parts[-1] = f"≥ {percent(LARGEST_ERROR)}"
        found.append(_ramp("Error |predicted - true| / true", pictures.error_palette, parts))
    found.append(tag("p", tag("i", class_="swatch hatch"), "no reading", class_="no-reading"))
    return found


def _ramp(title: str, colours: list[str], ticks: list[str]) -> Markup:
    steps = [
        tag("rect", x=str(index), width="1.1", height="1", fill=f"#{colour}") for index, colour in enumerate(colours)
    ]
    picture = tag(
        "svg",
        steps,
        viewBox=f"0 0 {len(colours)} 1",
        preserveAspectRatio="none",
        shape_rendering="crispEdges",
        aria_hidden="true",
    )
    names = tag("span", [tag("span", text) for text in ticks], class_="ramp-ticks")
    return tag("div", tag("span", title, class_="ramp-title"), picture, names, class_="ramp")
