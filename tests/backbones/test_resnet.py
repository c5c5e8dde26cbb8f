from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from differseg.backbones.resnet import BottleneckBlock, ResNet50


def test_one_channel_resnet_50_has_the_published_size():
    with torch.device("meta"):
        trunk = ResNet50(1)
        levels = trunk(torch.empty(1, 1, 64, 96, device="meta"))
    assert sum(p.numel() for p in trunk.parameters()) == 23_501_760
    assert len(trunk.state_dict()) == 318
    assert trunk.channels == (256, 512, 1024, 2048)
    assert [tuple(x.shape[1:]) for x in levels] == [
        (256, 16, 24),
        (512, 8, 12),
        (1024, 4, 6),
        (2048, 2, 3),
    ]


@pytest.mark.parametrize(("in_channels", "stride"), [(16, 1), (8, 1), (16, 2)])
def test_block_strides_in_its_3x3_and_its_shortcut(in_channels, stride):
    torch.manual_seed(0)
    block = BottleneckBlock(in_channels, 16, stride=stride).double().eval()
    x = torch.randn(2, in_channels, 9, 7, dtype=torch.float64)
    y = F.relu(block.bn1(F.conv2d(x, block.conv1.weight)))
    y = F.relu(block.bn2(F.conv2d(y, block.conv2.weight, stride=stride, padding=1)))
    y = block.bn3(F.conv2d(y, block.conv3.weight))
    shortcut = x
    if in_channels != 16 or stride != 1:
        convolution, norm = block.downsample
        shortcut = norm(F.conv2d(x, convolution.weight, stride=stride))
    torch.testing.assert_close(block(x), F.relu(shortcut + y))
