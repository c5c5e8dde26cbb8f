"""The metrics against literal loops over pixels, edge cases, and what they must not import."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from differseg.errors import InputError
from differseg.metrics import SegmentationMetrics, boundary, boundary_f, mask_iou

KEYS = {
    "iou", "mean_iou", "precision", "recall", "f_measure", "mae", "boundary_f", "images",
}  # fmt: skip


def blobs(seed: int, size_hw: tuple[int, int] = (24, 31)) -> np.ndarray:
    """Return a (H, W) uint8 mask of a few rectangles, some of them cut by the frame."""
    random, mask = np.random.default_rng(seed), np.zeros(size_hw, np.uint8)
    for _ in range(3):
        y, x = random.integers(-4, size_hw[0] - 2), random.integers(-4, size_hw[1] - 2)
        h, w = random.integers(3, 12, 2)
        mask[max(0, y) : y + h, max(0, x) : x + w] = 1
    return mask


def literal_boundary(mask: np.ndarray, valid: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            if mask[y, x] and valid[y, x]:
                for v, u in neighbours:
                    inside = 0 <= v < height and 0 <= u < width
                    if inside and valid[v, u] and not mask[v, u]:
                        found.append((y, x))
                        break
    return found


def literal_boundary_f(a: np.ndarray, b: np.ndarray, valid: np.ndarray, tolerance: float) -> float:
    first, second = literal_boundary(a, valid), literal_boundary(b, valid)
    if not first or not second:
        return float(first == second)

    def share(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> float:
        near = [min(math.dist(p, q) for q in other) <= tolerance for p in one]
        return sum(near) / len(near)

    precision, recall = share(first, second), share(second, first)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def literal_scores(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    tp = fp = fn = tn = 0
    errors, boundaries = [], []
    for probability, label in pairs:
        for p, y in zip(probability.ravel(), label.ravel(), strict=True):
            if y == 255:
                continue
            errors.append(abs(float(p) - y))
            tp += p >= 0.5 and y == 1
            fp += p >= 0.5 and y == 0
            fn += p < 0.5 and y == 1
            tn += p < 0.5 and y == 0
        valid = label != 255
        found = (probability >= 0.5) & valid
        boundaries.append(literal_boundary_f(found, label == 1, valid, 2.0))
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return {
        "iou": tp / (tp + fp + fn),
        "mean_iou": (tp / (tp + fp + fn) + tn / (tn + fp + fn)) / 2,
        "precision": precision,
        "recall": recall,
        "f_measure": 1.3 * precision * recall / (0.3 * precision + recall),
        "mae": float(np.mean(errors)),
        "boundary_f": float(np.mean(boundaries)),
        "images": len(pairs),
    }


def test_streaming_equals_the_literal_loop() -> None:
    pairs = []
    for seed in range(4):
        label = blobs(seed)
        label[5:9, 10:20] = 255
        noise = np.random.default_rng(seed + 50).normal(0, 0.45, label.shape)
        pairs.append((np.clip(blobs(seed) * 0.8 + 0.1 + noise, 0, 1).astype(np.float32), label))
    metrics = SegmentationMetrics()
    singles = [metrics.update(*pair) for pair in pairs]
    got, wanted = metrics.compute(), literal_scores(pairs)
    assert set(got) == KEYS
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name
    assert singles[0].iou == pytest.approx(literal_scores(pairs[:1])["iou"])
    assert singles[2].boundary_f == pytest.approx(literal_scores(pairs[2:3])["boundary_f"])


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("seed", range(4))
def test_boundary_f_equals_the_literal_loop(seed: int, tolerance: float) -> None:
    a, b = blobs(seed), np.roll(blobs(seed), (1, 2), (0, 1)) | blobs(seed + 1)
    wanted = literal_boundary_f(a, b, np.ones_like(a, bool), tolerance)
    assert boundary_f(a, b, tolerance) == pytest.approx(wanted)
    assert boundary_f(b, a, tolerance) == pytest.approx(wanted)


def test_boundary_skips_the_frame_and_ignored_areas() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    assert np.argwhere(boundary(mask))[:, 1].tolist() == [3] * 8
    valid = np.ones_like(mask)
    valid[:, 4:] = False
    assert not boundary(mask, valid).any()


@pytest.mark.parametrize(
    ("found", "label", "wanted"),
    [
        (0, 0, {"iou": 1, "mean_iou": 1, "precision": 1, "recall": 1, "mae": 0, "boundary_f": 1}),
        (1, 1, {"iou": 1, "mean_iou": 1, "precision": 1, "recall": 1, "mae": 0, "boundary_f": 1}),
        (1, 0, {"iou": 0, "mean_iou": 0, "precision": 0, "recall": 0, "mae": 1, "f_measure": 0}),
        (0, 1, {"iou": 0, "mean_iou": 0, "precision": 0, "recall": 0, "mae": 1, "f_measure": 0}),
    ],
    ids=["both empty", "both full", "false alarm", "missed"],
)
def test_empty_and_full_masks(found: int, label: int, wanted: dict[str, float]) -> None:
    metrics = SegmentationMetrics()
    metrics.update(np.full((6, 9), found, np.float32), np.full((6, 9), label, np.uint8))
    got = metrics.compute()
    assert {name: got[name] for name in wanted} == wanted


def test_a_pixel_at_the_threshold_is_foreground() -> None:
    metrics = SegmentationMetrics(threshold=0.25)
    assert metrics.update(np.full((4, 4), 0.25, np.float32), np.ones((4, 4), np.uint8)).recall == 1


def test_one_boundary_only_scores_zero() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 1
    assert boundary_f(mask, np.zeros_like(mask)) == 0
    assert boundary_f(np.ones_like(mask), np.zeros_like(mask)) == 1  # neither has a boundary
    assert boundary_f(mask, mask, tolerance_px=0) == 1


def test_everything_ignored_counts_as_agreement() -> None:
    metrics = SegmentationMetrics()
    metrics.update(np.full((4, 4), 0.9), np.full((4, 4), 255, np.uint8))
    assert metrics.compute()["iou"] == 1
    assert metrics.compute()["mae"] == 0


def test_mask_iou() -> None:
    a, b = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    assert mask_iou(a, b) == 1
    a[:2], b[1:3] = 1, 1
    assert mask_iou(a, b) == pytest.approx(4 / 12)
    with pytest.raises(InputError, match="one shape"):
        mask_iou(a, b[:2])


def test_bad_input_is_named() -> None:
    metrics, label = SegmentationMetrics(), np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match="no image was added"):
        metrics.compute()
    with pytest.raises(InputError, match=r"\(2, 4\) and \(4, 4\)"):
        metrics.update(np.zeros((2, 4)), label)
    with pytest.raises(InputError, match=r"expected probabilities in 0..1, got -2 to 1"):
        metrics.update(np.eye(4) * -3 + 1, label)
    with pytest.raises(InputError, match="nan"):
        metrics.update(np.full((4, 4), np.nan), label)


def test_metrics_load_no_torch() -> None:
    code = "import sys, differseg.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
