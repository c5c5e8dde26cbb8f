from __future__ import annotations

import numpy as np
import pytest

from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.runtime.overlay import OverlayPainter, StatusLine

CLASSES = (ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "object", (10, 200, 80)))
FULL = StatusLine(fps=24.8, latency_ms=41, skew_ms=-12, dropped=3, mode="rgb only")


def square_mask(size_hw: tuple[int, int] = (240, 320)) -> np.ndarray:
    mask = np.zeros(size_hw, np.uint8)
    mask[60:120, 80:160] = 1
    return mask


def test_tint_inside_outline_at_the_edge_untouched_outside() -> None:
    frame = np.full((240, 320, 3), 100, np.uint8)
    painted = OverlayPainter(CLASSES, opacity=0.5).draw(frame, square_mask())
    assert painted[90, 120].tolist() == [90, 150, 55]  # half of BGR (80, 200, 10)
    assert painted[60, 80].tolist() == [80, 200, 10]
    assert painted[119, 159].tolist() == [80, 200, 10]
    outside = square_mask() == 0
    assert (painted[outside] == 100).all()
    assert (frame == 100).all()


def test_every_class_has_its_colour() -> None:
    classes = (*CLASSES, ClassSpec(5, "other", (250, 0, 0)))
    mask = square_mask()
    mask[150:200, 80:160] = 5
    painted = OverlayPainter(classes, opacity=1.0).draw(np.zeros((240, 320, 3), np.uint8), mask)
    assert painted[90, 120].tolist() == [80, 200, 10]
    assert painted[175, 120].tolist() == [0, 0, 250]


def test_in_place_and_into_a_buffer() -> None:
    frame = np.full((240, 320, 3), 100, np.uint8)
    painter = OverlayPainter(CLASSES)
    out = np.empty_like(frame)
    assert painter.draw(frame, square_mask(), out=out) is out
    assert (frame == 100).all()
    assert painter.draw(frame, square_mask(), out=frame) is frame
    assert np.array_equal(frame, out)


