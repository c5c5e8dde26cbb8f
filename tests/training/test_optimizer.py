"""Which parameters decay, which are optimised at all, and the shape of the learning rate."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from differseg.errors import InputError
from differseg.training.optimizer import create_optimizer, learning_rate_at


def test_norms_and_biases_do_not_decay_and_frozen_parameters_stay_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    model[2].requires_grad_(False)
    decay, plain = create_optimizer(model, 1e-3, 0.05).param_groups
    assert [tuple(p.shape) for p in decay["params"]] == [(4, 3, 3, 3)]
    assert decay["weight_decay"] == 0.05
    assert len(plain["params"]) == 3
    assert plain["weight_decay"] == 0


def test_a_frozen_network_is_refused() -> None:
    with pytest.raises(InputError, match="every parameter of the network is frozen"):
        create_optimizer(nn.Linear(2, 2).requires_grad_(False), 1e-3, 0)


def test_warm_up_then_cosine() -> None:
    rates = [learning_rate_at(step, 110, 10, 1e-2) for step in range(110)]
    torch.testing.assert_close(rates[:10], [1e-3 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1e-2)
    assert rates[60] == pytest.approx(5e-3, rel=0.02)
    assert rates[-1] == pytest.approx(1e-7)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_no_warm_up_and_a_run_of_one_step() -> None:
    assert learning_rate_at(0, 5, 0, 1e-2) == pytest.approx(1e-2)
    assert learning_rate_at(0, 1, 0, 1e-2) == pytest.approx(1e-2)
    assert learning_rate_at(2, 3, 30, 3e-2) == pytest.approx(3e-3)  # ends inside the warm-up
