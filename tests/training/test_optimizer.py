"""Which parameters decay, which are optimised at all, and the shape of the learning rate."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from differseg.errors import InputError
from differseg.training.adaxw import AdaXW
from differseg.training.learning import Group, StepSettings
from differseg.training.optimizer import create_optimizer, learning_rate_at, set_learning_rate


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


def test_poly_and_exponential_schedules() -> None:
    poly = [learning_rate_at(s, 101, 0, 1e-2, kind="poly") for s in range(101)]
    assert poly[0] == 1e-2
    assert poly[50] == pytest.approx(1e-2 * 0.5**0.9)
    assert poly[-1] == 0
    how = StepSettings(flat_epochs=2, half_life_epochs=3)

    def rate(step: int) -> float:
        return learning_rate_at(
            step, 1000, 10, 1e-2, kind="exponential", settings=how, steps_per_epoch=10
        )

    assert [rate(9), rate(10), rate(30)] == [1e-2] * 3
    assert rate(60) == pytest.approx(5e-3)
    assert rate(90) == pytest.approx(2.5e-3)


def test_groups_have_their_own_rate_and_decay() -> None:
    model = nn.ModuleDict({"head": nn.Conv2d(3, 4, 3), "trunk": nn.Conv2d(3, 4, 3)})
    groups = (Group("head.*", lr=10), Group("*.weight", lr=0.5, weight_decay=0.3))
    optimizer = create_optimizer(model, 1e-3, 0.05, groups=groups)
    found = [(g["lr"], g["weight_decay"], g["params"][0].ndim) for g in optimizer.param_groups]
    assert found == [(1e-2, 0.05, 4), (1e-2, 0, 1), (5e-4, 0.3, 4), (1e-3, 0, 1)]
    set_learning_rate(optimizer, 2e-3)
    assert [g["lr"] for g in optimizer.param_groups] == [2e-2, 2e-2, 1e-3, 2e-3]
    with pytest.raises(InputError, match=r"for the group 'decoder\.\*'; .* head\.\*, trunk\.\*"):
        create_optimizer(model, 1e-3, 0, groups=[Group("decoder.*")])


def test_kinds_of_optimisers_take_their_numbers() -> None:
    model = nn.Conv2d(3, 4, 3)
    sgd = create_optimizer(model, 1e-2, 1e-4, kind="sgd", settings=StepSettings(momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == 0.8
    how = StepSettings(betas=(0.8, 0.9), eps=1e-6)
    adam = create_optimizer(model, 1e-2, 1e-4, settings=how)
    assert (adam.param_groups[0]["betas"], adam.param_groups[0]["eps"]) == ((0.8, 0.9), 1e-6)


def test_adaxw_takes_the_steps_that_its_authors_write() -> None:
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(5, dtype=torch.float64, generator=generator))
    first, second, eps, decay, rate = 0.9, 1e-4, 1e-12, 1e-2, 1e-2
    optimizer = AdaXW([parameter], rate, (first, second), eps, decay)
    p, m, v = parameter.detach().clone(), torch.zeros(5), torch.zeros(5)
    for t in range(1, 30):
        g = torch.randn(5, dtype=torch.float64, generator=generator)
        parameter.grad = g.clone()
        optimizer.step()
        m = first * m + (1 - first) * g
        v = (1 + second) * v + second * g**2
        p = p - rate * decay * p
        p = p - rate * ((1 + second) ** t - 1) ** 0.5 * m / (v.sqrt() + eps)
    torch.testing.assert_close(parameter.detach(), p, rtol=1e-9, atol=1e-12)
