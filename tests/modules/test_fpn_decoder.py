from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.fpn_decoder import FpnDecoder

WIDTHS = (4, 6, 8, 10)


def unit(state, key, x):
    return F.relu(norm(state, f"{key}.bn", conv(state, f"{key}.conv", x, padding=1)))


def to(x, like):
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("sizes", [[16, 8, 4, 2], [21, 10, 5, 2]], ids=str)
def test_decoder_equals_its_formulas(sizes):
    decoder = FpnDecoder(WIDTHS, 3)
    s = randomise(decoder)
    levels = [noise(2, c, h, h + 1, seed=c) for c, h in zip(WIDTHS, sizes, strict=True)]
    x = levels[3]
    for i in (2, 1, 0):
        w = torch.sigmoid(s[f"trusts.{i}"])
        # The authors' order: the projection behind the resize.
        above = conv(s, f"projections.{i}", to(x, levels[i]))
        x = unit(s, f"refinements.{i}", w * levels[i] + (1 - w) * above)
        if i == 2:
            aux = conv(s, "aux_head.logits", unit(s, "aux_head.features", x))
    c = torch.sigmoid(conv(s, "finest_gate", F.adaptive_avg_pool2d(levels[3], 1)))
    features = unit(s, "main_head.features", x * (0.5 + 0.5 * c))
    logits, side = decoder.forward_all(levels)
    torch.testing.assert_close(logits, conv(s, "main_head.logits", features))
    torch.testing.assert_close(side, [aux])
    torch.testing.assert_close(decoder(levels), logits)


def test_levels_start_with_trust_in_both():
    assert [p.item() for p in FpnDecoder(WIDTHS, 3).trusts] == [0.5, 0.5, 0.5]
