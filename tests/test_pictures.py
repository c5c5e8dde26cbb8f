"""Picture grids show the right thing in the right place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.pictures import (
    FALSE_RGB,
    FOUND_RGB,
    MISSED_RGB,
    Comparison,
    agreement_overlay,
    comparison_grid,
    write_picture,
)


def row(caption: str = "00107D") -> Comparison:
    label = np.zeros((48, 64), np.uint8)
    label[:24, :32], label[24:, 32:] = 1, 255
    probability = np.zeros((48, 64), np.float32)
    probability[:, 16:48] = 0.9
    rgb = np.full((48, 64, 3), (200, 10, 10), np.uint8)
    return Comparison(caption, {"rgb": rgb, "thermal": probability}, probability, label)


def test_overlay_tells_found_false_and_missed_apart() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    label = np.array([[1, 0], [1, 0]], np.uint8)
    probability = np.array([[0.5, 0.9], [0.1, 0.2]])
    picture = agreement_overlay(black, probability, label, threshold=0.5)
    for at, color in (((0, 0), FOUND_RGB), ((0, 1), FALSE_RGB), ((1, 0), MISSED_RGB)):
        assert np.abs(picture[at] - 0.55 * np.array(color)).max() <= 1
    assert picture[1, 1].tolist() == [0, 0, 0]


def test_grid_has_one_row_per_image_and_one_column_per_panel() -> None:
    one = comparison_grid([row()], threshold=0.5, panel_width_px=64)
    two = comparison_grid([row(), row()], threshold=0.5, panel_width_px=64)
    assert one.shape[1] == two.shape[1] == 5 * 68 + 4
    assert two.shape[0] - one.shape[0] == 22 + 48 + 4
    rgb_panel = one[44 : 44 + 48, 4 : 4 + 64]
    assert (rgb_panel == (200, 10, 10)).all()
    label_panel = one[44 : 44 + 48, 2 * 68 + 4 : 2 * 68 + 68]
    assert label_panel[10, 10, 0] == 255
    assert label_panel[40, 40, 0] == 96  # ignored
    assert label_panel[40, 10, 0] == 0


def test_an_empty_grid_and_an_unwritable_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        comparison_grid([], threshold=0.5)
    with pytest.raises(InputError, match=r"x\.jpg: the picture could not be written"):
        write_picture(tmp_path / "none" / "x.jpg", np.zeros((8, 8, 3), np.uint8))


def test_written_colours_are_rgb(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", np.full((8, 8, 3), (250, 100, 0), np.uint8))
    assert cv2.imread(str(tmp_path / "x.png"))[0, 0].tolist() == [0, 100, 250]
