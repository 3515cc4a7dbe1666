"""Finds the files that come with the package (``config/``, ``launch/``, ``models/``), however it was installed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from clip_depth_ros.errors import BadInput

PACKAGE = "clip_depth_ros"
_SCHEME = f"package://{PACKAGE}/"


@lru_cache(maxsize=1)
def share_folder() -> Path:
    """Returns the folder that holds ``config/`` and ``models/``.

    That is the repository for an editable or ``--symlink-install`` build, otherwise ``share/clip_depth_ros`` of the
    prefix the package was installed under (pip's environment or colcon's ``install/clip_depth_ros``).

    Raises:
        BadInput: the package was copied somewhere without its shared files.
    """
    here = Path(__file__).resolve()
    if (here.parents[1] / "package.xml").is_file():
        return here.parents[1]
    for prefix in here.parents:
        if (prefix / "share" / PACKAGE / "package.xml").is_file():
            return prefix / "share" / PACKAGE
    raise BadInput(
        f"The files shared with {PACKAGE} are missing beside {here.parent}: install the package with pip or colcon."
    )


def share_path(relative: str) -> Path:
    """Returns the path of a shared file, given relative to the repository (``"config/demo.yaml"``)."""
    return share_folder() / relative


def resolve(location: str | Path) -> Path:
    """Turns ``package://clip_depth_ros/...``, ``~/...`` or a plain path into a path (which need not exist).

    Raises:
        BadInput: ``location`` names another ROS package.
    """
    text = str(location)
    if text.startswith(_SCHEME):
        return share_path(text[len(_SCHEME) :])
    if text.startswith("package://"):
        raise BadInput(f"{text} names another package: give a file path, or one that starts with {_SCHEME}.")
    return Path(text).expanduser()
