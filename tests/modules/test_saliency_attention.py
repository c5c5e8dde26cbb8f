"""Both generators of the saliency's logits, layer by layer as the specification writes them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.models.deployment import lowered_for_export
from differseg.modules.saliency_attention import (
    BINS,
    LearnedHighPass,
    SaliencyAttention,
    mean_matrix,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def attention(channels, mode):
    """In double precision and with statistics as after training."""
    torch.manual_seed(0)
    module = SaliencyAttention(channels, mode).double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if "running" in name:
                value.uniform_(0.5, 1.5)
            elif name == "high_pass.weight":
                value.normal_()
    return module


def literal(module, x):
    """Pool, filter, concatenate the enlarged branches, convolve."""
    size_hw = x.shape[-2:]
    x = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).mean((-2, -1))
    state = module.state_dict()
    if "high_pass.weight" in state:
        kernel = -state["high_pass.weight"].flatten(1).softmax(1).view(-1, 1, 3, 3)
        kernel[:, :, 1, 1] += 2
        x = F.conv2d(x, kernel, padding=1, groups=x.shape[1])
    maps = [x]
    for branch, bins in zip(module.branches, BINS, strict=True):
        y = F.adaptive_avg_pool2d(x, bins)
        y = branch.bn(F.conv2d(y, branch.conv.weight)).relu()
        maps.append(F.interpolate(y, size=size_hw, mode="bilinear", align_corners=True))
    return module.predict(torch.cat(maps, dim=1))


@pytest.mark.parametrize("size_hw", [(16, 21), (13, 30), (7, 8)], ids=str)
@pytest.mark.parametrize("mode", ["high-pass", "semantic"])
def test_equals_the_layers_one_by_one(mode, size_hw):
    module = attention(8, mode)
    x = torch.randn(2, 8, *size_hw, dtype=torch.float64)
    for form in (module, lowered_for_export(module, size_hw)):
        torch.testing.assert_close(form(x), literal(module, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("mode", "parameters", "entries"), [("semantic", 4353, 26), ("high-pass", 4929, 27)]
)
def test_parameters_at_64_channels(mode, parameters, entries):
    module = SaliencyAttention(64, mode)
    assert sum(p.numel() for p in module.parameters()) == parameters
    # The authors hold two fixed kernels besides, of the high-pass and of the coordinate map.
    assert len(module.state_dict()) == entries


def test_high_pass_starts_by_adding_what_the_neighbours_lack():
    high_pass = LearnedHighPass(1)
    kernel = high_pass.kernel().detach().flatten()
    around = torch.e / (8 * torch.e + 1)
    assert kernel[4].item() == pytest.approx(2 - around / torch.e, abs=1e-6)
    assert kernel[[0, 1, 2, 3, 5, 6, 7, 8]].tolist() == pytest.approx(8 * [-around], abs=1e-6)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("size", "bins"), [(16, 3), (5, 7), (49, 7), (1, 2), (30, 1)])
def test_mean_matrix_is_adaptive_pooling(size, bins):
    x = torch.randn(1, 2, size, dtype=torch.float64)
    expected = F.adaptive_avg_pool1d(x, bins)
    torch.testing.assert_close(x @ mean_matrix(size, bins).T, expected, rtol=1e-12, atol=1e-12)


def test_mistakes_are_named_in_one_line():
    with pytest.raises(InputError, match="mode: expected one of high-pass, semantic, got 'edge'"):
        SaliencyAttention(8, "edge")
    with pytest.raises(InputError, match="channels is 6, expected a positive multiple of 4"):
        SaliencyAttention(6)
    with pytest.raises(InputError, match="a batch of 1 in training, expected 2 or more"):
        SaliencyAttention(8)(torch.zeros(1, 8, 16, 16))
