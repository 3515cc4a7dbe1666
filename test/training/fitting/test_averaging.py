"""What the running average follows, and what it leaves alone."""

from __future__ import annotations

import torch
from torch import nn

from clip_depth_training.fitting.averaging import RunningAverage
from clip_depth_training.methods.text import TextTower


class Masked(nn.Module):
    """A weight, a statistic, a counter and a constant mask."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("statistic", torch.zeros(2))
        self.register_buffer("counter", torch.tensor(0))
        self.register_buffer("mask", torch.full((2,), float("-inf")), persistent=False)


def test_weights_and_statistics_move_counters_are_copied_and_constants_stay() -> None:
    module = Masked()
    average = RunningAverage(module, 0.75)
    with torch.no_grad():
        module.weight.fill_(4)
        module.get_buffer("statistic").fill_(8)
        module.get_buffer("counter").fill_(3)
    for expected in (1.0, 1.75):
        average.update(module)
        assert average.module.weight.tolist() == [expected, expected]
        assert average.module.get_buffer("statistic").tolist() == [2 * expected, 2 * expected]
    assert int(average.module.get_buffer("counter")) == 3
    assert average.module.get_buffer("mask").tolist() == [float("-inf")] * 2


def test_the_average_of_a_text_tower_embeds_words() -> None:
    torch.manual_seed(0)
    text = TextTower(embed_dim=8, width=16, layers=1, context_length=8)
    average = RunningAverage(text, 0.9)
    for _ in range(3):
        average.update(text)
    with torch.no_grad():
        torch.testing.assert_close(average.module(["a red chair"]), text(["a red chair"]))
