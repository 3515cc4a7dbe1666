"""What an unfinished replay leaves on disk, so that ``--resume`` goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.replay.offline.run import OfflineRun

FOLDER = "unfinished"
_PLAIN, _ARRAYS = "state.json", "arrays.safetensors"
_SEPARATOR = "|"


class SavedRun:
    """The state of a replay in a folder of its own, which a finished replay removes.

    Args:
        output: the replay's folder.
        identity: what the state belongs to: recording, heads, settings; a state of anything else is refused.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any]) -> None:
        self.folder = output / FOLDER
        self._identity = json.loads(json.dumps(identity))

    @property
    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / _PLAIN).is_file()

    def save(self, run: OfflineRun) -> None:
        """Writes the state; one that was there is replaced at once or not at all.

        Raises:
            BadInput: it cannot be written.
        """
        plain, arrays = run.state()
        # The arrays' name is in the JSON, which is replaced last: the two always belong together.
        name = f"{run.next_number}_{_ARRAYS}"
        flat = {
            f"{part}{_SEPARATOR}{key}": np.asarray(array, order="C")
            for part, values in arrays.items()
            for key, array in values.items()
        }
        with replacing(self.folder / name) as temporary:
            save_file(flat, temporary)
        with replacing(self.folder / _PLAIN) as temporary:
            temporary.write_text(json.dumps({"identity": self._identity, "arrays": name, **plain}), encoding="utf-8")
        for old in self.folder.glob(f"*_{_ARRAYS}"):
            if old.name != name:
                old.unlink()

    def restore(self, run: OfflineRun) -> None:
        """Makes ``run`` go on where the saved one was.

        Raises:
            BadInput: there is none, it is of another recording or other settings, or it is damaged.
        """
        if not self.exists:
            raise BadInput(f"{self.folder.parent} holds no unfinished replay: leave --resume out.")
        try:
            plain = json.loads((self.folder / _PLAIN).read_text(encoding="utf-8"))
            different = [name for name, value in self._identity.items() if plain["identity"].get(name) != value]
            if different:
                raise BadInput(
                    f"The unfinished replay in {self.folder.parent} had another {different[0]} "
                    f"({plain['identity'].get(different[0])}): give the same, or leave --resume out."
                )
            parts: dict[str, dict[str, np.ndarray]] = {}
            for name, array in load_file(self.folder / plain["arrays"]).items():
                part, _, key = name.partition(_SEPARATOR)
                parts.setdefault(part, {})[key] = array
            run.restore(plain, parts)
        except (OSError, ValueError, KeyError, IndexError, SafetensorError) as error:
            raise BadInput(
                f"The unfinished replay in {self.folder} is damaged ({type(error).__name__}): leave --resume out."
            ) from error

    def remove(self) -> None:
        """Removes the state."""
        shutil.rmtree(self.folder, ignore_errors=True)
