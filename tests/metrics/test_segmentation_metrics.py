"""The stream of figures against literal loops over pixels, choice of figures, and bad input."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from differseg.errors import InputError
from differseg.metrics import (
    MEASURES,
    QUICK_MEASURES,
    Pair,
    SegmentationMetrics,
    boundary,
    boundary_f,
    mask_iou,
)
from differseg.metrics.structure import s_measure


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


def balanced_error(tp: int, fp: int, fn: int, tn: int) -> float:
    return (fn / (tp + fn) + fp / (fp + tn)) / 2


def literal_scores(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    tp = fp = fn = tn = 0
    errors, boundaries, ious, bers = [], [], [], []
    for probability, label in pairs:
        before = tp, fp, fn, tn
        errors.append([])
        for p, y in zip(probability.ravel(), label.ravel(), strict=True):
            if y == 255:
                continue
            errors[-1].append(abs(float(p) - y))
            tp += p >= 0.5 and y == 1
            fp += p >= 0.5 and y == 0
            fn += p < 0.5 and y == 1
            tn += p < 0.5 and y == 0
        own = [now - then for now, then in zip((tp, fp, fn, tn), before, strict=True)]
        ious.append(own[0] / sum(own[:3]))
        bers.append(balanced_error(*own))
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
        "mae": float(np.mean([np.mean(one) for one in errors])),
        "set_mae": float(np.mean(np.concatenate(errors))),
        "ber": float(np.mean(bers)),
        "set_ber": balanced_error(tp, fp, fn, tn),
        "image_iou": float(np.mean(ious)),
        "boundary_f": float(np.mean(boundaries)),
        "images": len(pairs),
    }


def noisy_pairs(count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return float32 predictions of labels with ignored pixels; every label its own size."""
    pairs = []
    for seed in range(count):
        label = blobs(seed, (24 + seed, 31))
        label[5:9, 10 : 20 - seed] = 255
        noise = np.random.default_rng(seed + 50).normal(0, 0.45, label.shape)
        shown = blobs(seed, label.shape) * 0.8 + 0.1 + noise
        pairs.append((np.clip(shown, 0, 1).astype(np.float32), label))
    return pairs


def test_streaming_equals_the_literal_loop() -> None:
    pairs = noisy_pairs()
    metrics = SegmentationMetrics()
    singles = [metrics.update(*pair) for pair in pairs]
    got, wanted = metrics.compute(), literal_scores(pairs)
    assert tuple(got) == (*MEASURES, "images")
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name
    for name in ("iou", "precision", "recall", "f_measure", "mae", "ber", "boundary_f"):
        assert getattr(singles[2], name) == pytest.approx(
            literal_scores(pairs[2:3])[name], abs=1e-6
        )


def test_means_over_images_are_those_of_the_images() -> None:
    metrics = SegmentationMetrics(measures=(*MEASURES, "hce"))
    pairs = noisy_pairs()
    scores = [metrics.update(*pair) for pair in pairs]
    figures, curves = metrics.compute(), metrics.curves()
    for name in ("s_measure", "e_adaptive", "e_mean", "f_adaptive", "f_mean", "f_weighted", "hce"):
        pytest.importorskip("skimage") if name == "hce" else None
        assert figures[name] == pytest.approx(np.mean([getattr(one, name) for one in scores])), name
    for letter in "ef":
        assert figures[f"{letter}_max"] == curves[f"{letter}_curve"].max()
        assert figures[f"{letter}_max"] <= np.mean([getattr(s, f"{letter}_max") for s in scores])
    assert curves["recall_curve"][0] == 1
    share = [np.mean(label[label != 255]) for _, label in pairs]
    assert curves["precision_curve"][0] == pytest.approx(np.mean(share))


def test_large_images_are_counted_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    from differseg.metrics import pair

    whole = SegmentationMetrics()
    whole.update(*noisy_pairs()[0])
    monkeypatch.setattr(pair, "_EXACT", 31 * 5)
    strips = SegmentationMetrics()
    strips.update(*noisy_pairs()[0])
    assert strips.compute() == whole.compute()


