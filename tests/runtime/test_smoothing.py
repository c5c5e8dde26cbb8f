"""Smoothed masks against a loop over pixels, and when the history is forgotten."""

from collections import deque

import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.smoothing import MaskSmoother, class_counts


def smoothed(smoother, masks, fps=30.0, start_s=0.0):
    return [
        smoother.smooth(mask, start_s + k / fps, np.full_like(mask, 99)).copy()
        for k, mask in enumerate(masks)
    ]


def literal(masks, frames, classes):
    height, width = masks[0].shape
    results = [np.empty((height, width), np.uint8) for _ in masks]
    for y in range(height):
        for x in range(width):
            history, last = deque(maxlen=frames), None
            for k, mask in enumerate(masks):
                history.append(int(mask[y, x]))
                most = max(history.count(c) for c in range(classes))
                tied = [c for c in range(classes) if history.count(c) == most]
                last = last if last in tied else tied[0]
                results[k][y, x] = last
    return results


def flickering(count, classes, size_hw=(12, 16), part=0.2, seed=0):
    """Masks of which a part of the pixels changes at random from frame to frame."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, classes, size_hw, dtype=np.uint8)
    for _ in range(count):
        change = rng.random(size_hw) < part
        mask = np.where(change, rng.integers(0, classes, size_hw, dtype=np.uint8), mask)
        yield mask.astype(np.uint8)


@pytest.mark.parametrize("frames", [2, 3, 4, 5, 9, 60])
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_smoothing_is_the_literal_majority(frames, classes):
    masks = list(flickering(30, classes, seed=frames))
    smoother = MaskSmoother(frames, classes)
    for got, expected in zip(
        smoothed(smoother, masks), literal(masks, frames, classes), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert smoother.resets == 0


def test_classes_that_come_and_go():
    """Ids that are absent from most frames are counted all the same."""
    masks = [np.zeros((8, 10), np.uint8) for _ in range(24)]
    for k, mask in enumerate(masks):
        mask[0] = (k // 4) % 7
        mask[1, k % 10] = 254
    got = smoothed(MaskSmoother(5, 255), masks)
    for a, b in zip(got, literal(masks, 5, 255), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("frames", "late"), [(3, 1), (5, 2), (9, 4), (4, 2), (6, 3)])
def test_a_change_is_seen_as_late_as_the_documentation_says(frames, late):
    masks = [np.zeros((10, 10), np.uint8) for _ in range(30)]
    for mask in masks[15:]:
        mask[:2] = 1
    shown = [bool(mask[0, 0]) for mask in smoothed(MaskSmoother(frames, 2), masks)]
    assert shown.index(True) == 15 + late
    assert all(shown[15 + late :])


def test_what_flickers_is_gone():
    masks = [np.zeros((10, 10), np.uint8) for _ in range(20)]
    for mask in masks[4::3]:
        mask[3, 4] = 1
    assert not any(mask.any() for mask in smoothed(MaskSmoother(5, 2), masks))


def test_another_scene_is_shown_at_once():
    smoother = MaskSmoother(9, 2)
    a, b = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    b[:3] = 1
    smoothed(smoother, [a] * 9)
    (got,) = smoothed(smoother, [b], start_s=9 / 30)
    np.testing.assert_array_equal(got, b)
    assert smoother.resets == 1
    b[2, 9] = 0
    smoothed(smoother, [a] * 9, start_s=10 / 30)
    (got,) = smoothed(smoother, [b], start_s=19 / 30)
    assert not got.any(), "29 pixels in a hundred are not another scene"


@pytest.mark.parametrize(("step_s", "resets"), [(0.49, 0), (0.51, 1), (-0.01, 1), (0.0, 0)])
def test_gaps_and_steps_of_the_clock_begin_anew(step_s, resets):
    smoother = MaskSmoother(5, 2)
    a, b = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    b[0, 0] = 1
    smoothed(smoother, [a] * 5)
    (got,) = smoothed(smoother, [b], start_s=4 / 30 + step_s)
    assert smoother.resets == resets
    assert bool(got[0, 0]) == bool(resets)


def test_another_size_begins_anew():
    smoother = MaskSmoother(3, 3)
    smoothed(smoother, [np.ones((4, 6), np.uint8)] * 3)
    mask = np.full((6, 4), 2, np.uint8)
    (got,) = smoothed(smoother, [mask], start_s=0.1)
    np.testing.assert_array_equal(got, mask)


@pytest.mark.parametrize("frames", [1, 0, 61])
def test_lengths_that_make_no_sense(frames):
    with pytest.raises(InputError, match="--smooth: expected 2 to 60 frames"):
        MaskSmoother(frames, 2)


def test_counts_of_classes():
    mask = np.random.default_rng(0).integers(0, 250, (37, 53), dtype=np.uint8)
    np.testing.assert_array_equal(class_counts(mask, 254), np.bincount(mask.ravel(), minlength=254))
