from __future__ import annotations

import torch
from literal_layers import conv, noise, randomise
from torch.nn import functional as F

from differseg.modules.encoder_fusion import EncoderFusion


def test_encoder_fusion_adds_what_the_gate_lets_through():
    block = EncoderFusion(6, 8, squeeze=4)
    s, x, second = randomise(block), noise(2, 8, 5, 7), noise(2, 6, 5, 7, seed=2)
    y = conv(s, "project", second)
    hidden = F.relu(y.mean((2, 3)) @ s["gate.reduce.weight"].T)
    weight = torch.sigmoid(hidden @ s["gate.expand.weight"].T)
    torch.testing.assert_close(block(x, second), x + y * weight[:, :, None, None])


def test_published_size():
    with torch.device("meta"):
        block = EncoderFusion(2048, 512)
    assert sum(p.numel() for p in block.parameters()) == 1_049_088 + 32_768
