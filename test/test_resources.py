"""Shared files are found however the package was installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.resources import resolve, share_path


def test_uris_and_paths() -> None:
    assert share_path("package.xml").is_file()
    assert resolve("package://clip_depth_ros/package.xml") == share_path("package.xml")
    assert resolve("some/file") == Path("some/file")
    assert resolve("~/x") == Path.home() / "x"
    with pytest.raises(BadInput, match="names another package"):
        resolve("package://other/file")


def test_the_share_folder_of_an_install_prefix_is_found(tmp_path: Path) -> None:
    site = tmp_path / "prefix" / "lib" / "python3" / "site-packages"
    source = share_path("clip_depth_ros")
    shutil.copytree(source, site / "clip_depth_ros", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from clip_depth_ros.resources import share_folder; print(share_folder())"

    def found() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=site, capture_output=True, text=True, check=False)

    assert "install the package with pip or colcon" in found().stderr
    share = tmp_path / "prefix" / "share" / "clip_depth_ros"
    share.mkdir(parents=True)
    (share / "package.xml").write_text("<package/>")
    assert found().stdout.strip() == str(share)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with replacing(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(ZeroDivisionError):
        fail_halfway(target)
    assert target.read_text() == "one"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def fail_halfway(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("two")
        raise ZeroDivisionError
