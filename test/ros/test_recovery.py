"""A device without memory for the whole batch, or one that breaks or hangs: the node says so and goes on, or ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_node import lose
from node_runner import running_node
from rclpy.lifecycle import TransitionCallbackReturn
from rig import Rig, depth_array, image, picture, stamp_of
from sensor_msgs.msg import Image
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.ros import recovery, worker
from clip_depth_ros.ros.recovery import BatchLimit, is_device_error, is_out_of_memory

MakeRig = Callable[..., Rig]
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB of which 1.00 GiB is free."
)
NAMES = ["front", "left", "right", "rear"]


def no_memory() -> None:
    raise torch.cuda.OutOfMemoryError(FULL)


def break_kernel() -> None:
    raise RuntimeError("the kernel takes no such picture")


@contextmanager
def failing(rig: Rig, fault: Callable[[], None], when: Callable[[Tensor], bool]) -> Iterator[list[int]]:
    """Has the encoder fail for such batches ``(B, 3, h, w)``; gives the sizes of those that failed."""
    failed: list[int] = []

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if when(inputs[0]):
            failed.append(len(inputs[0]))
            fault()

    hook = rig.pipeline.network.estimator.encoder.register_forward_pre_hook(before)
    try:
        yield failed
    finally:
        hook.remove()


def holds_black(pixels: Tensor) -> bool:
    """Whether a picture of one colour is in the batch."""
    return bool((pixels.amax((2, 3)) == pixels.amin((2, 3))).all(1).any())


def black(second: int) -> Image:
    message = image(second)
    message.data = bytes(len(message.data))
    return message


@pytest.fixture
def four(make_rig: MakeRig) -> Rig:
    """A node with four cameras, all of whose depth is heard."""
    rig = make_rig(cameras=NAMES)
    rig.listen(Image, *(f"{name}/depth/image" for name in NAMES))
    return rig


def send_all(rig: Rig, second: int) -> None:
    """Sends one image of each camera as one batch, and waits until each is answered."""
    rig.send_at_once({name: image(second, seed=seed) for seed, name in enumerate(NAMES)})
    for name in NAMES:
        assert stamp_of(rig.answer(f"{name}/depth/image", second))[0] == second


def test_a_batch_too_large_for_the_memory_is_split(four: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    with failing(four, no_memory, lambda pixels: len(pixels) > 2) as failed:
        send_all(four, 1)
        assert (failed, four.encodes) == ([4], [2, 2])
        send_all(four, 2)
        assert (failed, four.encodes) == ([4], [2, 2, 2, 2])  # what failed is not tried again so soon
    for seed, name in enumerate(NAMES):
        expected = four.pipeline.network.estimator.run([picture(seed=seed)])[0]["space_clip"].depth[0].numpy()
        np.testing.assert_allclose(depth_array(four.answer(f"{name}/depth/image", 2)), expected, atol=1e-4)
    said = "cpu has memory for 2 pictures in one run, not for 4"
    values = four.status("node", lambda values, status: status.level == WARN and said in status.message)
    assert (values["most pictures a batch"], values["times out of memory"]) == ("2", "1")
    assert capfd.readouterr().err.count(said) == 1
    assert [camera.stream.counters.failed for camera in four.pipeline.cameras] == [0] * 4


def test_the_larger_batch_is_tried_again_and_kept_when_it_works(
    four: Rig, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RETRY_AFTER", 0.0)
    with failing(four, no_memory, lambda pixels: len(pixels) > 1) as failed:
        send_all(four, 1)
        assert (failed, four.encodes) == ([4, 2], [1, 1, 1, 1])
        send_all(four, 2)
        assert failed == [4, 2, 2]
    four.encodes.clear()
    send_all(four, 3)
    send_all(four, 4)
    send_all(four, 5)
    assert four.encodes == [2, 2, 4, 4]
    four.status("node", lambda values, status: status.level == OK and values["most pictures a batch"] == "no limit")
    logged = capfd.readouterr().err
    assert logged.count("has memory for 1 picture in one run, not for 4") == 1
    assert logged.count("has memory for 4 pictures in one run again") == 1


@pytest.mark.parametrize("fault", [no_memory, break_kernel])
def test_a_camera_whose_pictures_fail_does_not_slow_the_others(four: Rig, fault: Callable[[], None]) -> None:
    bad, good = NAMES[1], [name for name in NAMES if name != NAMES[1]]
    counters = four.pipeline.cameras[1].stream.counters
    with failing(four, fault, holds_black) as failed:
        for second in (1, 2):
            four.send_at_once({name: black(second) if name == bad else image(second) for name in NAMES})
            for name in good:
                assert stamp_of(four.answer(f"{name}/depth/image", second))[0] == second
            four.until(lambda second=second: counters.failed == second)
        assert failed[0] == 4  # the first batch failed as a whole,
        assert set(failed[failed.index(1) :]) == {1}  # from then on only what cannot work,
    assert four.encodes[-1] == 3  # and the other cameras have a batch of their own.
    assert four.pipeline.runner.remarks() == []
    said = "even one picture fits into the memory of cpu (CUDA out of memory. Tried to allocate 2.00 GiB)"
    assert (said if fault is no_memory else "RuntimeError: the kernel takes no such picture") in counters.last_error
    assert ("encoder.input_size" in counters.last_error) == (fault is no_memory)
    four.encodes.clear()
    for second in (3, 4):
        four.send_at_once({name: image(second) for name in NAMES})
        for name in good:
            four.answer(f"{name}/depth/image", second)
    four.answer(f"{bad}/depth/image", 2)
    assert four.encodes == [3, 1, 4]  # a picture that works brings its camera back


def test_a_lost_device_is_left_alone_and_may_be_configured_again(four: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    node = four.depth_node
    with failing(four, lose, lambda _: True) as failed:
        for count in range(3):
            four.send_at_once({name: image(1) for name in NAMES})
            four.until(lambda count=count: all(c.stream.counters.unanswered == count for c in four.pipeline.cameras))
        assert failed == [4]
    said = "cpu does not work any more (CUDA error: unspecified launch failure): restart this process"
    status = four.status("node", lambda values, status: status.level == ERROR)
    assert status["message"].startswith(said)
    values = four.status(f"camera {NAMES[0]}", lambda values, status: status.level == ERROR)
    assert "no output" in values["message"]
    assert (values["frames failed"], values["frames unanswered since the device broke"]) == ("1", "2")
    assert said in values["last error"]
    assert capfd.readouterr().err.count("does not work any more") == 1
    assert four.heard[f"{NAMES[0]}/depth/image"] == []

    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: lose() if isinstance(module, SharedEncoder) else None
    )
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    finally:
        hook.remove()
    message = four.status("node", lambda values, status: status.message.startswith("cannot configure"))["message"]
    assert "device 'cpu' does not work" in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
    node.autostart()
    four.until(lambda: four.publisher(Image, f"{NAMES[0]}/image").get_subscription_count())
    four.send(f"{NAMES[0]}/image", image(9))
    assert stamp_of(four.answer(f"{NAMES[0]}/depth/image"))[0] == 9
    four.status("node", lambda values, status: status.level == OK)


def test_weights_without_room_do_not_configure(make_rig: MakeRig) -> None:
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: no_memory() if isinstance(module, SharedEncoder) else None
    )
    try:
        rig = make_rig()
    finally:
        hook.remove()
    message = rig.status("node", lambda values, status: status.level == ERROR)["message"]
    assert message.startswith("cannot configure: not even one picture fits into the memory of device 'cpu'")
    rig.depth_node.autostart()
    rig.status("node", lambda values, status: status.level == OK)


def test_a_hanging_device_holds_up_nothing_else(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_HANGING", 0.2)
    monkeypatch.setattr(worker, "_PATIENCE", 0.2)
    rig = make_rig()
    rig.listen(Image, "depth/image")
    leave, node = threading.Event(), rig.depth_node
    hung = rig.pipeline
    with failing(rig, lambda: None, lambda _: leave.wait(60)):
        try:
            rig.send("image", image(1))
            values = rig.status("node", lambda values, status: "cpu has been at one batch for" in status.message)
            assert "batches" in values
            assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
            said = "cpu still has not answered the last batch: restart this process"
            rig.status("node", lambda values, status: f"cannot activate: {said}" in status.message)
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
            rig.status("node", lambda values, status: f"cannot configure: {said}" in status.message)
            assert not node.close()
        finally:
            leave.set()
        rig.until(lambda: not hung.is_hanging)
    assert node.close()
    node.autostart()
    rig.until(lambda: rig.publisher(Image, "image").get_subscription_count())
    rig.send("image", image(2))
    assert stamp_of(rig.answer("depth/image"))[0] == 2  # and nothing came of the first


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("fault", ["lose", "hang", pytest.param("trip", marks=NEEDS_CUDA)])
def test_a_node_whose_device_failed_ends_at_a_signal(
    process_domain_id: int, weights: dict[str, str], tmp_path: Path, fault: str
) -> None:
    trigger, log = tmp_path / "trigger", tmp_path / "log.txt"
    options = {"device": "cuda", "acceleration": "eager"} if fault == "trip" else {"device": "cpu"}
    program = (str(Path(__file__).with_name("faulty_node.py")), fault, str(trigger))
    with running_node(process_domain_id, log, program, weights=f"[{weights['plain']}]", **options) as remote:
        remote.listen(Image, "depth/image")
        remote.send("image", image(1))
        remote.answer("depth/image")
        trigger.touch()
        remote.send("image", image(2), image(3))
        if fault == "hang":  # which diagnostics say after ten seconds
            remote.until(lambda: "hanging" in log.read_text())
        else:
            remote.status("node", lambda values, status: "does not work any more (CUDA error:" in status.message)
        os.kill(remote.process.pid, signal.SIGINT)
        remote.until(lambda: remote.process.exit_code is not None)
        assert remote.process.exit_code == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        assert ("The batch in work is left behind" in log.read_text()) == (fault == "hang")


def test_which_errors_are_for_want_of_memory_and_which_are_of_the_device() -> None:
    accelerator: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)
    memory = [
        torch.cuda.OutOfMemoryError(FULL),
        MemoryError(),
        accelerator("CUDA error: out of memory\nCUDA kernel errors might be reported at some other call."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
    ]
    device = [
        accelerator("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA driver error: unknown error"),
    ]
    neither = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("CUDA error: no")]
    for errors, is_memory, is_device in ((memory, True, False), (device, False, True), (neither, False, False)):
        for error in errors:
            assert (is_out_of_memory(error), is_device_error(error)) == (is_memory, is_device), error


def test_a_real_shortage_of_host_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@NEEDS_CUDA
def test_a_real_shortage_of_device_memory_is_survived(make_rig: MakeRig) -> None:
    options: dict[str, Any] = {"device": "cuda", "acceleration": "eager", "encoder__input_size": [512, 512]}
    rig = make_rig(cameras=NAMES, **options)
    estimator = rig.pipeline.network.estimator

    def peak(count: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        estimator.run([picture()] * count, to_host=True)
        return torch.cuda.max_memory_reserved()

    between = (peak(2) + peak(4)) / 2
    rig.listen(Image, *(f"{name}/depth/image" for name in NAMES))
    rig.encodes.clear()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(between / torch.cuda.get_device_properties(0).total_memory)
    try:
        send_all(rig, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert rig.encodes == [2, 2]
    rig.status("node", lambda values, status: status.level == WARN and values["times out of memory"] == "1")


def runs(limit: BatchLimit, count: int, fits: int, now: float) -> list[int]:
    """The runs that ``count`` pictures take where ``fits`` have room at once; negative ones failed."""
    done: list[int] = []
    while count:
        size = limit.next_run(count, now)
        if size > fits:
            limit.failed(size, now)
            done.append(-size)
        else:
            limit.worked(size, now)
            count -= size
            done.append(size)
    return done


def test_the_limit_grows_back_step_by_step_and_waits_longer_after_each_vain_try() -> None:
    limit = BatchLimit()
    assert runs(limit, 8, 8, 0) == [8]
    assert runs(limit, 8, 3, 0) == [-8, -4, 2, 2, 2, 2]
    assert runs(limit, 8, 3, 29) == [2, 2, 2, 2]
    assert runs(limit, 8, 3, 31) == [-4, 2, 2, 2, 2]
    assert runs(limit, 8, 3, 90) == [2, 2, 2, 2]  # 60 seconds after a try in vain, not 30
    assert runs(limit, 3, 3, 92) == [3]  # fewer waited, and they fitted
    assert runs(limit, 8, 8, 123) == [4, 4]
    assert runs(limit, 8, 8, 154) == [8]
    assert limit.size == 0


def test_runs_are_as_even_as_may_be() -> None:
    limit = BatchLimit(size=3, target=5, _retry_at=1e9)
    assert [runs(limit, count, 3, 0) for count in (1, 3, 4, 5, 7)] == [[1], [3], [2, 2], [3, 2], [3, 2, 2]]
