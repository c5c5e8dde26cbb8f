"""The cascade of local relations against a literal one: explicit taps, one map at a time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from differseg.modules.pixel_relation import LocalPixelRelation

pytestmark = pytest.mark.usefixtures("one_thread")


def relation_module(guide_channels, dilations):
    torch.manual_seed(2)
    module = LocalPixelRelation(guide_channels, dilations).double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if "running" in name:
                value.uniform_(0.5, 1.5)
    return module


def shifted(x, rows, columns):
    """Read every pixel's neighbour; border pixels are repeated."""
    height, width = x.shape[-2:]
    row = (torch.arange(height) + rows).clamp(0, height - 1)
    column = (torch.arange(width) + columns).clamp(0, width - 1)
    return x[:, :, row][:, :, :, column]


def literal(module, x, guide):
    relation = module.entry(guide)
    taps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    for dilation, level in zip(module.dilations, module.levels, strict=True):
        logits = sum(
            F.conv2d(
                shifted(relation, i * dilation, j * dilation),
                level.conv.weight[:, :, i + 1, j + 1, None, None],
            )
            for i, j in taps
        )
        relation = level.bn(logits)
        weights = relation.softmax(1)
        x = sum(
            weights[:, number, None] * shifted(x, i * dilation, j * dilation)
            for number, (i, j) in enumerate(taps)
        )
    return x


@pytest.mark.parametrize("dilations", [(1, 2, 4, 8, 16), (3,), ()], ids=str)
def test_equals_the_literal_cascade(dilations):
    module = relation_module(6, dilations)
    x = torch.randn(2, 4, 12, 17, dtype=torch.float64)
    guide = torch.randn(2, 6, 12, 17, dtype=torch.float64)
    torch.testing.assert_close(module(x, guide), literal(module, x, guide), rtol=1e-9, atol=1e-9)


def test_parameters_and_entries_of_a_level():
    module = LocalPixelRelation(19)
    assert module.dilations == (1, 2, 4, 8, 16)
    for level in module.levels:
        assert sum(p.numel() for p in level.parameters()) == 747
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert shapes["entry.0.weight"] == (9, 19, 3, 3)
    assert shapes["entry.0.bias"] == shapes["entry.1.running_mean"] == (9,)
    assert shapes["levels.4.conv.weight"] == (9, 9, 3, 3)
    assert shapes["levels.4.bn.weight"] == (9,)
    assert "levels.0.conv.bias" not in shapes


def test_weights_sum_to_one():
    module = relation_module(3, (1, 2, 4))
    x = torch.full((1, 2, 9, 9), 0.75, dtype=torch.float64)
    guide = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(module(x, guide), x)


def test_the_loss_reaches_every_parameter():
    module = relation_module(3, (1, 2, 4)).train()
    x, guide = (torch.randn(2, 3, 9, 9, dtype=torch.float64) for _ in range(2))
    module(x, guide).square().mean().backward()
    # A bias in front of a normalisation is taken out again by it.
    idle = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert set(idle) <= {"entry.0.bias"}
