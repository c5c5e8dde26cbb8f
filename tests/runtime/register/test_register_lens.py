from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError, ManifestError
from differseg.runtime.lens import Lens
from differseg.runtime.register.document import FitRecord, Residuals, ShotRecord
from differseg.runtime.registration import Registration

LENS = Lens(280.0, 282.0, 158.0, 129.0, -0.25, 0.08, 0.001, -0.002, 0.01)
OTHER = Lens(600.0, 601.0, 320.0, 242.0, 0.05, -0.02, 0.0005, 0.001)
MATRIX = [[2.1, 0.03, -14.0], [-0.02, 2.08, -20.0], [2e-5, -1e-5, 1.0]]


def grid(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 7))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_distort_agrees_with_opencv() -> None:
    ideal = grid(320, 256)
    rays = np.concatenate([(ideal - (158, 129)) / (280, 282), np.ones((len(ideal), 1))], axis=1)
    expected, _ = cv2.projectPoints(
        rays, np.zeros(3), np.zeros(3), LENS.camera_matrix, LENS.distortion
    )
    assert np.allclose(LENS.distort(ideal), expected[:, 0], atol=1e-9)


def test_undistort_undoes_distort() -> None:
    seen = grid(320, 256)
    ideal = LENS.undistort(seen)
    assert np.abs(ideal - seen).max() > 5  # there is something to undo
    assert np.allclose(LENS.distort(ideal), seen, atol=1e-3)


def test_what_folds_back_is_nowhere() -> None:
    strong = Lens(100.0, 100.0, 160.0, 128.0, -0.4)
    # The image radius grows up to r2 = 1 / 1.2 only: further out, points would come back inside.
    far = np.array([[160 + 100 * 1.5, 128.0], [160 + 100 * 0.5, 128.0]])
    assert np.isnan(strong.distort(far)).all(axis=1).tolist() == [True, False]
    assert np.isnan(strong.undistort(np.array([[160 + 100 * 0.9, 128.0]]))).all()


def test_a_lens_scales_about_the_corner() -> None:
    small = LENS.scaled((320, 256), (160, 128))
    seen = grid(320, 256)
    assert np.allclose(
        small.undistort((seen + 0.5) / 2 - 0.5), (LENS.undistort(seen) + 0.5) / 2 - 0.5, atol=1e-3
    )


def test_lenses_and_homography_are_one_warp() -> None:
    registration = Registration(MATRIX, (320, 256), (640, 480), moving_lens=LENS, fixed_lens=OTHER)
    x, y = np.meshgrid(np.arange(320.0), np.arange(256.0))
    # Images whose values are coordinates: the warp gives back where each pixel is from.
    at_x, at_y = (registration.warp(v.astype(np.float32)) for v in (x, y))
    seen = registration.valid()
    inner = cv2.erode(seen.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    rows, columns = np.nonzero(inner)
    pick = slice(None, None, 997)
    fixed = np.stack([columns[pick], rows[pick]], axis=1).astype(np.float64)
    rays = cv2.undistortPoints(fixed[:, None], OTHER.camera_matrix, OTHER.distortion)[:, 0]
    ideal = cv2.perspectiveTransform(
        (rays * (600, 601) + (320, 242))[None], np.linalg.inv(np.array(MATRIX))
    )[0]
    expected = LENS.distort(ideal)
    got = np.stack([at_x[inner][pick], at_y[inner][pick]], axis=1)
    assert len(got) > 100
    assert np.abs(got - expected).max() < 0.1
    plain = Registration(MATRIX, (320, 256), (640, 480))
    assert np.abs(plain.warp(x.astype(np.float32)) - at_x)[inner].max() > 3


def test_with_lenses_frames_of_other_sizes_scale() -> None:
    registration = Registration(MATRIX, (320, 256), (640, 480), moving_lens=LENS, fixed_lens=OTHER)
    x = np.tile(np.arange(320, dtype=np.float32), (256, 1))
    large = registration.warp(x)
    half = registration.warp(x, (320, 240))
    expected = cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA)
    both = registration.valid(None, (320, 240))
    inner = cv2.erode(both.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.abs(half - expected)[inner].max() < 0.2
    assert registration.coverage == pytest.approx(registration.valid().mean(), abs=0.01)


RECORD = FitRecord(
    method="checkerboard",
    shots=1,
    points=54,
    residual=Residuals(0.2, 0.5, 0.75),
    per_shot=(ShotRecord("a", 54, Residuals(0.2, 0.5, 0.75)),),
    confidence=None,
    reason="why",
)


def test_schema_2_holds_lenses_and_record(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    registration = Registration(
        MATRIX, (320, 256), (640, 480), moving_lens=LENS, fixed_lens=None, fit=RECORD
    )
    registration.save(path)
    loaded = Registration.load(path)
    assert (loaded.moving_lens, loaded.fixed_lens, loaded.fit) == (LENS, None, RECORD)
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_text() == path.read_text()
    document = json.loads(path.read_text())
    assert document["schema"] == 2
    assert document["moving_lens"]["k1"] == -0.25
    assert document["fit"]["residual"] == {"median_px": 0.2, "p95_px": 0.5, "max_px": 0.75}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 3}, "schema: expected 1 or 2, got 3"),
        ({"schema": True}, "schema"),
        ({"moving_lens": {"fx": 280}}, "moving_lens: required key 'fy' is missing"),
        ({"fixed_lens": {"fx": 0, "fy": 1, "cx": 0, "cy": 0}}, "fixed_lens.fx: expected 1 to 1e6"),
        ({"fit": {"method": "guess"}}, "fit.method"),
        ({"fitt": None}, "did you mean 'fit'"),
    ],
)
def test_a_wrong_schema_2_is_refused(tmp_path: Path, change: dict, said: str) -> None:
    path = tmp_path / "r.json"
    Registration(MATRIX, (320, 256), (640, 480), moving_lens=LENS).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as caught:
        Registration.load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_lens_is_refused() -> None:
    with pytest.raises(ManifestError, match="k1"):
        Lens(100, 100, 0, 0, 1e9)
    with pytest.raises(ManifestError, match="cx"):
        Lens(100, 100, 1e9, 0)
