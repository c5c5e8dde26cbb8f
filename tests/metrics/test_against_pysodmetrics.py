"""Every figure of papers equals PySODMetrics, on noise and on edge cases, on both its routes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from differseg.metrics import MEASURES, ImageScores, SegmentationMetrics

sod = pytest.importorskip("py_sod_metrics", reason="PySODMetrics is not installed")

WITHIN = 1e-6
SIZES_HW = [(1, 5), (7, 1), (2, 2), (3, 5), (31, 24), (77, 120)]
COMPARED = (*MEASURES, "hce")


@dataclass
class Reference:
    """PySODMetrics' measures of some images.

    Args:
        papers: Its usual route: 8-bit files, stretched.  Else floats and bools as they are.
    """

    papers: bool

    def __post_init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own advice against its F-measure
            self.f = sod.Fmeasure()
        self.s, self.e, self.weighted = sod.Smeasure(), sod.Emeasure(), sod.WeightedFmeasure()
        self.mae, self.hce = sod.MAE(), sod.HumanCorrectionEffortMeasure()
        kinds = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
        handlers = {
            "ber": sod.BERHandler(**kinds, sample_based=True),
            "set_ber": sod.BERHandler(**kinds, sample_based=False),
            "iou": sod.IOUHandler(**kinds, sample_based=False),
            "image_iou": sod.IOUHandler(**kinds, sample_based=True),
            "precision": sod.PrecisionHandler(**kinds, sample_based=False),
            "recall": sod.RecallHandler(**kinds, sample_based=False),
            "f_measure": sod.FmeasureHandler(**kinds, sample_based=False, beta=0.3),
        }
        self.counts = sod.FmeasureV2(metric_handlers=handlers)

    def step(self, prediction: np.ndarray, label: np.ndarray) -> None:
        every = (self.f, self.s, self.e, self.weighted, self.mae, self.hce, self.counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # means of empty regions
            for measure in every:
                measure.step(prediction, label, normalize=self.papers)

    def figures(self) -> dict[str, float]:
        f, e = self.f.get_results()["fm"], self.e.get_results()["em"]
        counts = {name: one["binary"] for name, one in self.counts.get_results().items()}
        return {
            "s_measure": self.s.get_results()["sm"],
            "e_max": e["curve"].max(),
            "e_mean": e["curve"].mean(),
            "e_adaptive": e["adp"],
            "f_max": f["curve"].max(),
            "f_mean": f["curve"].mean(),
            "f_adaptive": f["adp"],
            "f_weighted": self.weighted.get_results()["wfm"],
            "mae": self.mae.get_results()["mae"],
            "hce": self.hce.get_results()["hce"],
            **counts,
        }


def smooth_noise(random: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Return blobs: (H, W) float64 around 0."""
    noise = cv2.GaussianBlur(random.normal(0, 1, size_hw), (0, 0), random.uniform(0.5, 6))
    return noise / (noise.std() or 1)


