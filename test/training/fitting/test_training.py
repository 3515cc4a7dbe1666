"""What a training shows, decides and leaves to the machine."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import At, recipe_in

from clip_depth_ros.depth.colour import colourise
from clip_depth_training.fitting.averaging import RunningAverage, exchanged
from clip_depth_training.fitting.fit import fit, precision
from clip_depth_training.fitting.pictures import row
from clip_depth_training.fitting.training import MethodTraining, rate
from clip_depth_training.recipe import StepSchedule


def test_the_learning_rate_is_the_papers(tiny_recipe):
    recipe = replace(tiny_recipe, learning_rate=1e-4, final_learning_rate=1e-6)
    rates = [1e-4 * rate(recipe, step, 1000) for step in range(1000)]
    assert rates[:50] == pytest.approx([1e-4 * (step + 1) / 50 for step in range(50)])
    assert max(rates) == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-6)
    middle = 1e-6 + (1e-4 - 1e-6) * 0.5 * (1 + math.cos(math.pi * 450 / 949))
    assert rates[500] == pytest.approx(middle)


def test_the_learning_rate_can_fall_in_steps(tiny_recipe):
    """As torch's StepLR(20, 0.1) has it, over 50 passes of 3 steps."""
    recipe = replace(tiny_recipe, steps=None, epochs=50, schedule=StepSchedule(20, 0.1), warm_up=0.0)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.StepLR(optimizer, 20, 0.1)
    for epoch in range(50):
        expected = reference.get_last_lr()[0]
        assert [rate(recipe, 3 * epoch + step, 150) for step in range(3)] == pytest.approx([expected] * 3)
        optimizer.step()
        reference.step()
    counted = replace(tiny_recipe, steps=10, schedule=StepSchedule(4, 0.5), warm_up=0.3)
    rates = [rate(counted, step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("everywhere", [True, False])
def test_weight_decay_is_where_the_recipe_says(tiny_recipe, tmp_path, everywhere):
    seen = []

    def look(trainer, _):
        seen.extend(trainer.optimizers[0].param_groups)

    fit(replace(tiny_recipe, steps=1, decay_norms_and_biases=everywhere), tmp_path, callbacks=[At(1, look)])
    decayed = {value.ndim for group in seen if group["weight_decay"] == 0.01 for value in group["params"]}
    others = {value.ndim for group in seen if group["weight_decay"] == 0 for value in group["params"]}
    assert (1 in decayed, others) == ((True, set()) if everywhere else (False, {1}))
    assert 4 in decayed


def test_the_average_follows_weights_and_buffers():
    module = torch.nn.BatchNorm1d(2)
    average = RunningAverage(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(2.0)
        module.running_mean.fill_(10.0)
        module.num_batches_tracked.fill_(7)
    average.update(module)
    assert average.module.weight.tolist() == pytest.approx([1.1, 1.1])
    assert average.module.running_mean.tolist() == pytest.approx([1.0, 1.0])
    assert int(average.module.num_batches_tracked) == 7
    with exchanged(module, average.module):
        assert module.weight.tolist() == pytest.approx([1.1, 1.1])
    assert module.weight.tolist() == [2.0, 2.0]


def test_exchanged_weights_are_what_16_bit_layers_compute_with():
    """Autocast keeps 16-bit copies of weights; those of the other module must not be used."""
    module, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    inputs = torch.randn(2, 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, own = other(inputs), module(inputs)
        with exchanged(module, other):
            assert torch.equal(module(inputs), expected)
        assert torch.equal(module(inputs), own)


def test_frozen_statistics_and_dropout_are_as_the_recipe_says(tiny_recipe):
    training = MethodTraining(replace(tiny_recipe, freeze_normalisation=True, dropout=0.25))
    kinds = {type(module): module for module in training.method.trained.modules()}
    assert not kinds[torch.nn.BatchNorm2d].training
    assert kinds[torch.nn.Conv2d].training
    assert kinds[torch.nn.Dropout].p == 0.25
    assert not any(module.training for module in training.method.encoder.modules())
    assert MethodTraining(tiny_recipe).train().method.head.depth_head[1].training


def test_tensorboard_has_figures_and_a_row_for_each_of_four_samples(tiny_recipe, tmp_path):
    fit(tiny_recipe, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "raw/metric/abs_rel", "average/metric/abs_rel"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3]
    assert sorted(tags["images"]) == [f"validation/{number}" for number in range(4)]
    shown = events.Images("validation/2")[-1]
    assert (shown.height, shown.width, shown.step) == (32, 4 * 32, 4)


def test_a_row_is_image_truth_prediction_and_error():
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    truth = np.tile(np.linspace(1, 3, 8, dtype=np.float32), (6, 1))
    truth[0] = 0
    depth = truth.copy()
    depth[1], depth[2] = truth[1] * 1.2, truth[2] * 2
    shown = row(image, truth, depth)
    assert shown.shape == (6, 32, 3)
    assert (shown[:, :8] == image).all()
    assert (shown[3:, 8:16] == shown[3:, 16:24]).all()
    assert (shown[:, 8:16] == colourise(truth)).all()
    errors = shown[:, 24:].astype(int).sum((1, 2))
    assert errors[0] == errors[3] == errors[5] == 0
    assert 0 < errors[1] < errors[2] == 8 * 3 * 255


def test_lines_say_speed_and_time_left_where_there_is_no_terminal(tiny_recipe, tmp_path, capfd):
    fit(replace(tiny_recipe, log_every=2), tmp_path)
    lines = capfd.readouterr().err.splitlines()
    steps = [line for line in lines if "samples/s" in line]
    assert [line.split(",")[0] for line in steps] == ["step 2/4", "step 4/4"]
    assert all(line.endswith("left") for line in steps)
    assert sum("validation AbsRel" in line for line in lines) == 2


def test_16_bits_train_and_leave_the_encoder_in_them(tmp_path):
    recipe = recipe_in(tmp_path, precision="bf16-mixed", steps=2)
    training = fit(recipe, tmp_path / "run")
    wanted = torch.bfloat16 if precision("bf16-mixed") == "bf16-mixed" else torch.float32
    assert training.method.encoder.dtype == wanted
    assert training.method.head.depth_head[0].weight.dtype == torch.float32
    assert precision("32-true") == "32-true"
