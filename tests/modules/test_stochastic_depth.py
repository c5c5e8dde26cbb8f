from __future__ import annotations

import pytest
import torch

from differseg.modules.stochastic_depth import StochasticDepth


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3)
    kept = StochasticDepth(0.25).train()(x)
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(kept.amin((1, 2)), kept.amax((1, 2)))
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert StochasticDepth(0.25).eval()(x) is x
    assert StochasticDepth(0).train()(x) is x