def test_a_nearly_constant_prediction_keeps_its_deviation() -> None:
    """A difference of sums would lose it, or find some where there is none."""
    random, label = np.random.default_rng(0), np.zeros((400, 500), bool)
    label[100:300, 150:370] = True
    for spread in (0.0, 1e-9, 1e-5):
        prediction = 0.7 + spread * random.normal(0, 1, label.shape)
        got = s_measure(Pair(prediction, label))
        inside, outside = prediction[label], 1 - prediction[~label]
        share, of_object = label.mean(), 0.0
        for values, weight in ((inside, share), (outside, 1 - share)):
            mean, deviation = math.fsum(values) / values.size, 0.0
            deviation = math.sqrt(math.fsum((values - mean) ** 2) / (values.size - 1))
            of_object += weight * 2 * mean / (mean * mean + 1 + deviation)
        assert got == pytest.approx(0.5 * of_object, abs=2e-9 + 0.01 * spread), spread


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    from differseg.metrics import image_values

    wanted = SegmentationMetrics()
    wanted.update(*noisy_pairs()[0])
    for name in set(image_values.VALUES) - {"mae", "boundary_f"}:
        monkeypatch.delitem(image_values.VALUES, name)
    metrics = SegmentationMetrics(measures=QUICK_MEASURES)
    scores = metrics.update(*noisy_pairs()[0])
    figures = metrics.compute()
    assert tuple(figures) == (*QUICK_MEASURES, "images")
    assert figures == {name: wanted.compute()[name] for name in figures}
    assert math.isnan(scores.s_measure)
    assert scores.boundary_f == figures["boundary_f"]
    assert metrics.curves() == {}


@pytest.mark.parametrize("threads", [1, 3])
def test_many_images_at_a_time_give_the_same_bits(threads: int) -> None:
    pairs = noisy_pairs(9)
    one_by_one = SegmentationMetrics()
    scores = [one_by_one.update(*pair) for pair in pairs]
    metrics = SegmentationMetrics(threads=threads)
    assert [vars(s) for s in metrics.update_all(iter(pairs))] == [
        pytest.approx(vars(s), abs=0, nan_ok=True) for s in scores
    ]
    assert metrics.compute() == one_by_one.compute()


def test_a_bad_image_among_many_is_named() -> None:
    metrics = SegmentationMetrics(threads=2)
    pairs = noisy_pairs(3)
    with pytest.raises(InputError, match="one shape"):
        metrics.update_all([*pairs, (pairs[0][0], pairs[1][1])])
    assert metrics.compute()["images"] == 3


@pytest.mark.parametrize(
    ("prediction", "wanted"),
    [
        (np.full((4, 4), 255, np.uint8), 1.0),
        (np.full((4, 4), 127, np.uint8), 0.0),
        (np.ones((4, 4), bool), 1.0),
        (np.full((4, 4), 0.5, np.float16), 1.0),
        (np.ones((4, 4), np.int64), 1.0),
    ],
    ids=["uint8 white", "uint8 grey", "bool", "half at the threshold", "integers 0 and 1"],
)
def test_forms_of_a_prediction(prediction: np.ndarray, wanted: float) -> None:
    assert SegmentationMetrics().update(prediction, np.ones((4, 4), bool)).iou == wanted


def test_stretching_moves_the_threshold() -> None:
    prediction, label = np.array([[0, 0.125, 0.25]]), np.array([[0, 0, 1]])
    assert SegmentationMetrics().update(prediction, label).iou == 0
    stretched = SegmentationMetrics(normalize="minmax").update(prediction, label)
    assert stretched.iou == 1  # 0, 0.5 and 1: at the threshold is background here
    assert stretched.mae == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 3.7, 8.1])
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
    with pytest.raises(InputError, match=r"valid of the label's shape \(4, 4\), got \(4, 3\)"):
        metrics.update(np.zeros((4, 4)), label, np.ones((4, 3), bool))
    with pytest.raises(InputError, match=r"no measure 'e_maxx'; did you mean 'e_max'\?"):
        SegmentationMetrics(measures=("iou", "e_maxx"))
    with pytest.raises(InputError, match=r"no measure '\?'; known are iou"):
        SegmentationMetrics(measures=("?",))
    with pytest.raises(InputError, match="threads=0"):
        SegmentationMetrics(threads=0)
    with pytest.raises(InputError, match="normalize='max'"):
        SegmentationMetrics(normalize="max").update(np.zeros((4, 4)), label)  # type: ignore[arg-type]


def test_metrics_import_numpy_and_opencv_alone() -> None:
    code = (
        "import sys, differseg.metrics; "
        "sys.exit(str(sorted({'torch', 'scipy', 'skimage'} & set(sys.modules))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.strip() == "[]"
