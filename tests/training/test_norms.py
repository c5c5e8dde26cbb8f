"""Which runs keep the statistics of batch normalisation, and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from differseg.training.norms import (
    BatchStatistics,
    choose_freeze_norm,
    norm_state,
    norms_with_statistics,
    set_training_mode,
)


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


def test_layers_that_were_never_trained_learn_their_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    choice = choose_freeze_norm(None, True)
    assert norm_state(model, norms_with_statistics(model), choice).startswith("learnt: those of")
    model[0](torch.randn(4, 2, 3, 3))
    frozen = norms_with_statistics(model)
    assert frozen == [model[0]]
    assert "in 1 of 2 layers: --init was given" in norm_state(model, frozen, choice)
    for _ in range(2):  # also when the second one has statistics
        set_training_mode(model, frozen)
        assert [part.training for part in model] == [False, True]
        model(torch.randn(4, 2, 3, 3))
    assert norm_state(model, norms_with_statistics(model), choice).startswith("kept as they are: ")
    assert norm_state(model, [], choose_freeze_norm(None, False)).startswith("learnt: fresh")


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
