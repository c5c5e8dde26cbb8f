from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.modules.selective_fusion import BlendWeights, SelectiveFusion


def unit(s, key, x, **settings):
    return norm(s, f"{key}.bn", conv(s, f"{key}.conv", x, **settings))


def bottleneck(s, key, x):
    x = F.relu(norm(s, f"{key}.1", conv(s, f"{key}.0", x)))
    return norm(s, f"{key}.4", conv(s, f"{key}.3", x))


def test_blend_weights_mix_three_bottlenecks():
    block = BlendWeights(8)
    s, x = randomise(block), noise(2, 8, 5, 7)
    whole = bottleneck(s, "pooled", x.mean((2, 3), keepdim=True))
    pixel = torch.sigmoid(bottleneck(s, "pixel", x))
    expected = torch.sigmoid(pixel * (bottleneck(s, "local", x) + whole))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("kept", [False, True])
def test_selective_fusion_blends_by_what_both_maps_say(kept):
    block = SelectiveFusion(8, keep_unused_norm=kept)
    s, fine, coarse = randomise(block), noise(2, 8, 6, 10), noise(2, 8, 3, 5, seed=2)
    large = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    both = torch.cat((fine, large), 1)
    value = F.relu(unit(s, "value", both, padding=1))
    gated = value * torch.sigmoid(unit(s, "gate", both, padding=1))
    share = block.attention(conv(s, "mix", gated, padding=1))
    torch.testing.assert_close(block(fine, coarse), fine * share + large * (1 - share))
    assert ("unused_norm.weight" in s) == kept


def test_published_size():
    with torch.device("meta"):
        block = SelectiveFusion(64, keep_unused_norm=True)
    assert sum(p.numel() for p in block.parameters()) == 376_144


def test_a_single_image_in_training_is_refused():
    block, x = BlendWeights(8).double().train(), noise(1, 8, 5, 7)
    with pytest.raises(InputError, match="a batch of 1 in training"):
        block(x)
    block.pooled.eval()  # frozen statistics need no second image
    assert block(x).shape == x.shape
