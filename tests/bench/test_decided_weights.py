"""Random weights are decided: the wanted share is foreground, nothing lies at the threshold."""

from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def decided_weights(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import decided_weights

    return decided_weights


def test_the_threshold_lies_in_the_widest_gap_near_the_share(decided_weights):
    margins = torch.arange(1000.0)
    margins[960:] += 5  # the widest gap: 40 of 1000 are above
    assert decided_weights._threshold(margins, 0.05, 0.02) == pytest.approx(962, abs=0.6)
    exact = decided_weights._threshold(margins, 0.05, 0.0)
    assert (margins > exact).float().mean() == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("name", ["differseg-rgb-edge", "sfm-edge"])
def test_a_network_gets_the_share_and_the_spread(decided_weights, name):
    from differseg.models import create_model
    from differseg.models.deployment import DeploymentModule

    torch.manual_seed(0)
    model = create_model(name)
    image = torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    decided_weights.decide(model, [(image,)], 0.05, True)
    probability = DeploymentModule(model)(image)
    if model.spec.binary:
        share = (probability > 0.5).float().mean()
        margin = probability.logit().abs()
    else:
        classes = probability.argmax(1)
        share = (classes > 0).float().mean()
        assert len(classes.unique()) == len(model.spec.classes)
        first, second = probability.topk(2, dim=1).values.log().unbind(1)
        margin = first - second
    assert 0.02 < share < 0.09
    assert margin.min() > 2e-5
