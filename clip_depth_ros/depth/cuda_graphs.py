"""The whole way from uint8 pictures to depth as one CUDA graph for each kind of batch.

A graph is launched as one piece: what eager PyTorch spends on a few hundred kernel launches is gone. Pictures enter
through pinned host memory; nothing waits for the device but the reader of the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros.depth.acceleration import PlanByPlan, Run, blank
from clip_depth_ros.depth.network import DepthNetwork, DepthResult, Plan

_WARM_UP = 3  # eager runs before a capture: libraries choose their kernels and take their memory in the first ones


class CudaGraphs(PlanByPlan):
    """Captures a plan when it comes for the second time; what comes once is not worth it.

    Capturing takes as long as a few eager runs, so it is done on the spot. All graphs share one pool of memory: only
    one runs at a time, and results are copied out of it before the next does.
    """

    name = "cuda_graph"

    def __init__(self, network: DepthNetwork, device: torch.device) -> None:
        super().__init__(network, device)
        self._pool = torch.cuda.graph_pool_handle()
        self._seen: set[Plan] = set()

    def __call__(self, plan: Plan, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Replays the graph of ``plan``; runs eagerly the first time."""
        if plan in self._seen:
            self.prepare(plan)
        elif len(self._seen) < 1000:  # a source that never repeats itself must not fill the memory
            self._seen.add(plan)
        return super().__call__(plan, inputs, scales)

    def release(self) -> None:
        """Forgets every graph, and with them their memory."""
        super().release()
        self._seen.clear()
        self._pool = torch.cuda.graph_pool_handle()

    def build(self, plan: Plan) -> Run:
        """Returns ``plan`` captured."""
        graph = _Captured(self.network, plan, self.device, self._pool)
        return graph.run


class _Captured:
    """One plan's graph with its buffers."""

    def __init__(self, network: DepthNetwork, plan: Plan, device: torch.device, pool: Any) -> None:
        inputs, scales = blank(plan)
        self._device = device
        self._staging = [picture.pin_memory() for picture in inputs[: len(plan.shapes)]]
        self._inputs = [tensor.to(device) for tensor in inputs]
        self._scale_staging = None if scales is None else scales.pin_memory()
        self._scales = None if scales is None else scales.to(device)
        self._entered = torch.cuda.Event()
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.no_grad(), torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                network(plan, self._inputs, self._scales)
            side.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # Other threads (a camera driver, a policy in the same process) may use the device during the capture.
            with torch.cuda.graph(self._graph, pool=pool, stream=side, capture_error_mode="thread_local"):
                self._results = network(plan, self._inputs, self._scales)
        torch.cuda.current_stream(device).wait_stream(side)

    def run(self, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Replays the graph on other pictures; the results are copies, in the order of the current stream."""
        self._entered.synchronize()  # the staging memory of the run before has been read
        for index, (tensor, entry) in enumerate(zip(inputs, self._inputs)):  # rays are on the device already
            entry.copy_(tensor if tensor.is_cuda else self._staging[index].copy_(tensor), non_blocking=True)
        if scales is not None and self._scales is not None and self._scale_staging is not None:
            self._scales.copy_(self._scale_staging.copy_(scales), non_blocking=True)
        self._entered.record()
        self._graph.replay()
        return [result.mapped(torch.clone) for result in self._results]
