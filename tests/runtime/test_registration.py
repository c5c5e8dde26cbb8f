from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.registration import Registration

TILTED = [[1.9, 0.05, 12.0], [-0.04, 1.8, 7.0], [2e-4, -1e-4, 1.0]]


def bilinear(image: np.ndarray, x: float, y: float) -> float:
    """Read between pixels, edge repeated: a literal loop's inside, the oracle."""
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for dy in (0, 1):
        for dx in (0, 1):
            row = min(max(y0 + dy, 0), image.shape[0] - 1)
            column = min(max(x0 + dx, 0), image.shape[1] - 1)
            weight = (1 - abs(x - x0 - dx)) * (1 - abs(y - y0 - dy))
            total += weight * float(image[row, column])
    return total


def warp_by_loop(image: np.ndarray, matrix: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    inverse = np.linalg.inv(matrix)
    out = np.zeros(size_wh[::-1])
    for row in range(size_wh[1]):
        for column in range(size_wh[0]):
            x, y, w = inverse @ (column, row, 1.0)
            out[row, column] = bilinear(image, x / w, y / w)
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_warp_agrees_with_a_literal_loop(dtype: type) -> None:
    rows, columns = np.mgrid[0:24, 0:32]
    image = (100 + 2.5 * columns + 1.5 * rows).astype(dtype)
    if dtype == np.uint16:
        image *= 200  # values that 8 bit could not hold
    registration = Registration(TILTED, (32, 24), (64, 48))
    warped = registration.warp(image)
    expected = warp_by_loop(image, np.array(TILTED), (64, 48))
    assert warped.dtype == dtype
    # OpenCV 4 rounds coordinates to 1/32 pixel.
    steepest = 2.5 * (200 if dtype == np.uint16 else 1)
    assert np.abs(warped - expected).max() <= 2 * steepest / 32 + 1


def test_a_warm_scene_is_warped_as_a_cold_one() -> None:
    """Sums of 15-bit counts with 10-bit weights do not fit float32."""
    image = np.random.default_rng(0).integers(0, 12000, (240, 320)).astype(np.uint16)
    registration = Registration(TILTED, (320, 240), (640, 480))
    for even in (20000, 53534):
        warmer = registration.warp(image + np.uint16(even))
        assert np.array_equal(warmer, registration.warp(image) + np.uint16(even))


def test_the_matrix_maps_moving_to_fixed_pixel_centres() -> None:
    image = np.zeros((20, 30), np.uint16)
    image[5, 10] = 40000
    shift = Registration([[1, 0, 4], [0, 1, -2], [0, 0, 1]], (30, 20), (30, 20))
    warped = shift.warp(image)
    assert warped[3, 14] == 40000
    assert np.count_nonzero(warped) == 1


def test_outside_the_view_the_edge_is_repeated_and_not_valid() -> None:
    image = np.arange(1, 13, dtype=np.uint16).reshape(3, 4) * 1000
    registration = Registration([[1, 0, 2], [0, 1, 0], [0, 0, 1]], (4, 3), (6, 3))
    warped = registration.warp(image)
    assert warped[:, :3].tolist() == [[1000] * 3, [5000] * 3, [9000] * 3]
    assert registration.valid().tolist() == [[False, False, True, True, True, True]] * 3
    assert registration.coverage == pytest.approx(4 / 6)


def seen_area(matrix: np.ndarray, moving_wh: tuple[int, int], fixed_wh: tuple[int, int]) -> float:
    """The part of the fixed view inside the moving image's outline, sent forward."""
    moving, fixed = (
        np.array([[[0, 0], [w, 0], [w, h], [0, h]]], np.float32) - 0.5
        for w, h in (moving_wh, fixed_wh)
    )
    area_px, _ = cv2.intersectConvexConvex(cv2.perspectiveTransform(moving, matrix), fixed)
    return area_px / (fixed_wh[0] * fixed_wh[1])


@pytest.mark.parametrize(
    "matrix",
    [
        TILTED,
        np.linalg.inv(TILTED),
        [[1.3, -0.1, 255], [-0.2, 1.0, -54], [0, 0, 1]],
        # The horizon runs between the RGB view's origin and what the thermal camera sees.
        [[1.22, -0.15, 681], [-0.22, 1.1, 397], [1.0e-3, 2.75e-3, 1]],
    ],
)
@pytest.mark.parametrize("fixed_wh", [(640, 480), (80, 60), (1920, 1440)])
def test_coverage_is_the_area_of_the_outline(matrix: list, fixed_wh: tuple[int, int]) -> None:
    scaled = np.diag([fixed_wh[0] / 640, fixed_wh[0] / 640, 1.0]) @ matrix
    registration = Registration(scaled, (320, 240), fixed_wh)
    area = seen_area(np.array(registration.matrix), (320, 240), fixed_wh)
    assert area > 0.05
    assert registration.coverage == pytest.approx(area, abs=0.012)
    assert registration.valid().mean() == pytest.approx(registration.coverage, abs=0.006)


def test_what_is_said_of_a_coverage() -> None:
    assert Registration(TILTED, (320, 240), (640, 480)).coverage_note() is None
    inverted = Registration(np.linalg.inv(TILTED), (320, 240), (640, 480))
    assert inverted.coverage_note() == (
        "registration: only 7.1 % of the rgb view is covered by the thermal camera; is the matrix "
        "the wrong way round? it maps thermal to rgb"
    )
    shifted = Registration([[1, 0, 900], [0, 1, 0], [0, 0, 1]], (320, 240), (640, 480))
    with pytest.raises(InputError, match=r"nothing of the rgb view .* it maps thermal to rgb"):
        shifted.coverage_note()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("last", [0.0, 1e-11, -1e-200])
def test_numbers_far_apart_are_refused_without_a_word_from_numpy(last: float) -> None:
    for largest in (1e300, 1e6):
        with pytest.raises(InputError, match=r"matrix: the last element, .*, is 0 or as good as"):
            Registration([[largest, 0, 0], [0, 1, 0], [0, 0, last]], (320, 240), (640, 480))
    small = np.array(TILTED) * 1e-200  # a homography has no scale
    assert np.allclose(Registration(small, (320, 240), (640, 480)).matrix, TILTED)


def test_identity_of_equal_sizes_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (13, 17)).astype(np.uint16)
    assert np.array_equal(Registration.identity((17, 13)).warp(image), image)
    assert Registration.identity((17, 13)).coverage == 1.0


