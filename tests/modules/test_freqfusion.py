from __future__ import annotations

import itertools

import pytest
import torch
from fusion_oracle import CHANNELS, features, fused, seeded
from torch import nn

from differseg.errors import InputError
from differseg.modules.dsconv_fusion import DSConvFusion
from differseg.modules.freqfusion import FreqFusion

pytestmark = pytest.mark.usefixtures("one_thread")


OPTIONS = [
    {"direction": "sim"},
    {"direction": "sim_concat"},
    {"hamming": False, "hr_residual": False},
    {"sampler": False},
    {"sampler_norm": False, "sampler_groups": 8},
]


@pytest.mark.parametrize("kind", [FreqFusion, DSConvFusion])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_its_description_in_float64(kind, options):
    module = seeded(kind, **options)
    hr, lr = features()
    with torch.no_grad():
        for got, expected in zip(module(hr, lr), fused(module, hr, lr), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("kind", "sampler", "norm", "direction", "parameters", "entries"),
    [
        (FreqFusion, False, True, "sim", 27_938, 8),
        (FreqFusion, True, True, "sim", 54_194, 20),
        (FreqFusion, True, False, "sim", 53_938, 16),
        (FreqFusion, True, True, "sim_concat", 80_114, 20),
        (DSConvFusion, False, True, "sim", 11_810, 12),
        (DSConvFusion, True, True, "sim", 38_066, 24),
        (DSConvFusion, True, False, "sim", 37_810, 20),
    ],
)
def test_parameters_of_the_published_modules(kind, sampler, norm, direction, parameters, entries):
    module = kind(64, 64, sampler=sampler, sampler_norm=norm, direction=direction)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert len(module.state_dict()) == entries


def test_uniform_kernels_and_no_offsets_smooth_and_upsample():
    module = FreqFusion(*CHANNELS, hamming=False).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    hr, lr = torch.ones(1, CHANNELS[0], 12, 20).double(), torch.ones(1, CHANNELS[1], 6, 10).double()
    with torch.no_grad():
        sharp, upsampled = module(hr, lr)
    assert upsampled[..., 4:-4, 4:-4] == pytest.approx(1)
    assert sharp[..., 1:-1, 1:-1] == pytest.approx(1)
    # A corner pixel sees 9 of its 25 taps, and 4 of its 9.
    assert upsampled[0, 0, 0, 0].item() == pytest.approx(9 / 25)
    assert sharp[0, 0, 0, 0].item() == pytest.approx(2 - 4 / 9)


def test_starts_from_nearly_uniform_kernels_and_xavier_elsewhere():
    torch.manual_seed(0)
    plain, separable = FreqFusion(64, 64), DSConvFusion(64, 64)
    assert plain.low_pass.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert plain.high_pass.weight.std().item() == pytest.approx(0.001, rel=0.1)
    for conv in (plain.sampler.offset, plain.sampler.hr_direct_scale, separable.low_pass[0]):
        fans = nn.init._calculate_fan_in_and_fan_out(conv.weight)
        assert conv.weight.std().item() == pytest.approx((2 / sum(fans)) ** 0.5, rel=0.15)
        assert not conv.bias.any()


def test_every_parameter_is_trained():
    module = seeded()
    loss = sum(x.square().mean() for x in module(*features()))
    loss.backward()
    assert [name for name, p in module.named_parameters() if not p.grad.any()] == []


def test_half_precision_of_one_level_is_taken():
    hr, lr = features(dtype=torch.float32)
    module = seeded().float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(hr, lr)
    for got, expected in zip(outputs, module(hr, lr), strict=True):
        assert (got - expected).abs().mean() < 0.15 * expected.abs().mean()


@pytest.mark.parametrize("size_hw", [(12, 19), (11, 20)], ids=str)
def test_levels_that_are_not_twice_as_large_are_refused(size_hw):
    hr, lr = torch.zeros(1, CHANNELS[0], *size_hw), torch.zeros(1, CHANNELS[1], 6, 10)
    with pytest.raises(InputError, match="exactly twice the height and width") as caught:
        FreqFusion(*CHANNELS)(hr, lr)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"direction": "both"}, "direction: expected one of 'sim', 'sim_concat'; got 'both'"),
        ({"sampler_groups": 5}, "lr_channels is 24, expected a multiple of 5"),
        ({"compressed_channels": 20}, "compressed_channels is 20, expected a multiple of 8"),
    ],
)
def test_widths_that_do_not_divide_are_refused(options, text):
    with pytest.raises(InputError) as caught:
        FreqFusion(*CHANNELS, **options)
    assert text in str(caught.value)


def test_directions_and_windows_give_different_results():
    hr, lr = features()
    results = [
        seeded(hamming=hamming, hr_residual=residual)(hr, lr)[0]
        for hamming, residual in itertools.product((True, False), repeat=2)
    ]
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(results, 2))
