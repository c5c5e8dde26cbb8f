"""The two fusions of the RGB-thermal network against their formulas written out."""

from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.authors_names.rgbt_fusion import lowpass_kernel
from differseg.errors import InputError
from differseg.modules.frequency_fusion import FrequencyFusion
from differseg.modules.pooled_gates import PixelGate, PooledGate
from differseg.modules.semantic_fusion import SemanticFusion


def unit(state, key, x, **settings):
    return norm(state, f"{key}.bn", conv(state, f"{key}.conv", x, **settings))


def gate(state, key, pooled):
    hidden = F.relu(conv(state, f"{key}.reduce", pooled))
    return torch.sigmoid(conv(state, f"{key}.expand", hidden))


def mean(x):
    return F.adaptive_avg_pool2d(x, 1)


def test_frequency_fusion_equals_its_formula():
    block = FrequencyFusion(6, 4)
    s, v, thermal = randomise(block), noise(2, 6, 9, 11), noise(2, 4, 9, 11, seed=2)
    t = F.gelu(unit(s, "thermal_projection", thermal))
    kernel = torch.tensor(lowpass_kernel(), dtype=torch.float64).expand(6, 1, 7, 7)
    low = F.conv2d(t, kernel, padding=3, groups=6)
    high = t - low
    masked = []
    for name, band, padding in (("low", low, 3), ("high", high, 1)):
        both = torch.cat([band.mean(1, keepdim=True), band.amax(1, keepdim=True)], 1)
        mask = torch.sigmoid(conv(s, f"{name}_attention.conv", both, padding=padding))
        masked.append(band * mask)
    alpha = torch.sigmoid(conv(s, "band_gate", mean(torch.cat(masked, 1).abs())))
    bands = alpha * masked[0] + (1 - alpha) * masked[1]
    confidence = gate(s, "confidence", mean(v))
    assert confidence.shape == (2, 1, 1, 1)
    joined = F.relu(unit(s, "join", torch.cat([v * confidence, bands], 1), padding=1))
    torch.testing.assert_close(block(v, thermal), v + unit(s, "project", joined))


def pair(state, key, x, kernel_size):
    settings = {"padding": kernel_size // 2, "groups": x.shape[1]}
    return unit(state, f"{key}.pointwise", F.gelu(unit(state, f"{key}.depthwise", x, **settings)))


def test_semantic_fusion_equals_its_formula():
    block = SemanticFusion(32, 8, reduction=16)
    s, v, thermal = randomise(block), noise(2, 32, 9, 11), noise(2, 8, 9, 11, seed=2)
    t = F.gelu(unit(s, "thermal_projection", thermal))
    weights = gate(s, "cross_gate", mean(torch.cat([v, t], 1)))
    f = weights[:, :32] * v + weights[:, 32:] * t
    m = unit(s, "merge", torch.cat([pair(s, "near", f, 3), pair(s, "far", f, 5)], 1))
    m = m * gate(s, "channel_attention", mean(m))
    both = torch.cat([m.amax(1, keepdim=True), m.mean(1, keepdim=True)], 1)
    m = m * torch.sigmoid(conv(s, "pixel_attention.conv", both, padding=3))
    expected = f + s["residual_scale"] * pair(s, "refine", m, 3)
    torch.testing.assert_close(block(v, thermal), expected)
    assert block.cross_gate.reduce.out_channels == 2


def test_residual_starts_at_a_tenth():
    assert SemanticFusion(16).residual_scale.tolist() == [pytest.approx(0.1)]


def test_kernel_row_of_the_specification():
    middle = [0.015162, 0.028326, 0.041214, 0.046702, 0.041214, 0.028326, 0.015162]
    assert lowpass_kernel()[3] == pytest.approx(middle, abs=5e-7)
    assert sum(map(sum, lowpass_kernel())) == pytest.approx(1)


def test_pixel_gate_reads_its_maps_in_the_order_asked_for():
    x = noise(1, 5, 6, 7)
    gates = {order: PixelGate(3, order).double() for order in ("mean-max", "max-mean")}
    gates["max-mean"].conv.weight = gates["mean-max"].conv.weight
    assert not torch.allclose(gates["mean-max"](x), gates["max-mean"](x))
    with pytest.raises(InputError, match=r"expected one of mean-max, max-mean, got 'max'"):
        PixelGate(3, "max")


def test_gates_lie_between_zero_and_one():
    x = 10 * noise(2, 8, 5, 6)
    for weights, shape in (
        (PooledGate(8, 4, 3, bias=True).double()(x), (2, 3, 1, 1)),
        (PixelGate(7).double()(x), (2, 1, 5, 6)),
    ):
        assert weights.shape == shape
        assert 0 < weights.min() < weights.max() < 1
