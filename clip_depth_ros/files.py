"""Writing files so that nothing half-written is ever seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clip_depth_ros.errors import BadInput


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a temporary name beside ``target`` (same suffix) and renames it when the block ends well.

    The folder is made if it is missing. When the block raises, the temporary file is removed.

    Raises:
        BadInput: the folder or the file cannot be written.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()  # a block that writes nothing must not leave an empty file
        yield temporary
        temporary.chmod(mode)  # some libraries write files that only their owner may read
        temporary.replace(target)
    except OSError as error:
        raise BadInput(
            f"{target} cannot be written ({error.strerror or error}): choose a folder you can write to."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def writable_folder(folder: Path) -> None:
    """Makes an output folder before the work begins whose results it takes.

    Raises:
        BadInput: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made ({error.strerror}): choose a folder you can write to.") from error
    if not os.access(folder, os.W_OK):
        raise BadInput(f"{folder} cannot be written: choose a folder you can write to.")


def require_space(folder: Path, needed: int, spare: int = 0) -> None:
    """Refuses work whose files cannot fit on the disk, before it starts.

    Args:
        folder: where the files will go; it need not exist yet.
        needed: bytes they will take.
        spare: bytes that must stay free beside them.

    Raises:
        BadInput: there is less free space.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed + spare > free:
        raise BadInput(
            f"{folder} has {_size(free)} free, but {_size(needed)} will be written"
            + (f" and {_size(spare)} must stay free" if spare else "")
            + ": free some space, or choose a folder on another disk."
        )


def _size(count: int) -> str:
    """Returns a number of bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
