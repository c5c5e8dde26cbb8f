from __future__ import annotations

import numpy as np
import pytest

from differseg.class_pictures import ClassComparison, class_grid, class_overlay, error_overlay
from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.pictures import FALSE_RGB

CLASSES = (
    ClassSpec(0, "nothing", (0, 0, 0)),
    ClassSpec(1, "car", (200, 0, 100)),
    ClassSpec(2, "person", (0, 250, 0)),
)


def row() -> ClassComparison:
    label = np.zeros((48, 64), np.uint8)
    label[:24, :32], label[24:, 32:] = 1, 255
    found = np.zeros((48, 64), np.uint8)
    found[:, :16] = 1
    rgb = np.full((48, 64, 3), 100, np.uint8)
    return ClassComparison("00107D", {"rgb": rgb, "thermal": found / 2.0}, found, label)


def test_classes_are_tinted_and_the_background_is_grey() -> None:
    rgb = np.full((1, 4, 3), (100, 100, 100), np.uint8)
    picture = class_overlay(rgb, np.array([[0, 1, 2, 255]], np.uint8), CLASSES)
    assert picture[0, 0].tolist() == [80, 80, 80]
    for at, color in ((1, (200, 0, 100)), (2, (0, 250, 0)), (3, (0, 0, 0))):
        assert np.abs(picture[0, at] - (0.35 * 80 + 0.65 * np.array(color))).max() <= 1


def test_wrong_pixels_are_red_and_ignored_ones_dark() -> None:
    rgb = np.full((1, 3, 3), 100, np.uint8)
    picture = error_overlay(rgb, np.array([[1, 1, 1]]), np.array([[1, 2, 255]]))
    assert picture[0, 0].tolist() == [80, 80, 80]
    assert np.abs(picture[0, 1] - (0.45 * 80 + 0.55 * np.array(FALSE_RGB))).max() <= 1
    assert picture[0, 2].tolist() == [32, 32, 32]


def test_grid_names_the_classes_that_it_shows() -> None:
    one = class_grid([row()], CLASSES, panel_width_px=64)
    two = class_grid([row(), row()], CLASSES, panel_width_px=64)
    assert one.shape[1] == 5 * 68 + 4
    assert two.shape[0] - one.shape[0] == 22 + 48 + 4
    legend = one[22:44]
    assert (legend == CLASSES[1].color_rgb).all(axis=2).any()
    assert not (legend == CLASSES[2].color_rgb).all(axis=2).any()
    found = one[66 : 66 + 48, 3 * 68 + 4 : 3 * 68 + 68]
    assert found[40, 40].tolist() == [80, 80, 80]
    assert found[40, 5, 0] > 120
    with pytest.raises(InputError, match="no image"):
        class_grid([], CLASSES)