def labels(random: np.random.Generator, size_hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return (H, W) bool labels by name."""
    one, box = np.zeros(size_hw, bool), np.zeros(size_hw, bool)
    one[size_hw[0] // 3, size_hw[1] // 2] = True
    box[size_hw[0] // 4 : size_hw[0] // 2 + 1, size_hw[1] // 3 : 2 * size_hw[1] // 3 + 1] = True
    return {
        "empty": np.zeros(size_hw, bool),
        "full": np.ones(size_hw, bool),
        "one pixel": one,
        "box": box,
        "speckled": random.random(size_hw) > 0.6,
        "blobs": smooth_noise(random, size_hw) > 0.3,
    }


def predictions(random: np.random.Generator, label: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (H, W) float64 predictions in 0..1, soft ones and binary ones."""
    yield label.astype(np.float64)
    yield 1.0 - label
    yield from (np.full(label.shape, value) for value in (0.0, 0.3, 0.5001, 0.7, 1.0))
    yield random.random(label.shape)
    yield 0.2 + 0.1 * random.random(label.shape)  # far from stretched
    yield np.clip(label * 0.6 + 0.4 * random.random(label.shape), 0, 1)
    yield (smooth_noise(random, label.shape) > 0).astype(np.float64)


def check(got: ImageScores, wanted: dict[str, float], label: np.ndarray, what: str) -> None:
    for name, value in wanted.items():
        if name.startswith("set_") or name == "image_iou":
            continue
        if name in ("iou", "precision", "recall", "f_measure") and not label.any():
            assert getattr(got, name) in (0, 1)  # nothing of nothing is 1 here, and 0 there
            continue
        if np.isnan(value):
            assert name == "s_measure"
            assert 0 <= getattr(got, name) <= 1
            continue
        assert getattr(got, name) == pytest.approx(value, abs=WITHIN), f"{name} of {what}"


@pytest.mark.parametrize("route", ["papers", "float64", "float32"])
@pytest.mark.parametrize("size_hw", SIZES_HW, ids="{0[0]}x{0[1]}".format)
def test_single_images(size_hw: tuple[int, int], route: str) -> None:
    random = np.random.default_rng(size_hw[0])
    for name, label in labels(random, size_hw).items():
        for place, prediction in enumerate(predictions(random, label)):
            reference = Reference(papers=route == "papers")
            if route == "papers":
                prediction = np.round(prediction * 255).astype(np.uint8)
                reference.step(prediction, label.astype(np.uint8) * 255)
                metrics = SegmentationMetrics(measures=COMPARED, normalize="minmax")
            else:
                prediction = prediction.astype(route)
                reference.step(prediction, label)
                metrics = SegmentationMetrics(measures=COMPARED)
            scores = metrics.update(prediction, label)
            check(scores, reference.figures(), label, f"prediction {place} of label {name}")


@pytest.mark.parametrize("papers", [True, False], ids=["papers", "as it is"])
def test_a_set_at_640x480(papers: bool) -> None:
    random = np.random.default_rng(7)
    reference = Reference(papers)
    metrics = SegmentationMetrics(
        measures=COMPARED, normalize="minmax" if papers else None, threads=2
    )
    images = []
    for kind in range(3):
        field = cv2.GaussianBlur(random.normal(0, 1, (480, 640)), (0, 0), 30)
        label = field > 0.8 * field.std()
        soft = 1 / (1 + np.exp(-(field / field.std() - 0.9) * 4 - random.normal(0, 1, label.shape)))
        prediction = (soft > 0.4).astype(np.float64) if kind == 2 else soft
        if papers:
            prediction, label = np.round(prediction * 255).astype(np.uint8), label
        reference.step(prediction, label.astype(np.uint8) * 255 if papers else label)
        images.append((prediction, label))
    metrics.update_all(images)
    figures, wanted = metrics.compute(), reference.figures()
    assert 0.1 < wanted["iou"] < 0.95
    for name, value in wanted.items():
        assert figures[name] == pytest.approx(value, abs=WITHIN), name
    curves, pr = metrics.curves(), reference.f.get_results()["pr"]
    assert curves["precision_curve"][::-1] == pytest.approx(pr["p"], abs=WITHIN)
    assert curves["recall_curve"][::-1] == pytest.approx(pr["r"], abs=WITHIN)
    assert curves["e_curve"][::-1] == pytest.approx(
        reference.e.get_results()["em"]["curve"], abs=WITHIN
    )


def test_stretched_floats() -> None:
    random = np.random.default_rng(3)
    label, prediction = smooth_noise(random, (40, 50)) > 0, random.uniform(0.2, 0.6, (40, 50))
    stretched = (prediction - prediction.min()) / (prediction.max() - prediction.min())
    reference = Reference(papers=False)
    reference.step(stretched, label)
    metrics = SegmentationMetrics(measures=COMPARED, normalize="minmax")
    check(metrics.update(prediction, label), reference.figures(), label, "stretched floats")


def test_an_object_in_the_last_row_has_an_s_measure() -> None:
    """PySODMetrics takes the mean of the empty region below it, and gives NaN for the whole set."""
    label = np.zeros((6, 8), bool)
    label[-1, 2:5] = True
    reference = Reference(papers=False)
    reference.step(label.astype(np.float64), label)
    assert np.isnan(reference.figures()["s_measure"])
    assert SegmentationMetrics().update(label.astype(np.float64), label).s_measure == pytest.approx(
        1
    )
