from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.panet_decoder import CascadeJoin, PanetDecoder

WIDTHS = (4, 6, 8, 10)


def unit(state, key, x, **settings):
    return F.relu(norm(state, f"{key}.bn", conv(state, f"{key}.conv", x, **settings)))


def to(x, like):
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def written_out(s, levels):
    """The logits and side outputs by the formulas of the specification."""
    lateral = [unit(s, f"laterals.{i}", x) for i, x in enumerate(levels)]
    down = dict.fromkeys(range(4), lateral[3])
    for i in (2, 1, 0):
        down[i] = unit(s, f"top_down.{i}", lateral[i] + to(down[i + 1], lateral[i]), padding=1)
    up = [down[0]]
    for i in (1, 2, 3):
        below = unit(s, f"halvings.{i - 1}", up[-1], padding=1, stride=2)
        joined = torch.cat([down[i], to(below, down[i])], 1)
        up.append(unit(s, f"bottom_up.{i - 1}", joined, padding=1))
    c = F.relu(conv(s, "context.reduce", F.adaptive_avg_pool2d(levels[3], 1)))
    c = 0.5 + 0.5 * torch.sigmoid(conv(s, "context.expand", c))
    x = torch.cat([to(b * c, up[0]) for b in up], 1)
    x = unit(s, "join.blend", unit(s, "join.mix", x, padding=1), padding=1)
    logits = conv(s, "head.logits", unit(s, "head.features", x, padding=1))
    aux = conv(s, "aux_head.logits", unit(s, "aux_head.features", up[2], padding=1))
    return [logits, aux, *(conv(s, f"deep_heads.{i}", b) for i, b in enumerate(up))]


@pytest.mark.parametrize("sizes", [[16, 8, 4, 2], [21, 10, 5, 2]], ids=str)
def test_decoder_equals_its_formulas(sizes):
    decoder = PanetDecoder(WIDTHS, 6, 3, deep_supervision=True)
    state = randomise(decoder)
    levels = [noise(2, c, h, h + 1, seed=c) for c, h in zip(WIDTHS, sizes, strict=True)]
    logits, side = decoder.forward_all(levels)
    for got, expected in zip([logits, *side], written_out(state, levels), strict=True):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(decoder(levels), logits)


def test_deep_heads_are_optional_and_dropout_is_for_training():
    decoder = PanetDecoder(WIDTHS, 6, 3, deep_supervision=False).eval()
    levels = [noise(1, c, h, h).float() for c, h in zip(WIDTHS, (16, 8, 4, 2), strict=True)]
    assert len(decoder.forward_all(levels)[1]) == 1
    torch.testing.assert_close(decoder(levels), decoder(levels), rtol=0, atol=0)
    decoder.head.train()
    torch.manual_seed(0)
    assert not torch.equal(decoder(levels), decoder(levels))


def test_light_join_equals_one_1x1_over_levels_resized_step_by_step():
    join = CascadeJoin(4)
    s = randomise(join)
    levels = [noise(1, 4, h, h + 1, seed=h) for h in (21, 10, 5, 2)]
    mixed = [norm(s, f"mix.{i}.bn", conv(s, f"mix.{i}.conv", x)) for i, x in enumerate(levels)]
    for i, x in enumerate(mixed):
        for j in range(i - 1, -1, -1):
            x = to(x, levels[j])
        mixed[i] = x
    expected = unit(s, "blend", F.relu(sum(mixed)), padding=1)
    torch.testing.assert_close(join(levels), expected)
