"""Ways to run a :class:`~clip_depth_ros.depth.network.DepthNetwork`: eager, compiled, or captured in CUDA graphs.

All of them give what eager gives. Whatever goes wrong with a faster way is said once, and eager goes on.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import Tensor

from clip_depth_ros.depth.network import DepthNetwork, DepthResult, Plan
from clip_depth_ros.errors import BadInput

_KEPT = 16
"""Plans kept ready: each holds memory, and a robot has few cameras and few sets of subscribers."""

Run = Callable[[Sequence[Tensor], Tensor | None], list[DepthResult]]
"""One plan's network: from its inputs and scales (see :class:`DepthNetwork`), pictures and scales on the host, to
results that are the caller's to keep, on the network's device."""


class Eager:
    """One operation after another.

    Attributes:
        name: of this way, as the parameter ``acceleration`` has it.
        network: what it runs.
        device: where.
        state: what it does at the moment, for people.
    """

    name = "eager"

    def __init__(self, network: DepthNetwork, device: torch.device) -> None:
        self.network = network
        self.device = device
        self.state = ""

    def __call__(self, plan: Plan, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Returns a result for each group of ``plan``, on the network's device; see :data:`Run`."""
        return self.network(plan, inputs, None if scales is None else scales.to(self.device, non_blocking=True))

    def prepare(self, plan: Plan) -> None:
        """Makes ``plan`` ready now, however long that takes, so that its first frame need not wait."""

    def release(self) -> None:
        """Frees what is kept for speed alone."""


