from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise

from differseg.modules.scale_fusion import CollaborativeScaleFusion, StridedChain, Upsampling


def test_strided_chain_has_one_norm_at_its_end_and_no_activation():
    chain = StridedChain(3, 4, 5, 6)
    s, x = randomise(chain), noise(2, 3, 19, 24)
    y = x
    for step in (1, 2, 3):
        y = conv(s, f"conv{step}", y, stride=2, padding=1)
    torch.testing.assert_close(chain(x), norm(s, "bn", y))
    assert chain(x).shape == (2, 6, 3, 3)


@pytest.mark.parametrize("scale", [2, 4])
def test_upsampling_puts_corners_on_corners(scale):
    block = Upsampling(3, 4, scale)
    s, x = randomise(block), noise(2, 3, 5, 7)
    small, large = norm(s, "bn", conv(s, "conv1", x)), block(x)
    assert large.shape == (2, 4, 5 * scale, 7 * scale)
    for row in (0, -1):
        for column in (0, -1):
            torch.testing.assert_close(large[..., row, column], small[..., row, column])


def test_scale_fusion_joins_in_the_published_order():
    block = CollaborativeScaleFusion((2, 3, 4, 5))
    randomise(block)
    x1, x2, x3, x4 = (noise(2, c, 32 // 2**k, 64 // 2**k) for k, c in enumerate((2, 3, 4, 5)))
    outputs = block((x1, x2, x3, x4))
    assert tuple(y.shape[1] for y in outputs) == block.out_channels == (2, 12, 38, 58)
    assert [tuple(y.shape[2:]) for y in outputs] == [(32, 64), (16, 32), (8, 16), (4, 8)]
    y1, x21, x32, x43 = outputs
    assert torch.equal(y1, x1)
    assert torch.equal(x21[:, :3], block.down1_2(x1))
    assert torch.equal(x21[:, 3:6], x2)
    assert torch.equal(x21[:, 6:9], block.upsample3_2(x3))
    assert torch.equal(x21[:, 9:], block.upsample4_4(x4))
    assert torch.equal(x32[:, :12], block.down21_2(x21))
    x31 = x32[:, 12:28]
    assert torch.equal(x31[:, :4], block.down1_4(x1))
    assert torch.equal(x31[:, 4:8], block.down2_2(x2))
    assert torch.equal(x31[:, 8:12], x3)
    assert torch.equal(x31[:, 12:], block.upsample4_2(x4))
    x41 = x43[:, -20:]
    assert torch.equal(x32[:, 28:], block.upsample41_2(x41))
    assert torch.equal(x41[:, :5], block.down1_8(x1))
    assert torch.equal(x41[:, 5:10], block.down2_4(x2))
    assert torch.equal(x41[:, 10:15], block.down3_2(x3))
    assert torch.equal(x41[:, 15:], x4)
    assert torch.equal(x43[:, :10], block.down32_2(x32))
    assert torch.equal(x43[:, 10:22], block.down21_4(x21))
    assert torch.equal(x43[:, 22:38], block.down31_2(x31))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: StridedChain(64, 128, 320, 512), 1_918_912),
        (lambda: StridedChain(2816, 1024), 25_955_328),
        (lambda: Upsampling(2048, 1024, 2), 2_100_224),
    ],
)
def test_published_sizes(build, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == expected
