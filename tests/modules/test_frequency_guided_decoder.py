from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.frequency_decomposition import FrequencyDecomposer, ScaleAttention
from differseg.modules.frequency_guided_decoder import FrequencyGuidedDecoder
from differseg.modules.frequency_upsampling import FrequencyBalancer, FrequencyGuidedUpsampler
from differseg.modules.heads import SegmentationHead


def average(x):
    return x.mean((2, 3), keepdim=True)


def test_decomposer_equals_the_formula():
    module = FrequencyDecomposer(8)
    s, x = randomise(module), noise(2, 8, 9, 7)
    blurs = [conv(s, f"low_pass_{k}x{k}", x, padding=k // 2, groups=8) for k in (3, 5, 7)]
    y = norm(s, "low_freq_attention.1", conv(s, "low_freq_attention.0", torch.cat(blurs, 1)))
    w = torch.softmax(conv(s, "low_freq_attention.3", F.relu(y)), 1)
    low = sum(w[:, i : i + 1] * blur for i, blur in enumerate(blurs))
    raw = x - low
    branches = [
        F.relu(
            norm(
                s, f"high_freq_branches.{i}.1", conv(s, f"high_freq_branches.{i}.0", raw, padding=i)
            )
        )
        for i in range(3)
    ]
    gate = norm(s, "high_freq_fusion.1", conv(s, "high_freq_fusion.0", torch.cat(branches, 1)))
    got_low, got_high = module(x)
    torch.testing.assert_close(got_low, low)
    torch.testing.assert_close(got_high, raw * torch.sigmoid(gate))


def test_scale_attention_equals_the_formula_level_by_level():
    module = ScaleAttention((16, 8))
    s = randomise(module)
    bands = [
        (noise(2, 16, 4, 6), noise(2, 16, 4, 6, seed=2)),
        (noise(2, 8, 8, 12, seed=3), noise(2, 8, 8, 12, seed=4)),
    ]

    def gate(kind, k, x):
        hidden = F.relu(conv(s, f"{kind}_freq_attention.{k}.1", average(x)))
        return torch.sigmoid(conv(s, f"{kind}_freq_attention.{k}.3", hidden))

    for k, (got, (low, high)) in enumerate(zip(module(bands), bands, strict=True)):
        key = f"freq_interaction.{k}"
        t = conv(s, f"{key}.0", low * high, padding=1, groups=low.shape[1] // 8)
        t = conv(s, f"{key}.3", F.relu(norm(s, f"{key}.1", t)))
        torch.testing.assert_close(got[0], low * gate("low", k, low) + 0.1 * t)
        torch.testing.assert_close(got[1], high * gate("high", k, high) + 0.1 * t)


@pytest.mark.parametrize("paths", [1, 2, 3])
def test_upsampler_equals_the_formula(paths):
    module = FrequencyGuidedUpsampler(16, 8, paths=paths)
    s = randomise(module)
    coarse = (noise(2, 16, 4, 6), noise(2, 16, 4, 6, seed=2))
    fine = (noise(2, 8, 8, 12, seed=3), noise(2, 8, 8, 12, seed=4))

    ups = []
    for kind, band in zip(("low", "high"), coarse, strict=True):
        for i, size in enumerate((1, 3, 5)[:paths]):
            key = f"{kind}_upsamplers.{i}"
            y = F.conv_transpose2d(
                band, s[f"{key}.0.weight"], s[f"{key}.0.bias"], stride=2, padding=1
            )
            y = F.relu(norm(s, f"{key}.1", y))
            ups.append(conv(s, f"{kind}_transforms.{i}", y, padding=size // 2, groups=2))
    hidden = F.relu(conv(s, "path_selector.1", average(torch.cat(ups, 1))))
    p = torch.softmax(conv(s, "path_selector.3", hidden), 1)
    weighed = [p[:, i : i + 1] * up for i, up in enumerate(ups)]
    low = 0.6 * sum(weighed[:paths]) + 0.4 * fine[0]
    high = 0.6 * sum(weighed[paths:]) + 0.4 * fine[1]
    e = conv(s, "detail_recovery.0", torch.cat([low, high, *fine], 1), padding=1)
    e = conv(s, "detail_recovery.3", F.relu(norm(s, "detail_recovery.1", e)), padding=2, dilation=2)
    e = conv(s, "detail_recovery.6", F.relu(norm(s, "detail_recovery.4", e)))

    got_low, got_high = module(coarse, fine)
    torch.testing.assert_close(got_low, low + 0.3 * e)
    torch.testing.assert_close(got_high, high + 0.3 * e)


def test_balancer_equals_the_formula():
    module = FrequencyBalancer(8)
    s, low, high = randomise(module), noise(2, 8, 4, 6), noise(2, 8, 4, 6, seed=2)
    hidden = F.relu(conv(s, "weight_predictor.0", average(torch.cat([low, high], 1))))
    w = torch.softmax(conv(s, "weight_predictor.2", hidden), 1)
    y = conv(s, "final_fusion.0", torch.cat([w[:, :1] * low, w[:, 1:] * high], 1), padding=1)
    y = conv(s, "final_fusion.3", F.relu(norm(s, "final_fusion.1", y)))
    torch.testing.assert_close(module(low, high), y + 0.5 * (low + high))


def test_head_equals_the_formula():
    module = SegmentationHead(8)
    s, x = randomise(module), noise(2, 8, 4, 6)
    y = F.gelu(norm(s, "1", conv(s, "0", x, padding=1, groups=8)))
    torch.testing.assert_close(module(x), conv(s, "3", y))


def test_head_with_a_scale_predicts_every_pixel_of_the_finer_grid():
    module = SegmentationHead(8, scale=2)
    s, x = randomise(module), noise(2, 8, 4, 6)
    y = conv(s, "3", F.gelu(norm(s, "1", conv(s, "0", x, padding=1, groups=8))))
    got = module(x)
    assert got.shape == (2, 1, 8, 12)
    for row in range(2):
        for column in range(2):
            torch.testing.assert_close(got[:, 0, row::2, column::2], y[:, 2 * row + column])


def test_decoder_climbs_from_the_deepest_level_to_the_finest():
    decoder = FrequencyGuidedDecoder((32, 16, 8)).eval()
    levels = [torch.randn(2, 32, 2, 3), torch.randn(2, 16, 4, 6), torch.randn(2, 8, 8, 12)]
    assert decoder(levels).shape == (2, 8, 8, 12)


def test_authors_decoder_has_the_recorded_entries():
    with torch.device("meta"):
        decoder = FrequencyGuidedDecoder((512, 256, 128, 64), keep_unused_fusion=True)
    counts = {name: len(child.state_dict()) for name, child in decoder.named_children()}
    assert counts == {
        "freq_decomposers": 200,
        "scale_attention": 68,
        "freq_guided_upsamplers": 222,
        "freq_balancer": 13,
    }
