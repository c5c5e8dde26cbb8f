"""The loss against a literal numpy computation, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from differseg.errors import InputError
from differseg.losses import deep_supervision_loss, edge_weights, structure_loss


def literal_weights(mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """1 + 5 |avg31 - mask|, pixel by pixel; zeros outside the image count."""
    height, width = mask.shape
    valid = np.ones_like(mask) if valid is None else valid
    weights = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            total = share = inside = 0.0
            for v in range(max(0, y - 15), min(height, y + 16)):
                for u in range(max(0, x - 15), min(width, x + 16)):
                    total += mask[v, u] * valid[v, u]
                    share += valid[v, u]
                    inside += 1
            mean = total / 961 / (share / inside) if share else 0.0
            weights[y, x] = valid[y, x] * (1 + 5 * abs(mean - mask[y, x]))
    return weights


def literal_loss(logits: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Mean BCE + weighted soft IoU of a batch (N, H, W), by the formulas of the paper's code."""
    keep = np.ones_like(mask) if valid is None else valid
    probability = 1 / (1 + np.exp(-logits))
    bce = -(mask * np.log(probability) + (1 - mask) * np.log(1 - probability))
    iou_terms = []
    for p, m, k in zip(probability, mask, keep, strict=True):
        w = literal_weights(m, None if valid is None else k)
        both, total = (w * p * m).sum(), (w * (p + m)).sum()
        iou_terms.append(1 - (both + 1) / (total - both + 1))
    return float((bce * keep).sum() / keep.sum() + np.mean(iou_terms))


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    mask = np.zeros((2, 37, 45))
    mask[0, 5:20, 8:30] = 1
    mask[1, 30:, :11] = 1
    valid = np.ones_like(mask)
    valid[0, :10, 20:] = 0
    return random.normal(size=mask.shape), mask, valid


def to_torch(array: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(array)[:, None].to(dtype)


def test_edge_weights_equal_the_literal_loop(batch: tuple[np.ndarray, ...]) -> None:
    _, mask, valid = batch
    got = edge_weights(to_torch(mask))[0, 0].numpy()
    np.testing.assert_allclose(got, literal_weights(mask[0]), atol=1e-5)
    got = edge_weights(to_torch(mask), to_torch(valid))[0, 0].numpy()
    np.testing.assert_allclose(got, literal_weights(mask[0], valid[0]), atol=1e-5)


def test_structure_loss_equals_the_literal_loop(batch: tuple[np.ndarray, ...]) -> None:
    logits, mask, valid = batch
    got = structure_loss(to_torch(logits), to_torch(mask)).item()
    assert got == pytest.approx(literal_loss(logits, mask), abs=1e-5)
    got = structure_loss(to_torch(logits), to_torch(mask), to_torch(valid)).item()
    assert got == pytest.approx(literal_loss(logits, mask, valid), abs=1e-5)


def test_deep_supervision_is_the_plain_sum(batch: tuple[np.ndarray, ...]) -> None:
    logits, mask, _ = batch
    outputs = {"logits": to_torch(logits), "aux": [to_torch(-logits), to_torch(0.5 * logits)]}
    wanted = sum(literal_loss(scale * logits, mask) for scale in (1, -1, 0.5))
    assert deep_supervision_loss(outputs, to_torch(mask)).item() == pytest.approx(wanted, abs=1e-4)


def test_all_valid_is_the_same_as_no_valid_map(batch: tuple[np.ndarray, ...]) -> None:
    logits, mask, _ = batch
    plain = structure_loss(to_torch(logits), to_torch(mask))
    with_map = structure_loss(to_torch(logits), to_torch(mask), torch.ones(2, 1, 37, 45))
    assert with_map.item() == pytest.approx(plain.item(), abs=1e-6)


def test_ignored_pixels_get_no_gradient_and_change_nothing(batch: tuple[np.ndarray, ...]) -> None:
    logits, mask, valid = (to_torch(array) for array in batch)
    logits.requires_grad_()
    loss = structure_loss(logits, mask, valid)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[valid == 0] == 0).all()
    assert (logits.grad[valid == 1] != 0).all()
    other = torch.where(valid == 0, 1 - mask, mask)
    assert structure_loss(logits, other, valid).item() == pytest.approx(loss.item(), abs=1e-6)


def test_perfect_prediction_costs_nothing_and_extremes_stay_finite() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    perfect = (mask * 2 - 1) * 40
    assert structure_loss(perfect, mask).item() == pytest.approx(0, abs=1e-4)
    for label in (torch.zeros_like(mask), torch.ones_like(mask), mask):
        for logit in (-1e4, 1e4):
            loss = structure_loss(torch.full_like(mask, logit), label)
            assert torch.isfinite(loss)
    nothing_valid = structure_loss(perfect, mask, torch.zeros_like(mask))
    assert nothing_valid.item() == 0


def test_half_precision_logits_give_the_float32_loss(batch: tuple[np.ndarray, ...]) -> None:
    logits, mask, _ = batch
    half = structure_loss(to_torch(logits, torch.float16), to_torch(mask))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(literal_loss(logits, mask), abs=2e-3)


def test_other_shape_is_named() -> None:
    with pytest.raises(InputError, match=r"mask is \(1, 1, 16, 32\) but .* \(1, 1, 32, 32\)"):
        deep_supervision_loss({"logits": torch.zeros(1, 1, 32, 32)}, torch.zeros(1, 1, 16, 32))
