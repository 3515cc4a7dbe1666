"""The thread that turns the newest picture of every camera into messages: read, one network run, write."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from rclpy.impl.rcutils_logger import RcutilsLogger

from clip_depth_ros.depth.estimator import DepthResult
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.camera_stream import Frame
from clip_depth_ros.ros.counters import FrameTiming
from clip_depth_ros.ros.frames import Camera, Job, read_frame
from clip_depth_ros.ros.network import Network
from clip_depth_ros.ros.parameters import Settings

_WARNING_PERIOD = 5.0  # seconds between two warnings about bad messages of one camera
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Worker:
    """Takes the newest frame of each camera, encodes them in one batch, and publishes.

    A camera without a new frame is not waited for. Whatever goes wrong with one frame is counted and said, and the
    next one is processed.
    """

    def __init__(
        self,
        network: Network,
        cameras: Sequence[Camera],
        pending: threading.Event,
        settings: Callable[[], Settings],
        logger: RcutilsLogger,
        is_alive: Callable[[], bool],
    ) -> None:
        """Prepares the worker; :meth:`start` starts its thread.

        Args:
            network: what turns pictures into depth.
            cameras: the cameras to serve; read at each batch.
            pending: set by the cameras when an image waits to be taken.
            settings: returns the settings in force; asked once a batch.
            logger: the node's.
            is_alive: whether the ROS context still publishes; an error after its end is not worth a word.
        """
        self._network = network
        self._cameras = cameras
        self._settings = settings
        self._logger = logger
        self._is_alive = is_alive
        self._last_warning: dict[str, float] = {}
        self._known_failures: set[str] = set()
        self._pending = pending
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="clip_depth_worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the batch it is at, and waits for that."""
        self._stopping = True
        self._pending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _loop(self) -> None:
        while not self._stopping:
            self._pending.wait()
            self._pending.clear()
            taken = [(camera, camera.stream.take()) for camera in self._cameras]
            frames = [(camera, frame) for camera, frame in taken if frame is not None]
            if frames and not self._stopping:
                self._process(frames)

    def _process(self, frames: Sequence[tuple[Camera, Frame]]) -> None:
        settings = self._settings()
        read = [self._guarded(camera, read_frame, camera, frame, settings) for camera, frame in frames]
        jobs = [job for job in read if job is not None]
        if not jobs:
            return
        started = time.perf_counter()
        results = self._estimate(jobs)
        network = time.perf_counter() - started
        for job, result in zip(jobs, results):
            if result is not None:
                self._guarded(job.camera, self._write, job, result, network, settings)

    def _estimate(self, jobs: Sequence[Job]) -> Sequence[DepthResult | None]:
        """Runs the network on all jobs at once; if that fails, on each alone, so that none can spoil the others."""
        if len(jobs) > 1:
            try:
                return self._run(jobs)
            except Exception:
                self._logger.warning(f"A batch failed, so its pictures run one by one:\n{traceback.format_exc()}")
        alone = [self._guarded(job.camera, self._run, [job]) for job in jobs]
        return [results[0] if results else None for results in alone]

    def _run(self, jobs: Sequence[Job]) -> list[DepthResult]:
        return self._network.run(
            [job.picture.image for job in jobs],
            [job.picture.camera for job in jobs],
            tokens=any(job.wanted.clip for job in jobs),
            heads={head for job in jobs for head in job.wanted.heads},
        )

    def _write(self, job: Job, result: DepthResult, network: float, settings: Settings) -> None:
        started = time.perf_counter()
        job.camera.outputs.publish(job.picture, result, job.wanted, settings)
        finished = time.perf_counter()
        entered = job.frame.entered
        timing = FrameTiming(job.taken - entered, job.read, network, finished - started, finished - entered)
        job.camera.stream.counters.finish(timing)

    def _guarded(
        self,
        camera: Camera,
        step: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result | None:
        """Returns what ``step`` returns; None when it failed, which is then counted and said."""
        try:
            return step(*args, **kwargs)
        except BadInput as error:
            camera.stream.counters.rejected += 1
            self._say(camera, str(error))
        except Exception as error:  # whatever it is, the next frame deserves its chance
            if self._is_alive():
                camera.stream.counters.failed += 1
                self._say(camera, f"{type(error).__name__}: {error}", traceback.format_exc())
        return None

    def _say(self, camera: Camera, what: str, trace: str = "") -> None:
        """Keeps an error for diagnostics, and logs it: a traceback once, the rest now and then."""
        counters = camera.stream.counters
        counters.last_error = f"{camera.stream.image_topic}: {what}"
        if trace and what not in self._known_failures:
            self._known_failures.add(what)
            self._logger.error(f"Lost an image. {counters.last_error}\n{trace}")
            return
        now = time.monotonic()
        if now - self._last_warning.get(camera.stream.name, float("-inf")) >= _WARNING_PERIOD:
            self._last_warning[camera.stream.name] = now
            lost = counters.rejected + counters.failed
            self._logger.warning(f"Dropped an image ({lost} so far). {counters.last_error}")
