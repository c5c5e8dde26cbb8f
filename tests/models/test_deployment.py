from __future__ import annotations

import pytest
import torch
from classes_network import CLASSES, classes_module, spec_of
from torch import nn

from differseg.errors import InputError
from differseg.models import create_model
from differseg.models.deployment import (
    DeploymentModule,
    Normalize,
    lowered_for_export,
    probability_of,
)
from differseg.models.spec import BINARY_CLASSES, MODALITIES


def network(task="rgbt"):
    torch.manual_seed(0)
    return create_model("differseg-edge", task=task)


@pytest.mark.parametrize("task", MODALITIES)
def test_equals_normalisation_forward_and_sigmoid_by_hand(task):
    model = network(task).eval()
    module = DeploymentModule(model)
    raw = module.raw_inputs_example((64, 96), batch=2)
    assert list(raw) == [m.name for m in model.spec.modalities]

    tensors = []
    for modality in model.spec.modalities:
        x = raw[modality.name]
        if x.dtype == torch.uint8:
            assert x.shape == (2, 64, 96, 3)
            x = x.permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (modality.mean, modality.std))
        tensors.append((x - mean) / std)
    with torch.no_grad():
        expected = torch.sigmoid(model(*tensors)["logits"])
        got = module(*raw.values())
    assert got.shape == (2, 1, 64, 96)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_stays_in_eval_mode_and_leaves_the_callers_network_alone():
    model = network().train()
    module = DeploymentModule(model).train()
    raw = module.raw_inputs_example((64, 64)).values()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    first, second = module(*raw), module(*raw)
    assert torch.equal(first, second)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(m.training for m in module.modules())
    assert not first.requires_grad
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_missing_modality_is_refused():
    module = DeploymentModule(network())
    with pytest.raises(InputError, match=r"expected 2 input\(s\), got 1"):
        module(module.raw_inputs_example((64, 64))["rgb"])


def test_a_modality_too_many_is_refused():
    module = DeploymentModule(network("rgb"))
    with pytest.raises(InputError, match=r"expected 1 input\(s\), got 2"):
        module(module.raw_inputs_example((64, 64))["rgb"], torch.rand(1, 1, 64, 64))


@pytest.mark.parametrize("name", ["rgb", "thermal"])
def test_numbers_of_another_type_are_refused(name):
    module = DeploymentModule(network())
    raw = module.raw_inputs_example((64, 64))
    raw[name] = raw[name].to(torch.float32 if name == "rgb" else torch.uint8)
    expected = {"rgb": "uint8 in 0..255, got float32", "thermal": "float32 in 0..1, got uint8"}
    with pytest.raises(InputError, match=f"input '{name}': expected {expected[name]}"):
        module(*raw.values())


def test_the_checks_do_not_stand_in_a_traced_graph():
    module = DeploymentModule(network("rgb"))
    raw = tuple(module.raw_inputs_example((64, 64)).values())
    traced = torch.export.export(module, raw).module()
    assert torch.equal(traced(*raw), module(*raw))


def test_normalize_brings_mean_to_zero_and_one_deviation_to_one():
    spec = network().spec
    unit = {}
    for modality in spec.modalities:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (modality.mean, modality.std))
        unit[modality.name] = torch.cat([mean, mean + std], dim=3)  # (1, C, 1, 2)
    for x in Normalize(spec)(unit).values():
        expected = torch.tensor([0.0, 1.0]).expand_as(x)
        torch.testing.assert_close(x, expected, atol=1e-6, rtol=0)


class Doubling(nn.Module):
    """Has an export form: a convolution with the same result."""

    def __init__(self):
        super().__init__()
        self.inner = Tripling()

    def forward(self, x):
        return 2 * self.inner(x)

    def for_export(self, size_hw):
        assert isinstance(self.inner, nn.Conv2d), "children are lowered first"
        return nn.Sequential(self.inner, scale(2.0))


class Tripling(nn.Module):
    def forward(self, x):
        return 3 * x

    def for_export(self, size_hw):
        self.seen_hw = size_hw
        return scale(3.0)


def scale(factor):
    layer = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(layer.weight, factor)
    return layer


def test_lowering_replaces_children_before_parents_in_a_copy():
    module = nn.Sequential(Doubling(), nn.BatchNorm2d(1)).train()
    x = torch.randn(2, 1, 4, 4)
    lowered = lowered_for_export(module, (64, 96))
    kinds = {type(m).__name__ for m in lowered.modules()}
    assert not {"Doubling", "Tripling"} & kinds
    assert isinstance(module[0], Doubling)
    assert module.training
    assert not lowered.training
    assert not any(p.requires_grad for p in lowered.parameters())
    torch.testing.assert_close(lowered(x), module.eval()(x))


def test_lowering_a_module_that_is_itself_replaced():
    assert isinstance(lowered_for_export(Tripling(), (32, 32)), nn.Conv2d)


def test_lowered_edge_network_gives_the_same_probability():
    module = DeploymentModule(network())
    raw = module.raw_inputs_example((64, 96)).values()
    assert torch.equal(lowered_for_export(module, (64, 96))(*raw), module(*raw))


def test_more_than_two_classes_give_a_softmax():
    module = classes_module()
    raw = module.raw_inputs_example((32, 48), batch=2)
    got = module(*raw.values())
    planes = {"rgb": raw["rgb"].permute(0, 3, 1, 2) / 255, "thermal": raw["thermal"]}
    with torch.no_grad():
        logits = module.model(*Normalize(module.spec)(planes).values())["logits"]
    assert got.shape == (2, len(CLASSES), 32, 48)
    torch.testing.assert_close(got, logits.exp() / logits.exp().sum(1, keepdim=True))
    torch.testing.assert_close(got.sum(dim=1), torch.ones(2, 32, 48))
    assert (got.argmax(dim=1).flatten().bincount(minlength=4) > 0).all()


@pytest.mark.parametrize(("classes", "said"), [(CLASSES, "4"), (BINARY_CLASSES, "1")])
def test_logits_that_do_not_fit_the_classes_are_refused(classes, said):
    logits = torch.zeros(1, 2, 8, 8)
    with pytest.raises(InputError) as caught:
        probability_of(spec_of(classes), logits)
    assert str(caught.value) == (
        f"classes-net: logits: expected {said} channel(s) for {len(classes)} classes, got "
        "(1, 2, 8, 8); name the classes in its spec"
    )
