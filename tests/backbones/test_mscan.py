from __future__ import annotations

import pytest
import torch
from torch import nn

from differseg.backbones.mscan import MSCAN, Block, FoldedBlock
from differseg.models.deployment import lowered_for_export
from differseg.modules.stochastic_depth import StochasticDepth

pytestmark = pytest.mark.usefixtures("one_thread")


def unsettled(module):
    """Weights and statistics of a network that has been trained a while."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and value.dim() == 1:
                value.add_(torch.randn_like(value) * 0.3)
    return module.eval()


def test_tiny_has_the_published_size():
    with torch.device("meta"):
        model = MSCAN()
    assert sum(p.numel() for p in model.parameters()) == 3_903_584
    assert len(model.state_dict()) == 537


@pytest.mark.parametrize("size_hw", [(64, 96), (65, 70)], ids=str)
def test_levels(size_hw):
    model = MSCAN((8, 16, 24, 32), depths=(1, 1, 1, 1), mlp_ratios=(2, 2, 2, 2)).eval()
    with torch.no_grad():
        levels = model(torch.randn(2, 3, *size_hw))
    sides = [[-(-side // 2 ** (k + 2)) for side in size_hw] for k in range(4)]
    assert [list(x.shape) for x in levels] == [
        [2, c, *hw] for c, hw in zip((8, 16, 24, 32), sides, strict=True)
    ]
    for level in levels:  # normalised over channels, with fresh weights
        assert level.mean(1).abs().max() < 1e-5
        assert (level.var(1, unbiased=False) - 1).abs().max() < 0.05


def test_folded_block_equals_the_block():
    block = unsettled(Block(12, 24)).double()
    x = torch.randn(2, 12, 9, 11).double()
    with torch.no_grad():
        torch.testing.assert_close(FoldedBlock(block)(x), block(x))
        narrow = lowered_for_export(nn.Sequential(block.float()), (32, 32))
        assert isinstance(narrow[0], FoldedBlock)
        torch.testing.assert_close(narrow(x.float()), block(x.float()))


def test_a_block_starts_close_to_the_identity():
    torch.manual_seed(0)
    block, x = Block(16, 32).eval(), torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        assert (block(x) - x).norm() < 0.2 * x.norm()


def test_rates_rise_from_block_to_block():
    model = MSCAN((8, 8, 8, 8), depths=(1, 2, 1, 1), drop_path=0.4)
    rates = [module.share for module in model.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