@pytest.mark.parametrize("size_hw", [(240, 320), (480, 640), (1080, 1920)])
def test_status_and_inset_fit_every_size(size_hw: tuple[int, int]) -> None:
    frame = np.full((*size_hw, 3), 128, np.uint8)
    thermal = np.random.default_rng(0).integers(29000, 31000, (60, 80)).astype(np.uint16)
    mask = np.zeros(size_hw, np.uint8)
    painted = OverlayPainter(CLASSES).draw(frame, mask, thermal=thermal, status=FULL)
    height, width = size_hw
    assert painted.shape == frame.shape
    changed = (painted != 128).any(axis=2)
    assert changed[-2:].all()
    assert changed[: height // 4, -width // 4 :].mean() > 0.3
    assert not changed[height // 3 : height // 2, : width // 2].any()


def test_a_frame_too_small_for_text_gets_the_picture_alone() -> None:
    frame = np.full((33, 47, 3), 128, np.uint8)
    thermal = np.full((60, 80), 30000, np.uint16)
    mask = np.zeros((33, 47), np.uint8)
    painted = OverlayPainter(CLASSES).draw(frame, mask, thermal=thermal, status=FULL)
    assert (painted[:, :20] == 128).all()
    assert (painted[:8, -10:-4] != 128).any()


@pytest.mark.parametrize("size_hw", [(240, 320), (1080, 1920)])
def test_no_text_is_cut_off(size_hw: tuple[int, int]) -> None:
    """The last columns of the status band hold no bright pixel, so no letter runs out of it."""
    frame = np.full((*size_hw, 3), 90, np.uint8)
    status = StatusLine(fps=24.8, latency_ms=1041, skew_ms=-1200, dropped=123456, mode="hold last")
    painted = OverlayPainter(CLASSES).draw(frame, np.zeros(size_hw, np.uint8), status=status)
    assert (painted[-size_hw[0] // 4 :].max(axis=(0, 2)) > 200).sum() > size_hw[1] // 3
    assert painted[:, -3:].max() <= 90


def test_warnings_are_in_another_colour_and_none_is_left_out() -> None:
    assert FULL.parts()[:2] == [("RGB ONLY", True), ("24.8 fps", False)]
    assert StatusLine().parts() == []
    assert ("skew -12 ms", False) in FULL.parts()
    assert ("skew +0 ms", False) in StatusLine(skew_ms=-0.3).parts()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_inset_shows_hot_brighter_than_cold(dtype: type) -> None:
    thermal = np.zeros((60, 80), np.float64)
    thermal[:, 40:] = 1.0
    if dtype != np.float32:
        thermal = thermal * (100 if dtype == np.uint8 else 2000) + (
            100 if dtype == np.uint8 else 30000
        )
    frame = np.zeros((240, 320, 3), np.uint8)
    mask = np.zeros((240, 320), np.uint8)
    painted = OverlayPainter(CLASSES).draw(frame, mask, thermal=thermal.astype(dtype))
    inset = painted[10:50, -85:-5].sum(axis=2).astype(float)
    assert inset[:, 60:].mean() > 2 * inset[:, :20].mean()


def test_what_does_not_fit_is_refused() -> None:
    frame = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(InputError, match=r"mask \(10, 20\) uint8, got \(20, 10\)"):
        OverlayPainter(CLASSES).draw(frame, np.zeros((20, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(H, W, 3\) uint8, got"):
        OverlayPainter(CLASSES).draw(frame[..., 0], np.zeros((10, 20), np.uint8))
    with pytest.raises(InputError, match=r"inset: .* 0\.\.0\.5, got 0\.6"):
        OverlayPainter(CLASSES, inset=0.6)
    with pytest.raises(InputError, match=r"opacity: expected 0\.\.1, got 2"):
        OverlayPainter(CLASSES, opacity=2)


ROAD = (
    ClassSpec(0, "unlabeled", (0, 0, 0)),
    ClassSpec(3, "person", (64, 64, 0)),
    ClassSpec(7, "a class with a very long name indeed", (250, 120, 110)),
)


def road_mask(size_hw: tuple[int, int] = (480, 640)) -> np.ndarray:
    mask = np.zeros(size_hw, np.uint8)
    mask[300:400, 200:300] = 3
    mask[300:400, 300:400] = 7
    return mask


def test_neighbouring_classes_are_parted_by_their_outlines() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    painted = OverlayPainter(ROAD, opacity=0.5).draw(frame, road_mask())
    assert painted[350, 250].tolist() == [64, 96, 96]
    dark, bright = painted[350, 299].astype(int), painted[350, 300].tolist()
    assert bright == [110, 120, 250]
    # A dark colour's outline is lighter, and still of that hue.
    assert dark @ (0.114, 0.587, 0.299) == pytest.approx(110, abs=1)
    assert dark[0] < dark[1] == dark[2]
    assert (painted[405:470] == 128).all()


def test_the_legend_names_what_the_mask_shows_and_stays_in_the_frame() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    mask = road_mask()
    both = OverlayPainter(ROAD).draw(frame, mask)[:200]
    mask[mask == 7] = 0
    one = OverlayPainter(ROAD).draw(frame, mask)[:200]
    none = OverlayPainter(ROAD).draw(frame, np.zeros_like(mask))[:200]
    rows = [(picture != 128).any(axis=(1, 2)).sum() for picture in (none, one, both)]
    assert rows[0] == 0 < rows[1] < rows[2]
    assert not (both[:, 320:] != 128).any()
    assert (both == [110, 120, 250]).all(axis=2).any()
    assert not (one == [110, 120, 250]).all(axis=2).any()
    binary = OverlayPainter(CLASSES).draw(frame, (mask > 0).astype(np.uint8))[:200]
    assert (binary == 128).all()


def test_a_legend_of_many_classes_keeps_the_largest() -> None:
    classes = [ClassSpec(place, f"c{place}", (place, 200, 255 - place)) for place in range(1, 101)]
    mask = np.repeat(np.arange(240) // 3 + 1, 320).reshape(240, 320).astype(np.uint8)
    mask[:, 160:] = 99
    painted = OverlayPainter(classes).draw(np.zeros((240, 320, 3), np.uint8), mask)
    swatch = [255 - 99, 200, 99]
    assert (painted[:, :40] == swatch).all(axis=2).any()


def test_without_a_background_every_class_is_painted() -> None:
    classes = [ClassSpec(place, f"c{place}", (200, 50 * place, 9)) for place in range(3)]
    painted = OverlayPainter(classes, opacity=1.0).draw(
        np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
    )
    assert (painted == [9, 0, 200]).all()


def test_no_mask_paints_no_class() -> None:
    frame = np.full((240, 320, 3), 100, np.uint8)
    assert np.array_equal(OverlayPainter(ROAD).draw(frame, None), frame)
    assert OverlayPainter(ROAD).colored(np.array([[0, 3]], np.uint8)).tolist() == [
        [[0, 0, 0], [0, 64, 64]]
    ]