class PlanByPlan(Eager, ABC):
    """A way that has to be built for each plan; eager runs until it is, and for good where it cannot be.

    The plans used last are kept. A failure is said once a plan, with its reason.
    """

    def __init__(self, network: DepthNetwork, device: torch.device) -> None:
        super().__init__(network, device)
        self.state = "nothing built yet"
        self._built: OrderedDict[Plan, Run | None] = OrderedDict()

    @abstractmethod
    def build(self, plan: Plan) -> Run:
        """Returns ``plan`` built, and run once; raises whatever keeps it from that."""

    def prepare(self, plan: Plan) -> None:
        """Builds ``plan`` unless that was tried before."""
        if plan not in self._built:
            self._keep(plan, self._try_to_build(plan))

    def release(self) -> None:
        """Forgets every plan; they are built anew when they come again."""
        self._built.clear()
        self.state = "nothing built yet"

    def ready(self, plan: Plan) -> Run | None:
        """Returns what was built for ``plan``, and marks it as used."""
        run = self._built.get(plan)
        if run is not None:
            self._built.move_to_end(plan)
        return run

    def __call__(self, plan: Plan, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Runs what was built for ``plan``, or eagerly."""
        run = self.ready(plan)
        if run is not None:
            try:
                return run(inputs, scales)
            except Exception as error:
                self._warn(plan, error)
                self._built[plan] = None
        # Outside of the handler: its traceback would hold the failed run's memory, which may be all that is missing.
        return super().__call__(plan, inputs, scales)

    def _try_to_build(self, plan: Plan) -> Run | None:
        try:
            return self.build(plan)
        except Exception as error:  # a compiler that is missing, memory that is short, a kernel that cannot be captured
            self._warn(plan, error)
            return None

    def _keep(self, plan: Plan, run: Run | None) -> None:
        self._built[plan] = run
        while len(self._built) > _KEPT:
            self._built.popitem(last=False)
        ready = sum(run is not None for run in self._built.values())
        self.state = f"{ready} of {len(self._built)} kinds of batch ready, the others run eagerly"

    def _warn(self, plan: Plan, error: Exception) -> None:
        reason = str(error).strip().splitlines()
        warnings.warn(
            f"{self.name} does not work here for a batch of {plan.batch}, so it runs eagerly "
            f"({type(error).__name__}: {reason[0] if reason else 'no reason given'}).",
            RuntimeWarning,
            stacklevel=3,
        )


class Compiled(PlanByPlan):
    """torch.compile, in a thread of its own so that no frame waits for the compiler.

    Compiled kernels are kept on disk (``TORCHINDUCTOR_CACHE_DIR``, by default under the user's cache), so that the
    next start finds them.
    """

    name = "compile"

    def __init__(self, network: DepthNetwork, device: torch.device) -> None:
        super().__init__(network, device)
        _keep_kernels()
        self._builder: threading.Thread | None = None

    def __call__(self, plan: Plan, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Runs ``plan`` compiled, or eagerly while the thread compiles it."""
        if plan not in self._built and (self._builder is None or not self._builder.is_alive()):
            self._builder = threading.Thread(target=self.prepare, args=(plan,), name="clip_depth_compile", daemon=True)
            _BUILDERS.add(self._builder)
            self._builder.start()
        return super().__call__(plan, inputs, scales)

    def build(self, plan: Plan) -> Run:
        """Returns ``plan`` compiled."""
        network = self.network

        def whole(inputs: list[Tensor], scales: Tensor | None) -> list[DepthResult]:
            return network(plan, inputs, scales)

        # The graph's inputs are on the device, its shapes fixed: each plan is a function of its own.
        compiled = torch.compile(whole, dynamic=False)
        device = self.device

        def run(inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
            with torch.no_grad():
                there = [tensor.to(device, non_blocking=True) for tensor in inputs]
                results: list[DepthResult] = compiled(there, None if scales is None else scales.to(device))
                return results

        run(*blank(plan))
        return run


_BUILDERS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _end_builders(patience: float = 5.0) -> None:
    """Ends what is still compiling, within ``patience`` seconds, before the interpreter's end reaches it.

    Until 3.14 Python unwinds its daemon threads at exit, and where that meets torch's C++ the process dies by SIGABRT.
    """
    deadline = time.monotonic() + patience
    # An exception that comes up in a destructor ends nothing and would be printed: say nothing, and try again.
    told, sys.unraisablehook = sys.unraisablehook, lambda _: None
    for thread in list(_BUILDERS):
        while thread.is_alive() and time.monotonic() < deadline:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
            thread.join(0.5)
    sys.unraisablehook = told


def _keep_kernels() -> None:
    """Has torch keep compiled kernels where a restart of the machine leaves them, unless the user named a place."""
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    # torch writes its own default there as soon as it is imported: a folder among the temporary files.
    if not named or (Path(named).name.startswith("torchinductor_") and Path(named).parent == Path(gettempdir())):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "clip_depth_ros" / "inductor")


def blank(plan: Plan) -> tuple[list[Tensor], Tensor | None]:
    """Returns inputs for ``plan``, black pictures and whatever rays, and scales of 1."""
    inputs = [torch.zeros(shape, dtype=torch.uint8) for shape in plan.shapes]
    if plan.clouds:
        inputs += [torch.zeros(3, *shape[1:3]) for shape in plan.shapes]
    return inputs, torch.ones(len(plan.heads), plan.batch) if plan.scaled else None


def pick_runner(name: str, network: DepthNetwork, device: torch.device) -> Eager:
    """Returns the way called ``name`` (see :class:`EstimatorConfig`): by default CUDA graphs on a GPU, eager on a CPU.

    Raises:
        BadInput: CUDA graphs without a GPU.
    """
    if name == "cuda_graph" and device.type != "cuda":
        raise BadInput("Parameter acceleration is cuda_graph, but the network runs on the CPU: set it to auto.")
    if name == "auto":
        name = "cuda_graph" if device.type == "cuda" else "eager"
    if name == "cuda_graph":
        from clip_depth_ros.depth.cuda_graphs import CudaGraphs

        return CudaGraphs(network, device)
    return Compiled(network, device) if name == "compile" else Eager(network, device)


def on_host(results: list[DepthResult], device: torch.device) -> list[DepthResult]:
    """Returns the results in host memory, all of it there: on a GPU after one wait, through pinned memory."""
    if device.type == "cpu":
        return results

    def copied(value: Tensor) -> Tensor:
        return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)

    there = [result.mapped(copied) for result in results]
    torch.cuda.current_stream(device).synchronize()
    return there
