from __future__ import annotations

import numpy as np
import pytest
import torch

from differseg.modules.adapters import (
    ChannelFrequencyAdapter,
    LinearAdapter,
    kept_bins,
    low_pass_channels,
    low_pass_matrix,
)

# Block widths of the four Hiera trunks.
WIDTHS = (96, 112, 144, 192, 224, 288, 384, 448, 576, 768, 896, 1152)


def literal_low_pass(signal: np.ndarray) -> np.ndarray:
    """Filter one float64 signal by a sum of complex exponentials, bin by bin."""
    size = len(signal)
    position = np.arange(size)
    result = np.zeros(size)
    for k in range(kept_bins(size)):
        wave = np.exp(2j * np.pi * k * position / size)
        coefficient = (signal * wave.conj()).sum() / size
        result += (1 if k == 0 else 2) * (coefficient * wave).real
    return result


def test_half_of_the_bins_are_low():
    assert [kept_bins(width) for width in (144, 288, 576, 1152)] == [36, 72, 144, 288]


@pytest.mark.parametrize("width", [96, 112, 144])
def test_low_pass_against_a_literal_sum(width):
    signal = np.random.default_rng(0).standard_normal(width)
    got = low_pass_channels(torch.from_numpy(signal))
    np.testing.assert_allclose(got.numpy(), literal_low_pass(signal), atol=1e-13)


@pytest.mark.parametrize("width", WIDTHS)
def test_matrix_is_the_filter(width):
    matrix = low_pass_matrix(width)
    tokens = torch.randn(7, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tokens @ matrix, low_pass_channels(tokens), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=0)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", WIDTHS)
def test_folded_adapter_equals_the_fft_in_float32(width):
    torch.manual_seed(2)
    adapter = ChannelFrequencyAdapter(width).eval()
    folded = adapter.for_export((512, 512))
    tokens = torch.randn(2, 8, 8, width)
    with torch.no_grad():
        difference = (folded(tokens) - adapter(tokens)).abs().max()
    assert difference <= 1e-6
    assert folded.reduce.weight.dtype == torch.float32
    assert not any(isinstance(module, ChannelFrequencyAdapter) for module in folded.modules())


def test_gate_mixes_the_two_corrections():
    torch.manual_seed(3)
    adapter = ChannelFrequencyAdapter(96)
    tokens = torch.randn(5, 96)
    low = low_pass_channels(tokens)
    with torch.no_grad():
        for bias, branch in ((50.0, adapter.low(low)), (-50.0, adapter.high(tokens - low))):
            adapter.gate.expand.bias.fill_(bias)
            torch.testing.assert_close(adapter(tokens), branch)


def test_plain_adapter_ends_in_gelu():
    torch.manual_seed(4)
    adapter = LinearAdapter(96)
    tokens = torch.randn(64, 96)
    with torch.no_grad():
        adapter.expand.weight.mul_(20)
        got = adapter(tokens)
        hidden = torch.nn.functional.gelu(tokens @ adapter.reduce.weight.T + adapter.reduce.bias)
        linear = hidden @ adapter.expand.weight.T + adapter.expand.bias
    assert linear.min() < -1 < -0.17 < got.min()
    torch.testing.assert_close(got, torch.nn.functional.gelu(linear))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tokens_pass(dtype):
    tokens = torch.randn(4, 144).to(dtype)
    got = low_pass_channels(tokens)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), low_pass_channels(tokens.float()), atol=0.02, rtol=0)
