from __future__ import annotations

import pytest
import torch

from differseg.backbones.edge import EdgeTrunk


@pytest.mark.parametrize("size_hw", [(64, 96), (96, 32)])
def test_levels_have_strides_4_to_32(size_hw):
    trunk = EdgeTrunk().eval()
    levels = trunk(torch.randn(2, 3, *size_hw))
    expected = [
        (2, width, size_hw[0] // stride, size_hw[1] // stride)
        for width, stride in zip(trunk.channels, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected


def test_streams_are_stacked_in_order_and_have_their_own_stem():
    trunk = EdgeTrunk((3, 1)).eval()
    rgb, thermal = torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64)
    base = trunk.forward_streams([rgb, thermal])
    other = trunk.forward_streams([rgb, thermal + 1])
    for a, b in zip(base, other, strict=True):
        torch.testing.assert_close(a[:2], b[:2])
        assert not torch.allclose(a[2:], b[2:])


def test_fresh_weights_keep_the_signal_at_every_level():
    torch.manual_seed(0)
    levels = EdgeTrunk()(torch.randn(4, 3, 128, 128))
    for level in levels:
        assert 0.3 < level.std() < 5
