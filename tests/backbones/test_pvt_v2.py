from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from differseg.backbones.pvt_v2 import B2, PvtV2, ReducedAttention, StageShape
from differseg.models.deployment import lowered_for_export

SMALL = (
    StageShape(8, 2, 1, 4, 8),
    StageShape(16, 1, 2, 4, 4),
    StageShape(24, 1, 3, 2, 2),
    StageShape(32, 1, 4, 2, 1),
)


def small():
    torch.manual_seed(0)
    return PvtV2(SMALL).eval()


def test_b2_has_the_published_size():
    with torch.device("meta"):
        trunk = PvtV2(B2)
        levels = trunk(torch.empty(1, 3, 64, 96, device="meta"))
    assert sum(p.numel() for p in trunk.parameters()) == 24_849_856
    assert len(trunk.state_dict()) == 332
    assert trunk.channels == (64, 128, 320, 512)
    assert [tuple(x.shape[1:]) for x in levels] == [
        (64, 16, 24),
        (128, 8, 12),
        (320, 4, 6),
        (512, 2, 3),
    ]


def test_normalisations_have_two_epsilons():
    with torch.device("meta"):
        trunk = PvtV2(B2)
    found = {
        name: module.eps
        for name, module in trunk.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
    }
    assert len(found) == 4 + 4 + 2 * 16 + 13
    for name, eps in found.items():
        after_conv = name.endswith(("embed.norm", "attn.norm"))
        assert eps == (1e-5 if after_conv else 1e-6), name


@pytest.mark.parametrize("reduction", [1, 2])
def test_attention_is_the_softmax_of_scaled_products(reduction):
    torch.manual_seed(0)
    layer = ReducedAttention(8, 2, reduction).double()
    tokens = torch.randn(3, 24, 8, dtype=torch.float64)
    coarse = tokens
    if reduction > 1:
        grid = tokens.transpose(1, 2).reshape(3, 8, 4, 6)
        coarse = F.conv2d(grid, layer.sr.weight, layer.sr.bias, stride=2).flatten(2)
        coarse = F.layer_norm(coarse.transpose(1, 2), (8,), *layer.norm.parameters(), eps=1e-5)
    query, key_value = layer.q(tokens), layer.kv(coarse)
    mixed = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        key, value = key_value[..., :8][..., part], key_value[..., 8:][..., part]
        score = torch.einsum("bic,bjc->bij", query[..., part], key) / 4**0.5
        mixed.append(score.softmax(-1) @ value)
    expected = layer.proj(torch.cat(mixed, -1))
    torch.testing.assert_close(layer(tokens, (4, 6)), expected)


def test_convolutions_for_export_compute_the_same():
    trunk = small().double()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    lowered = lowered_for_export(trunk, (64, 96))
    for got, expected in zip(lowered(x), trunk(x), strict=True):
        torch.testing.assert_close(got, expected)
    linear = [n for n, m in lowered.named_modules() if isinstance(m, torch.nn.Linear)]
    assert linear
    assert not any(".mlp." in name for name in linear)


def test_initial_weights_follow_the_published_rule():
    trunk = PvtV2((StageShape(128, 1, 2, 4, 8), *SMALL[1:]))
    stage = trunk.stages[0]
    assert stage.blocks[0].attn.q.weight.std().item() == pytest.approx(0.02, rel=0.1)
    expected = (2 / (7 * 7 * 128)) ** 0.5
    assert stage.embed.proj.weight.std().item() == pytest.approx(expected, rel=0.1)
    assert stage.blocks[0].mlp.dwconv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert not stage.blocks[0].attn.kv.bias.any()


def test_blocks_are_dropped_more_often_the_deeper_they_are():
    shares = [b.drop_path.share for stage in PvtV2(SMALL).stages for b in stage.blocks]
    assert shares == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])
