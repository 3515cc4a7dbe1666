"""Writing files so that nothing half-written is ever seen."""

from __future__ import annotations

import os
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
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise BadInput(
            f"{target} cannot be written ({error.strerror or error}): choose a folder you can write to."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
