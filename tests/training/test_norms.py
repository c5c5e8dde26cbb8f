"""Which runs keep the statistics of batch normalisation, and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from differseg.training.norms import BatchStatistics, choose_freeze_norm


@pytest.mark.parametrize(
    ("asked", "trained", "value", "reason"),
    [
        (None, True, "on", "--init was given"),
        (None, False, "off", "fresh weights"),
        (False, True, "off", "asked for"),
        (True, True, "on", "asked for"),
    ],
)
def test_the_choice_comes_with_its_reason(
    asked: bool | None, trained: bool, value: str, reason: str
) -> None:
    decision = choose_freeze_norm(asked, trained)
    assert decision.value == value
    assert reason in decision.reason


def test_statistics_can_be_taken_back_again_and_again() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    statistics = BatchStatistics(model)
    for value in (0.5, 2.0):
        model(torch.full((2, 1, 4, 4), value))
        statistics.keep()
        kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model(torch.full((2, 1, 4, 4), float("nan")))
        assert model[1].running_mean.isnan().all()
        statistics.take_back()
        assert all(torch.equal(b, kept[name]) for name, b in model.named_buffers())
