"""The average of the weights against its formula, and that it gives the network back intact."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from differseg.training.averaging import WeightAverage


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    model[0].bias.requires_grad_(False)
    return model


def test_average_follows_the_formula() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    wanted = model[0].weight.detach().clone()
    for update in range(120):
        with torch.no_grad():
            model[0].weight.add_(0.1)
            model[1].running_mean.add_(1)
        average.update(model)
        decay = min(0.9, (1 + update) / (10 + update))
        wanted = decay * wanted + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(average.values["0.weight"], wanted)
    assert average.values["1.running_mean"][0].item() == pytest.approx(120 - 9, abs=0.1)


def test_trained_weights_are_not_forgotten_faster_at_first() -> None:
    model = network()
    average = WeightAverage(model, 0.9, trained_start=True)
    start = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    average.update(model)
    torch.testing.assert_close(average.values["0.weight"], start + 0.1)


def test_only_what_learns_is_averaged() -> None:
    assert set(WeightAverage(network(), 0.9).values) == {
        "0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var",
    }  # fmt: skip


def test_decay_zero_follows_the_network_exactly() -> None:
    model = network()
    average = WeightAverage(model, 0.0)
    with torch.no_grad():
        model[0].weight.add_(0.123)
    average.update(model)
    assert torch.equal(average.values["0.weight"], model[0].weight)


def test_network_gets_its_own_weights_back_even_after_an_error() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        model[0].weight.fill_(7)
        model[1].running_var.fill_(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def look_and_fail() -> None:
        with average.applied_to(model):
            assert not torch.equal(model[0].weight, before["0.weight"])
            assert torch.equal(model[0].weight, average.values["0.weight"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        look_and_fail()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_state_round_trip() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    for _ in range(3):
        with torch.no_grad():
            model[0].weight.mul_(1.3)
        average.update(model)
    other = WeightAverage(network(), 0.9)
    other.restore(average.state())
    assert other.updates == 3
    assert torch.equal(other.values["0.weight"], average.values["0.weight"])
