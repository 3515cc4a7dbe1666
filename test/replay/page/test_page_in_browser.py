"""The pages in a real browser, as a reader has them: pictures, slider, choosers, light and dark, a phone."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from clip_depth_ros.replay.compare import compare, read_reports, write_comparison
from clip_depth_ros.replay.page import write_report

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --lang=en"
)
PICTURES = "return [...document.querySelectorAll('[data-tile] img:not([hidden])')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'clip_depth_ros[test]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver: on Debian, apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as found:
        yield found


@pytest.fixture
def open_page(browser):
    def open_(path, width: int = 1200, dark: bool = False):
        emulate = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", emulate)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get_log("browser")
        browser.get(path.as_uri())
        return browser

    yield open_
    assert browser.get_log("browser") == [], "the console stays empty"


@pytest.fixture
def page(tmp_path, live_report, frames):
    return write_report(tmp_path, live_report, frames(5))[0]


def _screenshot(browser) -> np.ndarray:
    data = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _sources(browser) -> list[str]:
    return browser.execute_script(f"{PICTURES}.map((one) => one.src)")


def _pixels(browser, tile: str) -> list[int]:
    """Returns the mean colour of what a tile's picture shows, decoded by the browser."""
    return browser.execute_async_script(
        "const done = arguments[1], one = document.getElementById(`tile-${arguments[0]}`);"
        "one.decode().then(() => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 8;"
        "const pen = canvas.getContext('2d'); pen.drawImage(one, 0, 0, 8, 8);"
        "done([...pen.getImageData(0, 0, 8, 8).data]); });",
        tile,
    )


def _set(browser, name: str, value: str, event: str) -> None:
    browser.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event(arguments[2], { bubbles: true }));",
        name,
        value,
        event,
    )


def test_pictures_load(open_page, page):
    browser = open_page(page)
    sizes = browser.execute_async_script(
        f"const done = arguments[0]; const all = (() => {{ {PICTURES} }})();"
        "Promise.all(all.map((one) => one.decode())).then(() => done(all.map((one) => one.naturalWidth)));"
    )
    assert sizes == [64] * 4


def test_the_slider_changes_the_pictures(open_page, page):
    browser = open_page(page)
    before, shown = _sources(browser), {tile: _pixels(browser, tile) for tile in ("rgb", "depth", "truth", "error")}
    slider = browser.find_element("id", "moment")
    slider.send_keys("\ue014")  # right arrow
    assert slider.get_property("value") == "1"
    assert browser.find_element("id", "moment-text").text == "0.50 s (2 of 5)"
    after = _sources(browser)
    assert all(old != new for old, new in zip(before[:3], after[:3])), "picture, depth and truth move"
    for tile in ("rgb", "depth", "truth"):
        assert _pixels(browser, tile) != shown[tile], tile
    assert browser.find_element("id", "tile-rgb").get_attribute("alt") == "Picture at 0.50 s"
    marks = browser.find_elements("css selector", "#time [data-run='0'] .moment.shown")
    assert [mark.get_attribute("x1") for mark in marks] == ["50%"] * 3, "half way through the charts"


def test_arrow_keys_work_outside_of_the_slider(open_page, page):
    browser = open_page(page)
    body = browser.find_element("tag name", "body")
    body.send_keys("\ue014\ue014\ue012")  # right, right, left
    assert browser.find_element("id", "moment").get_property("value") == "1"


def test_play_runs_to_the_end(open_page, page):
    browser = open_page(page)
    button = browser.find_element("id", "play")
    button.click()
    assert button.text == "Pause"
    browser.set_script_timeout(20)
    browser.execute_async_script(
        "const done = arguments[0]; const wait = () => "
        "document.getElementById('play').textContent === 'Play' ? done() : setTimeout(wait, 50); wait();"
    )
    assert browser.find_element("id", "moment").get_property("value") == "4"


def test_choosing_a_condition_changes_strip_and_figures(open_page, page):
    browser = open_page(page)
    before = _sources(browser)
    _set(browser, "run", "1", "change")
    after = _sources(browser)
    assert [old == new for old, new in zip(before, after)] == [True, False, True, False], "depth and error"
    assert browser.find_element("id", "strip-key").get_property("value") == "space_clip, dark"
    shown = browser.find_elements("css selector", "[data-run]:not([hidden])")
    assert {panel.get_attribute("data-run") for panel in shown} == {"1"}
    _set(browser, "strip-key", "space_clip", "change")
    assert browser.find_element("id", "run").get_property("value") == "0"
    assert _sources(browser) == before


def test_choosing_a_rate_changes_the_histogram(open_page, page):
    browser = open_page(page)
    _set(browser, "rate", "2", "change")
    shown = browser.find_elements("css selector", "[data-rate]:not([hidden])")
    assert [panel.get_attribute("data-rate") for panel in shown] == ["2"]
    assert "as fast as taken" in shown[0].text


def test_pointing_at_a_picture_reads_its_depth(open_page, page):
    browser = open_page(page)
    _set(browser, "run", "1", "change")
    text = browser.execute_async_script(
        "const done = arguments[0], picture = document.getElementById('tile-depth').parentElement;"
        "const box = picture.getBoundingClientRect(), line = document.getElementById('strip-reading');"
        "new MutationObserver(() => done(line.textContent)).observe(line, { childList: true });"
        "picture.dispatchEvent(new PointerEvent('pointermove', "
        "{ clientX: box.left + (32.5 / 64) * box.width, clientY: box.top + box.height / 2 }));"
    )
    truth = 1 + 4 * 32 / 63
    predicted, true = (float(part.split()[1]) for part in text.split(" · ")[:2])
    assert abs(true - truth) < 0.02
    assert abs(predicted - 1.2 * truth) < 0.02
    assert text.endswith("20 % too far")


def test_light_and_dark_differ_and_neither_is_blank(open_page, page):
    light, dark = (_screenshot(open_page(page, dark=dark)) for dark in (False, True))
    assert light[:40].mean() > 200
    assert dark[:40].mean() < 60
    assert light.std() > 10
    assert dark.std() > 10


@pytest.mark.parametrize("width", [360, 768, 1200])
@pytest.mark.parametrize("head", ["space_clip", "a_head_with_a_very_long_name_" * 3])
def test_nothing_is_wider_than_the_screen(open_page, tmp_path, live_report, frames, head, width):
    for run in live_report["runs"]:
        run["head"] = head
    live_report["bag"]["truth_topic"] = live_report["title"] = f"/{head}/depth/image"
    browser = open_page(write_report(tmp_path, live_report, frames(2, keys=(head, f"{head}, dark")))[0], width=width)
    assert browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll, nav, svg') "
        "&& one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert beyond == []


def test_every_control_has_a_name(open_page, page):
    browser = open_page(page)
    controls = browser.find_elements("css selector", "input, select, button")
    assert len(controls) == 5
    for control in controls:
        assert control.accessible_name, control.get_attribute("outerHTML")


def test_reports_without_truth_and_without_frames_open(open_page, tmp_path, blind_report, frames):
    for name, strip in (("blind", frames(1, truth=False)), ("empty", [])):
        browser = open_page(write_report(tmp_path / name, blind_report, strip)[0], width=360)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360


def test_the_comparison_opens(open_page, tmp_path, report, live_report):
    for name, content in (("first", report), ("second", live_report)):
        write_report(tmp_path / name, content, [])
    reports = read_reports([tmp_path / "first", tmp_path / "second"])
    browser = open_page(write_comparison(tmp_path / "out", compare(reports), reports)[0], width=360)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    assert "4 runs compared" in browser.find_element("tag name", "h1").text
