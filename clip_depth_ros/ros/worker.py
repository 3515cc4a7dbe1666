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
from clip_depth_ros.ros.parameters import Settings
from clip_depth_ros.ros.recovery import DeviceLost, NetworkRunner, OutOfMemory

_WARNING_PERIOD = 5.0  # seconds between two warnings about bad messages of one camera
_TRACES_KEPT = 100  # different errors whose traceback is logged
_PATIENCE = 5.0  # seconds a batch in work may take to end before its thread is left behind
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Worker:
    """Takes the newest frame of each camera, encodes them in one batch, and publishes.

    Every camera that has a frame when a batch begins is in it: no camera waits for another's frame, and none longer
    than one batch, however many frames others send. Whatever goes wrong with one frame is counted and said, and the
    next one is processed.
    """

    def __init__(
        self,
        runner: NetworkRunner,
        cameras: Sequence[Camera],
        pending: threading.Event,
        settings: Callable[[], Settings],
        logger: RcutilsLogger,
        is_alive: Callable[[], bool],
    ) -> None:
        """Prepares the worker; :meth:`start` starts its thread.

        Args:
            runner: what turns pictures into depth.
            cameras: the cameras to serve; read at each batch.
            pending: set by the cameras when an image waits to be taken.
            settings: returns the settings in force; asked once a batch.
            logger: the node's.
            is_alive: whether the ROS context still publishes; an error after its end is not worth a word.
        """
        self._runner = runner
        self._cameras = cameras
        self._settings = settings
        self._logger = logger
        self._is_alive = is_alive
        self._last_warning: dict[str, float] = {}
        self._known_failures: set[str] = set()
        self._pending = pending
        self._stopping = False
        self._is_left_behind = False
        self._thread: threading.Thread | None = None

    @property
    def is_hanging(self) -> bool:
        """Whether the worker was stopped and its thread is still at its last batch."""
        return self._stopping and self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread; not while :attr:`is_hanging`."""
        self._stopping = self._is_left_behind = False
        self._thread = threading.Thread(target=self._loop, name="clip_depth_worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the batch it is at, and waits for that; some seconds, in case the device hangs."""
        was_stopping, self._stopping = self._stopping, True
        self._pending.set()
        if self._thread is None:
            return
        self._thread.join(0 if was_stopping else _PATIENCE)
        if not self._thread.is_alive():
            self._thread = None
        elif not was_stopping:
            self._is_left_behind = True  # whenever its batch ends, the topics may be gone
            self._logger.error(f"The batch in work is left behind: no answer for {self._runner.busy:.0f} s.")

    def _loop(self) -> None:
        while not self._stopping:
            self._pending.wait()
            self._pending.clear()  # before taking: a frame that comes now sets it again, so none is overlooked
            taken = [(camera, camera.stream.take()) for camera in self._cameras]
            frames = [(camera, frame) for camera, frame in taken if frame is not None]
            if frames and not self._stopping:
                try:
                    self._process(frames)
                except Exception as error:  # a thread that ends here would leave a node that only looks alive
                    for camera, _ in frames:
                        self._fail(camera, error)

    def _process(self, frames: Sequence[tuple[Camera, Frame]]) -> None:
        if self._runner.lost:
            for camera, _ in frames:
                camera.stream.counters.unanswered += 1
            return
        settings = self._settings()
        read = [self._guarded(camera, read_frame, camera, frame, settings) for camera, frame in frames]
        jobs = [job for job in read if job is not None]
        if not jobs:
            return
        # Whoever waited longest is answered first, so that no camera is always the last to be written.
        outcomes = sorted(self._runner.run(jobs), key=lambda outcome: outcome.job.frame.entered)
        for outcome in () if self._is_left_behind else outcomes:
            job, result = outcome.job, outcome.result
            if isinstance(result, Exception):
                self._fail(job.camera, result)
            else:
                self._guarded(job.camera, self._write, job, result, outcome.seconds, settings)

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
        except Exception as error:  # whatever it is, the next frame deserves its chance
            self._fail(camera, error)
        return None

    def _fail(self, camera: Camera, error: Exception) -> None:
        """Counts a frame lost to ``error`` and says why."""
        counters = camera.stream.counters
        if isinstance(error, BadInput):
            counters.rejected += 1
            self._say(camera, str(error))
        elif self._is_alive():
            counters.failed += 1
            if isinstance(error, DeviceLost):  # which the runner said, once for all cameras
                counters.last_error = str(error)
            elif isinstance(error, OutOfMemory):
                self._say(camera, str(error))
            else:
                self._say(camera, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))

    def _say(self, camera: Camera, what: str, trace: str = "") -> None:
        """Keeps an error for diagnostics, and logs it: a traceback once, the rest now and then."""
        counters = camera.stream.counters
        counters.last_error = f"{camera.stream.image_topic}: {what}"
        if trace and what not in self._known_failures and len(self._known_failures) < _TRACES_KEPT:
            self._known_failures.add(what)
            self._logger.error(f"Lost an image. {counters.last_error}\n{trace}")
            return
        now = time.monotonic()
        if now - self._last_warning.get(camera.stream.name, float("-inf")) >= _WARNING_PERIOD:
            self._last_warning[camera.stream.name] = now
            lost = counters.rejected + counters.failed
            self._logger.warning(f"Dropped an image ({lost} so far). {counters.last_error}")