def test_identity_of_two_sizes_stretches_about_the_corner() -> None:
    matrix = Registration.identity((160, 120), (640, 480)).matrix
    for corner in ((-0.5, -0.5), (159.5, 119.5)):
        x, y, w = matrix @ (*corner, 1.0)
        assert x / w == pytest.approx((corner[0] + 0.5) * 4 - 0.5)
        assert y / w == pytest.approx((corner[1] + 0.5) * 4 - 0.5)


def test_frames_of_other_sizes_scale_the_matrix() -> None:
    registration = Registration(TILTED, (320, 240), (640, 480))
    scaled = registration.scaled_matrix((160, 120), (1280, 960))
    # The same point of the scene, through the corners' convention, at both sizes.
    for x, y in ((0.0, 0.0), (100.0, 60.0), (319.0, 239.0)):
        u, v, w = np.array(TILTED) @ (x, y, 1)
        small = ((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5, 1)
        u2, v2, w2 = scaled @ small
        assert u2 / w2 == pytest.approx((u / w + 0.5) * 2 - 0.5)
        assert v2 / w2 == pytest.approx((v / w + 0.5) * 2 - 0.5)
    image = np.random.default_rng(0).integers(0, 999, (120, 160)).astype(np.uint16)
    assert registration.warp(image, (1280, 960)).shape == (960, 1280)


def test_another_aspect_is_refused() -> None:
    registration = Registration(TILTED, (320, 240), (640, 480))
    with pytest.raises(InputError, match="thermal frames are 320x256, but the file is for 320x240"):
        registration.warp(np.zeros((256, 320), np.uint16))
    with pytest.raises(InputError, match="rgb frames are 640x360"):
        registration.warp(np.zeros((240, 320), np.uint16), (640, 360))


def test_out_and_maps_are_kept() -> None:
    registration = Registration(TILTED, (32, 24), (64, 48))
    image = np.random.default_rng(0).integers(0, 65536, (24, 32)).astype(np.uint16)
    out = np.empty((48, 64), np.uint16)
    assert registration.warp(image, out=out) is out
    assert np.array_equal(out, registration.warp(image))
    maps = registration._maps
    registration.warp(image)
    assert registration._maps is maps


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "registration.json"
    Registration(TILTED, (320, 240), (640, 480)).save(path)
    document = json.loads(path.read_text())
    assert document == {
        "schema": 1,
        "kind": "homography",
        "moving": "thermal",
        "fixed": "rgb",
        "matrix": TILTED,
        "moving_size_wh": [320, 240],
        "fixed_size_wh": [640, 480],
    }
    loaded = Registration.load(path)
    assert np.array_equal(loaded.matrix, TILTED)
    assert (loaded.moving_size_wh, loaded.fixed_size_wh) == ((320, 240), (640, 480))


GOOD = {
    "schema": 1,
    "kind": "homography",
    "moving": "thermal",
    "fixed": "rgb",
    "matrix": TILTED,
    "moving_size_wh": [320, 240],
    "fixed_size_wh": [640, 480],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema"),
        ({"kind": "affine"}, "kind"),
        ({"matrx": TILTED}, "did you mean 'matrix'"),
        ({"matrix": [[1, 0], [0, 1]]}, "3x3"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, "1"]]}, "matrix[2][2]"),
        ({"matrix": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "singular"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, "infinity"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]]}, "infinity"),
        ({"matrix": [[1, 0, float("nan")], [0, 1, 0], [0, 0, 1]]}, "NaN"),
        ({"moving_size_wh": [0, 240]}, "moving_size_wh"),
        ({"moving_size_wh": [320]}, "moving_size_wh"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, change: dict, said: str) -> None:
    path = tmp_path / "registration.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(InputError) as caught:
        Registration.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_what_is_not_a_document_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registration.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"registration\.json"):
        Registration.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Registration.load(tmp_path / "absent.json")
