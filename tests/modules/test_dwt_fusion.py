from __future__ import annotations

import pytest
import torch
from fusion_oracle import CHANNELS, doubled, features, fused, haar, seeded
from torch.nn import functional as F

from differseg.models.deployment import lowered_for_export
from differseg.modules.dwt_fusion import (
    EXPORT_QUERIES,
    DWTFusion,
    PixelSelfAttention,
    folded_generators,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def attended(x):
    """Every pixel plus its mean of all pixels, in a loop over pixels."""
    pixels = x.flatten(2)
    out = pixels.clone()
    for image in range(x.shape[0]):
        for p in range(pixels.shape[2]):
            scores = pixels[image].T @ pixels[image][:, p] / x.shape[1] ** 0.5
            out[image][:, p] += pixels[image] @ scores.softmax(0)
    return out.view_as(x)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("options", [{}, {"hamming": False, "sampler": False}], ids=str)
def test_equals_its_description_in_float64(attention, options):
    module = seeded(DWTFusion, attention=attention, **options).eval()
    hr, lr = features()
    with torch.no_grad():
        expected = fused(module, hr, lr, wavelet=True)
        if attention:
            expected = map(attended, expected)
        for got, wanted in zip(module(hr, lr), expected, strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size_hw", [(2, 2), (4, 10), (32, 24)], ids=str)
def test_one_convolution_equals_the_haar_branch(size_hw):
    module = seeded(DWTFusion, attention=False)
    x = torch.randn(2, 16, *size_hw, dtype=torch.float64)
    average, *details = haar(x)
    folded = folded_generators(module.wavelet_high_pass, module.low_pass)
    assert folded.weight.shape == (4 * (9 + 25), 16, 6, 6)
    with torch.no_grad():
        high, low = F.pixel_shuffle(folded(x), 2).split([9, 25], dim=1)
        stacked = torch.stack(details, 2).flatten(1, 2)
        torch.testing.assert_close(high, module.wavelet_high_pass(doubled(stacked)))
        torch.testing.assert_close(low, module.low_pass(doubled(average)))


@pytest.mark.parametrize("attention", [True, False])
def test_the_form_for_export_gives_the_same_in_float32(attention):
    module = seeded(DWTFusion, attention=attention).float().eval()
    hr, lr = features(dtype=torch.float32)
    lowered = lowered_for_export(module, (32, 32))
    assert lowered.folded is not None
    assert module.folded is None
    with torch.no_grad():
        for got, expected in zip(lowered(hr, lr), module(hr, lr), strict=True):
            torch.testing.assert_close(got, expected, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "norm", "parameters"),
    [(False, True, 43_499), (True, True, 69_755), (True, False, 69_499)],
)
def test_parameters_of_the_published_module(sampler, norm, parameters):
    module = DWTFusion(64, 64, sampler=sampler, sampler_norm=norm)
    assert sum(p.numel() for p in module.parameters()) == parameters


@pytest.mark.parametrize("queries", [1, 7, 24, 100])
def test_attending_in_parts_changes_nothing(queries):
    x = features()[0][:, :, :4, :6]
    whole = PixelSelfAttention().eval()(x)
    torch.testing.assert_close(PixelSelfAttention(queries=queries).eval()(x), whole)
    exported = lowered_for_export(PixelSelfAttention(), (32, 32))
    assert exported.queries == EXPORT_QUERIES
    torch.testing.assert_close(exported(x), whole)


def test_large_features_do_not_overflow_the_attention():
    x = torch.full((1, 4, 2, 2), 1e18)
    assert PixelSelfAttention().eval()(x).isfinite().all()


def test_the_details_generator_starts_from_xavier():
    torch.manual_seed(0)
    module = DWTFusion(*CHANNELS)
    assert module.wavelet_high_pass.weight.std().item() == pytest.approx(0.033, rel=0.05)
    assert module.low_pass.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not module.wavelet_high_pass.bias.any()


def test_attention_drops_in_training_only():
    x = features()[0]
    attention = PixelSelfAttention()
    assert not torch.equal(attention(x), attention(x))
    assert torch.equal(attention.eval()(x), attention(x))
