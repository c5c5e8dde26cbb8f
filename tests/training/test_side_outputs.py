"""The losses on what the networks of every system really give, main output and side outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from differseg import create_model
from differseg.losses import AUX_WEIGHT, class_loss, deep_supervision_loss, structure_loss

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE_HW = (96, 128)
BINARY: list[tuple[str, dict[str, Any], int]] = [
    ("differseg-edge", {}, 3),
    ("fsanet-edge", {}, 3),
    ("segnext-dwt-ff-edge", {}, 0),
    ("rgbt-fusion-edge", {"classes": "binary"}, 5),
    ("sfm-edge", {}, 0),
    ("sfm-segnext", {"classes": "binary"}, 1),
]
SEVERAL: list[tuple[str, dict[str, Any], int]] = [
    ("segnext-freqfusion-edge", {"classes": "mfnet"}, 0),
    ("rgbt-fusion-edge", {}, 5),
    ("rgbt-fusion-edge", {"decoder": "fpn"}, 1),
    ("sfm-segnext", {"classes": "mfnet"}, 1),
]


def outputs_of(name: str, config: dict[str, Any], sides: int) -> dict[str, Any]:
    """Return the outputs of a batch of two in training, whose gradients are kept."""
    torch.manual_seed(0)
    model = create_model(name, **config).train()
    images = [torch.randn(2, m.channels, *SIZE_HW) for m in model.spec.modalities]
    outputs: dict[str, Any] = model(*images)
    assert len(outputs["aux"]) == sides
    for output in (outputs["logits"], *outputs["aux"]):
        output.retain_grad()
    return outputs


def check_gradients(outputs: dict[str, Any], loss: torch.Tensor) -> None:
    """Every output is pulled, and by nothing where pixels are ignored."""
    loss.backward()
    for output in (outputs["logits"], *outputs["aux"]):
        assert output.grad.isfinite().all()
        assert output.grad.any()
        assert output.grad[:, :, -1].any()
        assert not output.grad[:, :, 0].any()


@pytest.mark.parametrize(("name", "config", "sides"), BINARY)
def test_two_classes(name: str, config: dict[str, Any], sides: int) -> None:
    outputs = outputs_of(name, config, sides)
    mask, valid = torch.zeros(2, 1, *SIZE_HW), torch.ones(2, 1, *SIZE_HW)
    mask[:, :, 30:70, 40:90], valid[:, :, :40] = 1, 0
    loss = deep_supervision_loss(outputs, mask, valid)
    parts = [structure_loss(x, mask, valid) for x in (outputs["logits"], *outputs["aux"])]
    assert loss.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)
    check_gradients(outputs, loss)


@pytest.mark.parametrize(("name", "config", "sides"), SEVERAL)
def test_several_classes(name: str, config: dict[str, Any], sides: int) -> None:
    outputs = outputs_of(name, config, sides)
    labels = torch.randint(0, 9, (2, 1, *SIZE_HW)).to(torch.uint8)
    labels[:, :, :40] = 255
    loss = class_loss(outputs, labels)
    target = labels[:, 0].long()
    parts = [F.cross_entropy(x, target, ignore_index=255).item() for x in outputs["aux"]]
    expected = F.cross_entropy(outputs["logits"], target, ignore_index=255).item()
    expected += AUX_WEIGHT * sum(parts) / max(1, len(parts))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    check_gradients(outputs, loss)
