from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from differseg.models.deployment import lowered_for_export
from differseg.modules.resizing import FEW_CHANNELS, MatrixUpsampling, OutputUpsampling


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("size_hw", [(1, 3), (6, 5)], ids=str)
def test_matrices_equal_the_interpolation(size_hw, scale):
    module = OutputUpsampling(3, scale)
    x = torch.randn(2, 3, *size_hw)
    lowered = lowered_for_export(module, tuple(scale * side for side in size_hw))
    assert isinstance(lowered, MatrixUpsampling)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    assert torch.equal(module(x), expected)
    torch.testing.assert_close(lowered(x), expected)


def test_many_channels_are_left_to_the_resize():
    module = OutputUpsampling(FEW_CHANNELS + 1, 2)
    assert isinstance(lowered_for_export(module, (8, 8)), OutputUpsampling)
