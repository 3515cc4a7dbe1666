"""A ROS node as a process of its own: started, watched, and always ended again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_INTERRUPT_WAIT_S = 10.0
_TERMINATE_WAIT_S = 5.0


class NodeProcess:
    """Runs a command with its output in a log file, and ends it when the ``with`` block is left, however it is.

    The process has its own session, so that Ctrl-C at the terminal reaches it once, through :meth:`stop`.

    Args:
        command: program and arguments.
        environment: its whole environment.
        log: file that takes its stdout and stderr; replaced.

    Attributes:
        started: when it was started (``time.monotonic`` seconds); NaN before.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self.log = log
        self.started = float("nan")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        with self.log.open("wb") as sink:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll() if self._process else None

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 15) -> str:
        """Returns the last ``lines`` of its output."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def stop(self) -> int | None:
        """Ends it as Ctrl-C would and waits; harder when that does not help. Returns its exit code."""
        process = self._process
        if process is None:
            return None
        try:
            for number, wait_s in ((signal.SIGINT, _INTERRUPT_WAIT_S), (signal.SIGTERM, _TERMINATE_WAIT_S)):
                if process.poll() is None:
                    process.send_signal(number)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(wait_s)
        finally:  # also when a second Ctrl-C cuts the waiting short
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own session: whatever it started goes with it
                process.wait()
        return process.returncode
