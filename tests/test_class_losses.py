"""The loss of more than two classes against a literal computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from differseg.errors import InputError
from differseg.losses import AUX_WEIGHT, class_loss

WEIGHTS = (1.0, 4.0, 0.5)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    label = rng.choice([0, 1, 2, 255], (2, 1, 9, 11)).astype(np.uint8)
    return rng.normal(size=(2, 3, 9, 11)), label


def literal(logits: np.ndarray, label: np.ndarray, weights: tuple[float, ...] = (1, 1, 1)) -> float:
    total = share = 0.0
    for n, y, x in np.ndindex(label.shape[0], *label.shape[2:]):
        place = label[n, 0, y, x]
        if place != 255:
            odds = np.exp(logits[n, :, y, x])
            total -= weights[place] * np.log(odds[place] / odds.sum())
            share += weights[place]
    return total / share


def test_equals_the_literal_loop(batch: tuple[np.ndarray, np.ndarray]) -> None:
    logits, label = batch
    outputs, target = {"logits": torch.from_numpy(logits).float()}, torch.from_numpy(label)
    assert class_loss(outputs, target).item() == pytest.approx(literal(logits, label), abs=1e-5)
    weighted = class_loss(outputs, target, torch.tensor(WEIGHTS)).item()
    assert weighted == pytest.approx(literal(logits, label, WEIGHTS), abs=1e-5)


def test_side_outputs_of_any_size_weigh_less_together(batch: tuple[np.ndarray, np.ndarray]) -> None:
    logits, label = batch
    main = torch.from_numpy(logits).float()
    small = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    grown = torch.nn.functional.interpolate(small, (9, 11), mode="bilinear", align_corners=False)
    wanted = literal(logits, label) + AUX_WEIGHT / 2 * (
        literal(grown.numpy(), label) + literal(-logits, label)
    )
    outputs = {"logits": main, "aux": [small, -main]}
    assert class_loss(outputs, torch.from_numpy(label)).item() == pytest.approx(wanted, abs=1e-5)


def test_ignored_pixels_get_no_gradient_and_all_ignored_is_zero(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, label = batch
    main = torch.from_numpy(logits).float().requires_grad_()
    class_loss({"logits": main}, torch.from_numpy(label), torch.tensor(WEIGHTS)).backward()
    assert main.grad is not None
    ignored = torch.from_numpy(label[:, 0] == 255)
    assert (main.grad.abs().sum(dim=1)[ignored] == 0).all()
    assert (main.grad.abs().sum(dim=1)[~ignored] > 0).all()
    nothing = torch.full((2, 1, 9, 11), 255, dtype=torch.uint8)
    for weights in (None, torch.tensor(WEIGHTS)):
        assert class_loss({"logits": main}, nothing, weights).item() == 0


def test_half_precision_does_not_overflow() -> None:
    logits = torch.full((1, 3, 480, 640), 9.0, dtype=torch.float16)
    logits[:, 1] = -9
    label = torch.ones((1, 1, 480, 640), dtype=torch.uint8)
    assert class_loss({"logits": logits}, label).item() == pytest.approx(18.693, abs=1e-2)


def test_labels_of_another_size_are_refused(batch: tuple[np.ndarray, np.ndarray]) -> None:
    logits, label = batch
    with pytest.raises(InputError, match=r"labels are \(2, 1, 9, 10\) but the logits are"):
        class_loss({"logits": torch.from_numpy(logits)}, torch.from_numpy(label[..., :10]))
