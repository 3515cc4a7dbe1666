"""Bad options, packages that are missing, and folders that cannot be written: one sentence, exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clip_depth_ros.benchmark.options import PARTS
from clip_depth_ros.cli import main

WORDS = {
    "rounds": ["network", "--rounds", "0"],
    "threads": ["host", "--threads", "0"],
    "batch": ["network", "--batch", "-1"],
    "repeats": ["parts", "--repeats", "0"],
    "frames": ["node", "--frames", "0"],
    "rate": ["node", "--rate", "0"],
    "seconds": ["soak", "--seconds", "nan"],
    "settle": ["soak", "--settle", "-1"],
    "timeout": ["start", "--timeout", "inf"],
    "cameras": ["cameras", "--cameras", "1", "0"],
    "cameras is 65": ["soak", "--cameras", "65"],
    "size": ["host", "--size", "640"],
    "parameter": ["soak", "-p", "precision"],
    "precision": ["network", "--tiny", "--precision", "int8"],
    "acceleration": ["cameras", "--tiny", "--acceleration", "magic"],
    "device": ["parts", "--tiny", "--device", "tpu"],
    "absent.yaml": ["host", "--config", "absent.yaml"],
    "no model": ["network", "--model", "ViT-Z-99"],
}


@pytest.mark.parametrize("named", WORDS)
def test_bad_options_are_one_sentence(named: str, tmp_path: Path, capsys) -> None:
    assert main(["benchmark", *WORDS[named], "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("clip-depth benchmark: ")
    assert named in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("words", [[], ["fly"], ["node", "--topics", "everything"], ["host", "--rounds", "many"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["benchmark", *words])
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("part", PARTS)
def test_every_option_is_explained(part: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["benchmark", part, "--help"])
    assert not end.value.code
    told = capsys.readouterr().out
    assert {"--rounds", "--threads", "--device", "--tiny", "--output"} <= {word.strip(",") for word in told.split()}
    assert PARTS[part].help_line[1:20] in told


@pytest.mark.parametrize(
    ("part", "package", "extra"),
    [
        ("network", "transformers", "benchmark"),
        ("parts", "matplotlib", "benchmark"),
        ("soak", "rclpy", "ros"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(part: str, package: str, extra: str, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # how Python itself marks what must not be found
    assert main(["benchmark", part, "--tiny"]) == 2
    assert f"needs {package}: pip install 'clip_depth_ros[{extra}]'" in capsys.readouterr().err


def test_what_is_left_out_need_not_be_installed(monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "transformers", None)
    words = ["--tiny", "--no-reference", "--precision", "fp32", "--acceleration", "eager", "--rounds", "1"]
    assert main(["benchmark", "network", *words, "--device", "cpu", "--size", "20x30", "-o", str(tmp_path)]) == 0


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    assert main(["benchmark", "parts", "--tiny", "-o", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be made" in capsys.readouterr().err
