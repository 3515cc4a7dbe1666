"""Rendering a whole set of rooms: one shard a room, in parallel, continued where it was interrupted."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_training.simulation.opengl import gpu_count, renderer_name
from clip_depth_training.simulation.render import GENERATOR, RenderConfig, render_room


def _write_shard(config: RenderConfig, index: int, output: Path) -> tuple[int, str]:
    """Renders room ``index`` into its shard. Returns the number of views and the OpenGL renderer's name.

    Raises:
        BadInput: the shard cannot be written, as on a full disk.
    """
    shard = render_room(config.seed, index, config)
    target = output / f"room_{index:06d}.npz"
    temporary = target.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **shard)  # type: ignore[arg-type]
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"{target} cannot be written ({error.strerror}): make room on the disk and run the same command again to "
            "continue."
        ) from error
    return len(shard["rgb"]), renderer_name()


def _end_with(parent: int) -> None:
    """Ends this worker when its parent has gone: one that was killed cannot tell its workers."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _start_worker(started: Any, gpus: int, parent: int) -> None:
    """Keeps a worker on one core: Mesa would start a thread for each core in each worker. Spreads workers over GPUs."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ["LP_NUM_THREADS"] = "0"
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if gpus > 1:
        os.environ.setdefault("MUJOCO_EGL_DEVICE_ID", str(number % gpus))
    cv2.setNumThreads(1)


def render_rooms(config: RenderConfig, output: Path, workers: int) -> Iterator[tuple[int, int, str]]:
    """Renders what is still missing of a set of rooms into ``output``, in parallel.

    Yields:
        The number of rooms and of views done so far in this call, and the name of the OpenGL renderer.

    Raises:
        BadInput: ``output`` holds another set, cannot be written, or this machine cannot render.
    """
    missing = prepare_folder(config, output)
    # Workers are fresh processes: an OpenGL context does not survive a fork.
    fresh = get_context("spawn")
    with ProcessPoolExecutor(
        workers, fresh, initializer=_start_worker, initargs=(fresh.Value("i", 0), gpu_count(), os.getpid())
    ) as pool:
        waiting = [pool.submit(_write_shard, config, index, output) for index in missing]
        views = 0
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                new, name = future.result()
                views += new
                yield done, views, name
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare_folder(config: RenderConfig, output: Path) -> list[int]:
    """Makes ``output`` ready, or checks that it belongs to the same set; returns the rooms that are missing."""
    described = json.loads(json.dumps({**asdict(config), "generator": GENERATOR}))
    file = output / "set.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if file.exists():
            before = json.loads(file.read_text(encoding="utf-8"))
            # More rooms may have another number of views: shards stand alone, and new rooms teach more than new views.
            free = {"rooms": 0, "views": 0}
            if before | free != described | free:
                raise BadInput(
                    f"{output} holds another set of rooms ({before}): give another folder, or the same settings to "
                    "continue."
                )
        file.write_text(json.dumps(described, indent=1), encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"The folder {output} cannot be used for rendered rooms: {error}.") from error
    return [index for index in range(config.rooms) if not (output / f"room_{index:06d}.npz").exists()]
