"""The parts that need no ROS, as a user runs them, with tiny networks: what they write is what they timed."""

from __future__ import annotations

from statistics import median

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'clip_depth_ros[benchmark]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'clip_depth_ros[benchmark]'")
PLAIN = "plain PyTorch"
EAGER = ["--tiny", "--acceleration", "eager"]


def _check_comparison(report: dict, names: list[str]) -> None:
    assert list(report["seconds"]) == list(report["ratios"]) == names
    for name, values in report["seconds"].items():
        assert len(values) == 2
        ratios = [first / own for first, own in zip(report["seconds"][names[0]], values)]
        assert report["ratios"][name] == ratios
        assert report["seconds_spread"][name] == {
            "median": median(values),
            "lowest": min(values),
            "highest": max(values),
        }
        assert report["ratios_spread"][name]["median"] == median(ratios)
    assert report["errors_percent"]["fp32 eager"]["p99"] < 1
    assert report["paths"]["fp32 eager"]["precision"].startswith("fp32")


def test_network(measure) -> None:
    words = ["--rounds", "2", "--size", "60x80", "--batch", "2", "--precision", "fp32", "--precision", "bf16"]
    report = measure("network", *EAGER, *words)
    _check_comparison(report, [PLAIN, "fp32 eager", "bf16 eager"])
    assert report["errors_percent"]["fp32 eager"]["max"] < 0.01  # per cent: both had the same pixels
    assert 0 < report["errors_percent"]["bf16 eager"]["max"] < 20
    row = report["tables"][0]["rows"][1]
    assert row[0] == "fp32 eager"
    assert row[2].startswith(f"{median(report['ratios']['fp32 eager']):.2f} (")
    assert "batch 2" in report["title"]
    assert report["settings"]["rounds"] == "2"


def test_host(measure) -> None:
    report = measure("host", *EAGER, "--rounds", "2", "--size", "60x80", "--precision", "fp32")
    _check_comparison(report, [PLAIN, "fp32 eager"])
    assert report["frames_per_second"]["fp32 eager"] == [1 / seconds for seconds in report["seconds"]["fp32 eager"]]


def test_host_without_the_reference(measure) -> None:
    words = ["--rounds", "2", "--size", "60x80", "--precision", "fp32", "--precision", "bf16", "--no-reference"]
    report = measure("host", *EAGER, *words)
    _check_comparison(report, ["fp32 eager", "bf16 eager"])
    assert "times as fast as fp32 eager" in report["tables"][0]["header"]


def test_cameras(measure) -> None:
    report = measure(
        "cameras", *EAGER, "--rounds", "2", "--size", "60x80", "--cameras", "3", "1", "--precision", "fp32"
    )
    assert list(report["seconds"]) == ["1 camera", "3 cameras"]
    assert report["ratios"]["3 cameras"] == [
        three / one for three, one in zip(report["seconds"]["3 cameras"], report["seconds"]["1 camera"])
    ]
    row = report["tables"][0]["rows"][1]
    assert row[0] == "3"
    assert float(row[2].split()[0]) == pytest.approx(1e3 * median(report["seconds"]["3 cameras"]) / 3, abs=0.06)


def test_parts(measure) -> None:
    report = measure("parts", *EAGER, "--rounds", "2", "--size", "60x80", "--precision", "fp32")
    parts = report["parts"]
    *pieces, whole = parts
    assert pieces == ["resize and normalise", "encoder", "space_clip", "space_clip: to the picture's size"]
    for shares in zip(*(parts[name]["share_percent"] for name in pieces)):
        assert sum(shares) == pytest.approx(100)
    assert parts[whole]["share_percent"] is None
    for key in ("parameters", "weight_bytes", "flop"):
        assert parts[whole][key] == parts["encoder"][key] + parts["space_clip"][key] > 0
    assert parts["encoder"]["weight_bytes"] == 4 * parts["encoder"]["parameters"]
    assert report["host_memory_bytes"]["after loading"] >= report["host_memory_bytes"]["before loading"] // 2 > 0


def test_the_demos_own_weights(measure) -> None:
    from clip_depth_ros.resources import resolve

    if not resolve("package://clip_depth_ros/models/demo/encoder.safetensors").is_file():
        pytest.skip("models/demo has not been made yet")
    report = measure("host", "--rounds", "1", "--precision", "fp32", "--acceleration", "eager")
    assert report["weights"].startswith("demo-rooms-vit with space_clip")
    assert report["errors_percent"]["fp32 eager"]["p99"] < 5  # two resizes that round differently
