"""Ways to run a network: all give what eager gives, and none can lose a frame."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_encoder, tiny_head
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from clip_depth_ros import DepthEstimator
from clip_depth_ros.depth import acceleration
from clip_depth_ros.depth.acceleration import Compiled, Eager, PlanByPlan, Run, blank, on_host, pick_runner
from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.network import DepthNetwork, DepthResult, Plan
from clip_depth_ros.depth.precision import pick_precision
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network(precision: str = "fp32", device: torch.device = CPU) -> DepthNetwork:
    encoder = tiny_encoder()
    chosen = pick_precision(precision, device, encoder)
    return DepthNetwork(encoder, {"space_clip": tiny_head()}, Preprocess(encoder.config), device, chosen)


def plan_of(*sizes: tuple[int, int], tokens: bool = True, scaled: bool = True) -> Plan:
    """Sizes of one kind must be side by side."""
    groups = [(sizes.count(size), size) for size in dict.fromkeys(sizes)]
    return Plan(tuple((1, *size, 3) for size in sizes), tuple(groups), ("space_clip",), tokens, scaled)


def inputs(plan: Plan, seed: int = 0) -> tuple[list[Tensor], Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for shape in plan.shapes]
    return images, torch.rand(1, plan.batch, generator=generator) + 1 if plan.scaled else None


def same(actual: Sequence[DepthResult], expected: Sequence[DepthResult], tolerance: float = 0.0) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        torch.testing.assert_close(one["space_clip"].depth, other["space_clip"].depth, rtol=tolerance, atol=tolerance)
        assert (one.tokens is None) == (other.tokens is None)
        if one.tokens is not None:
            torch.testing.assert_close(one.tokens, other.tokens, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(one.embedding, other.embedding, rtol=tolerance, atol=tolerance)


def test_a_batch_is_its_pictures_alone() -> None:
    """Groups by size leave with their own pictures' depth and scale, whatever else is in the batch."""
    runner = Eager(network(), CPU)
    sizes = ((48, 64), (48, 64), (32, 80))
    plan = plan_of(*sizes)
    images, scales = inputs(plan)
    together = runner(plan, images, scales)
    assert [result["space_clip"].depth.shape for result in together] == [(2, 48, 64), (1, 32, 80)]
    for (group, place), picture in zip(((0, 0), (0, 1), (1, 0)), range(3)):
        alone = runner(plan_of(sizes[picture]), [images[picture]], scales[:, picture : picture + 1])[0]
        depth = together[group]["space_clip"].depth[place]
        torch.testing.assert_close(depth, alone["space_clip"].depth[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together[group].tokens[place], alone.tokens[0], rtol=1e-4, atol=1e-4)


class Fragile(PlanByPlan):
    """Cannot build batches of two; what it built for three breaks at the second run."""

    name = "fragile"

    def build(self, plan: Plan) -> Run:
        if plan.batch == 2:
            raise RuntimeError("no kernel for two\nand a long story")
        runs: list[int] = []

        def run(images: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
            runs.append(1)
            if plan.batch == 3 and len(runs) > 1:
                raise RuntimeError("it broke")
            return self.network(plan, images, scales)

        return run


def test_what_cannot_be_built_runs_eagerly_and_says_why_once() -> None:
    runner = Fragile(network(), CPU)
    plan = plan_of((48, 64), (48, 64))
    with pytest.warns(RuntimeWarning, match=r"fragile does not work here for a batch of 2.*\(RuntimeError: no kernel"):
        runner.prepare(plan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runner.prepare(plan)
        same(runner(plan, *inputs(plan)), Eager(runner.network, CPU)(plan, *inputs(plan)))
    assert runner.state == "0 of 1 kinds of batch ready, the others run eagerly"


def test_what_breaks_later_falls_back_for_the_very_frame() -> None:
    runner = Fragile(network(), CPU)
    plan = plan_of((48, 64), (48, 64), (48, 64))
    runner.prepare(plan)
    expected = Eager(runner.network, CPU)(plan, *inputs(plan))
    same(runner(plan, *inputs(plan)), expected)
    with pytest.warns(RuntimeWarning, match="it broke"):
        same(runner(plan, *inputs(plan)), expected)
    same(runner(plan, *inputs(plan)), expected)


def test_only_so_many_plans_are_kept_and_release_forgets_all() -> None:
    runner = Fragile(network(), CPU)
    plans = [plan_of((48, 64 + index)) for index in range(acceleration._KEPT + 1)]
    for plan in plans:
        runner.prepare(plan)
    assert runner.ready(plans[0]) is None
    assert all(runner.ready(plan) is not None for plan in plans[1:])
    runner.release()
    assert runner.ready(plans[-1]) is None
    same(runner(plans[0], *inputs(plans[0])), Eager(runner.network, CPU)(plans[0], *inputs(plans[0])))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_gives_what_eager_gives(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())  # as importing torch leaves it
    runner = Compiled(network("bf16"), CPU)
    plan = plan_of((48, 64), tokens=False)
    expected = Eager(runner.network, CPU)(plan, *inputs(plan))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not work here.*")
        runner.prepare(plan)
        compiled = runner.ready(plan)
        assert compiled is not None
        same(compiled(*inputs(plan)), expected, 0.02)
    assert list((tmp_path / "clip_depth_ros" / "inductor").rglob("*.so"))


def test_a_place_that_the_user_named_for_kernels_is_kept(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    Compiled(network(), CPU)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")


def test_no_frame_waits_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are answered while a plan is built in another thread, and by what was built once it is there."""
    runner = Compiled(network(), CPU)
    may_build, built_by = threading.Event(), []

    def build(plan: Plan) -> Run:
        assert may_build.wait(60)
        built_by.append(threading.current_thread())
        return lambda images, scales: runner.network(plan, images, scales)

    monkeypatch.setattr(runner, "build", build)
    plan = plan_of((48, 64))
    expected = Eager(runner.network, CPU)(plan, *inputs(plan))
    for _ in range(3):
        same(runner(plan, *inputs(plan)), expected)
    assert runner.ready(plan) is None
    may_build.set()
    runner._builder.join(60)
    assert runner.ready(plan) is not None
    same(runner(plan, *inputs(plan)), expected)
    assert built_by == [runner._builder]
    assert built_by[0] is not threading.current_thread()


ENDS_WHILE_COMPILING = """
import threading, time
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from test_acceleration import CPU, Compiled, inputs, network, plan_of

class Endless(TorchDispatchMode):
    "Python under torch's C++, as a compiler's tracing is."
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        inside.set()
        while True:
            time.sleep(0.001)

def build(plan):
    with Endless():
        torch.ones(1)

inside = threading.Event()
runner = Compiled(network(), CPU)
runner.build = build
runner(plan_of((48, 64)), *inputs(plan_of((48, 64))))
assert inside.wait(60)
"""


def test_a_process_may_end_while_something_is_compiled() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ENDS_WHILE_COMPILING]
    ended = subprocess.run(
        command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("canonical", [None, 40.0])
@pytest.mark.parametrize("tokens", [False, True])
def test_what_the_estimator_makes_ready_is_what_runs(canonical: float | None, tokens: bool, calibrated: bool) -> None:
    lengths = {"space_clip": canonical} if canonical else {}
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", canonical_focal_px=lengths)
    runner = Fragile(network(), CPU)
    estimator._runner = runner
    camera = CameraModel.pinhole(64, 48, 60.0, 60.0, 32.0, 24.0) if calibrated else None
    estimator.prepare((48, 64), tokens=tokens, calibrated=calibrated)
    asked: list[Plan] = []
    ready = runner.ready
    runner.ready = lambda plan: asked.append(plan) or ready(plan)
    estimator.run([np.zeros((48, 64, 3), np.uint8)], [camera], tokens=tokens)
    assert [ready(plan) is not None for plan in asked] == [True]


def test_names() -> None:
    for name, kind in (("auto", Eager), ("eager", Eager), ("compile", Compiled)):
        assert type(pick_runner(name, network(), CPU)) is kind
    with pytest.raises(BadInput, match="acceleration is cuda_graph, but the network runs on the CPU"):
        pick_runner("cuda_graph", network(), CPU)


def test_results_of_a_cpu_are_on_the_host_already() -> None:
    results = Eager(network(), CPU)(plan_of((48, 64)), *blank(plan_of((48, 64))))
    assert on_host(results, CPU) is results


def test_the_estimator_says_how_it_runs() -> None:
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", "bf16", acceleration="eager")
    assert estimator.path == {"precision": "bf16", "acceleration": "eager"}
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    before = estimator.run([image], to_host=True)[0]["space_clip"].depth
    estimator.prepare((48, 64), batch=2)
    estimator.release()
    assert torch.equal(estimator.run([image])[0]["space_clip"].depth, before)


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_cuda_graphs_give_what_eager_gives(precision: str) -> None:
    device = torch.device("cuda")
    runner = pick_runner("auto", network(precision, device), device)
    eager = Eager(runner.network, device)
    for plan in (plan_of((48, 64)), plan_of((48, 64), (32, 80), tokens=False), plan_of((48, 64), scaled=False)):
        for seed in range(4):
            images, scales = inputs(plan, seed)
            same(on_host(runner(plan, images, scales), device), on_host(eager(plan, images, scales), device), 1e-6)
        assert runner.ready(plan) is not None


@needs_gpu
def test_results_of_a_graph_are_not_changed_by_the_next_frame() -> None:
    device = torch.device("cuda")
    runner = pick_runner("cuda_graph", network("fp16", device), device)
    plan = plan_of((48, 64))
    runner.prepare(plan)
    first = runner(plan, *inputs(plan, 1))
    kept = first[0]["space_clip"].depth.clone()
    runner(plan, *inputs(plan, 2))
    assert torch.equal(first[0]["space_clip"].depth, kept)
    runner.release()
