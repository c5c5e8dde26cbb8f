from __future__ import annotations

import pytest
import torch
from literal_layers import conv, noise, norm, randomise
from torch.nn import functional as F

from differseg.modules.rfb import LightReceptiveFieldBlock, ReceptiveFieldBlock


def unit(state, key, x, **settings):
    return norm(state, f"{key}.bn", conv(state, f"{key}.conv", x, **settings))


def test_authors_block_equals_its_branches_written_out():
    block = ReceptiveFieldBlock(6, 4)
    s, x = randomise(block), noise(2, 6, 9, 11)
    branches = [unit(s, "branch0.0", x)]
    for b, k in ((1, 3), (2, 5), (3, 7)):
        y = unit(s, f"branch{b}.0", x)
        y = unit(s, f"branch{b}.1", y, padding=(0, k // 2))
        y = unit(s, f"branch{b}.2", y, padding=(k // 2, 0))
        branches.append(unit(s, f"branch{b}.3", y, padding=k, dilation=k))
    joined = unit(s, "conv_cat", torch.cat(branches, 1), padding=1)
    expected = F.relu(joined + unit(s, "conv_res", x))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("trunk", "width", "params"),
    [(144, 64, 428_928), (288, 128, 1_711_872), (576, 256, 6_839_808), (1152, 512, 27_343_872)],
)
def test_authors_block_has_the_recorded_size(trunk, width, params):
    with torch.device("meta"):
        block = ReceptiveFieldBlock(trunk, width)
    assert sum(p.numel() for p in block.parameters()) == params
    assert len(block.state_dict()) == 90


def test_light_block_sees_as_far_as_its_largest_dilation():
    block = LightReceptiveFieldBlock(4, 8, dilations=(1, 5)).double().eval()
    x = noise(1, 4, 15, 15).requires_grad_()
    torch.nn.init.ones_(block.mix.conv.weight)
    block(x)[0, :, 7, 7].sum().backward()
    reached = x.grad[0].abs().sum(0).nonzero()
    assert reached.min(0).values.tolist() == [2, 2]
    assert reached.max(0).values.tolist() == [12, 12]
