from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import CheckFailedError, InputError
from differseg.runtime.register.command import register
from differseg.runtime.register.fitting import PointPairs, fit_homography, residuals_px
from differseg.runtime.register.points import load_points
from differseg.runtime.registration import Registration

MATRIX = np.array([[2.0, 0.04, 8.0], [-0.03, 1.95, -11.0], [1e-4, -5e-5, 1.0]])


def exact_points(count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    thermal = np.random.default_rng(seed).uniform((20, 20), (290, 220), (count, 2))
    return thermal, cv2.perspectiveTransform(thermal[None], MATRIX)[0]


def write_json(path: Path, thermal: np.ndarray, rgb: np.ndarray, **more: object) -> Path:
    points = [
        {"shot": "a", "thermal": t, "rgb": r}
        for t, r in zip(thermal.tolist(), rgb.tolist(), strict=True)
    ]
    sizes = {"thermal_size_wh": [320, 240], "rgb_size_wh": [640, 480]}
    path.write_text(json.dumps({"schema": 1, "points": points, **sizes, **more}))
    return path


def test_a_file_of_points_becomes_a_registration(tmp_path: Path) -> None:
    thermal, rgb = exact_points()
    rgb += np.random.default_rng(1).normal(0, 0.5, rgb.shape)
    path = write_json(tmp_path / "p.json", thermal, rgb)
    register("points", tmp_path / "r.json", points=path)
    loaded = Registration.load(tmp_path / "r.json")
    grid = np.stack(np.meshgrid([20.0, 150, 300], [20.0, 120, 220]), -1).reshape(1, -1, 2)
    one, other = (cv2.perspectiveTransform(grid, m)[0] for m in (loaded.matrix, MATRIX))
    assert np.hypot(*(one - other).T).max() < 2
    assert loaded.fit is not None
    assert (loaded.fit.method, loaded.fit.points) == ("points", 12)
    assert 0.1 < loaded.fit.residual.median_px < 1


def test_csv_and_json_give_the_same(tmp_path: Path) -> None:
    thermal, rgb = exact_points()
    path = write_json(tmp_path / "p.json", thermal, rgb)
    rows = [
        f"a, {t[0]!r}, {t[1]!r}, {r[0]!r}, {r[1]!r}"
        for t, r in zip(thermal.tolist(), rgb.tolist(), strict=True)
    ]
    table = tmp_path / "p.csv"
    table.write_text("shot,thermal_x,thermal_y,rgb_x,rgb_y\n" + "\n".join(rows) + "\n")
    cv2.imwrite(str(tmp_path / "a_rgb.png"), np.zeros((480, 640, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a_t.png"), np.zeros((240, 320), np.uint16))
    register("points", tmp_path / "one.json", points=path)
    register(
        "points",
        tmp_path / "two.json",
        points=table,
        rgb=tmp_path / "a_rgb.png",
        thermal=tmp_path / "a_t.png",
    )
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


def test_a_wrong_pick_among_many_does_no_harm() -> None:
    thermal, rgb = exact_points(15)
    rgb[3] += (60, -40)
    pairs = PointPairs("a", thermal, rgb)
    matrix = fit_homography([pairs], (640, 480))
    assert np.allclose(matrix, MATRIX, atol=1e-3)
    off = residuals_px(pairs, matrix)
    assert off[3] == pytest.approx(np.hypot(60, 40), rel=0.01)
    assert np.delete(off, 3).max() < 0.01


def test_too_few_points_and_points_on_a_line_are_refused() -> None:
    thermal, rgb = exact_points(3)
    with pytest.raises(InputError, match="3 point pairs, but a homography needs 4"):
        fit_homography([PointPairs("a", thermal, rgb)], (640, 480))
    line = np.stack([np.linspace(10, 200, 8), np.linspace(20, 120, 8)], axis=1)
    mapped = cv2.perspectiveTransform(line[None], MATRIX)[0]
    with pytest.raises(InputError, match="thermal points lie on a line"):
        fit_homography([PointPairs("a", line, mapped)], (640, 480))


def test_points_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    thermal, _ = exact_points(12)
    rgb = np.random.default_rng(7).uniform((0, 0), (639, 479), (12, 2))
    path = write_json(tmp_path / "p.json", thermal, rgb)
    with pytest.raises((CheckFailedError, InputError)) as caught:
        register("points", tmp_path / "r.json", points=path)
    assert "agree" in str(caught.value) or "infinity" in str(caught.value)
    assert not (tmp_path / "r.json").exists()


def test_four_points_are_taken_with_a_word(tmp_path: Path) -> None:
    thermal = np.array([[20.0, 20], [300, 25], [290, 220], [15, 210]])
    rgb = cv2.perspectiveTransform(thermal[None], MATRIX)[0]
    path = write_json(tmp_path / "p.json", thermal, rgb, rgb_size_wh=[640, 480])
    found = register("points", tmp_path / "r.json", points=path)
    assert any("four points always fit exactly" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", "{", "not valid JSON"),
        ("p.json", "[]", "expected an object"),
        ("p.json", '{"points": [{"thermal": [1], "rgb": [1, 2]}]}', "points[0].thermal"),
        ("p.json", '{"points": [{"thermal": [1, NaN], "rgb": [1, 2]}]}', "finite"),
        ("p.json", '{"pionts": []}', "did you mean 'points'"),
        (
            "p.json",
            '{"points": [{"thermal": [999, 5], "rgb": [1, 2]}], "thermal_size_wh": [320, 240]}',
            "points[0].thermal (999, 5) lies outside the image of 320x240",
        ),
        ("p.csv", "", "'thermal_x' is missing"),
        ("p.csv", "thermal_x,thermal_y,rgb_x\n1,2,3\n", "'rgb_y' is missing"),
        ("p.csv", "thermal_x,thermal_y,rgb_x,rgb_y\n1,2,3\n", "line 2: expected four numbers"),
        ("p.csv", "thermal_x,thermal_y,rgb_x,rgb_y\n1,2,3,inf\n", "line 2: a number is not finite"),
        ("p.txt", "", "expected a .json or .csv file"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_points(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_sizes_must_be_known_and_fit(tmp_path: Path) -> None:
    thermal, rgb = exact_points()
    path = write_json(tmp_path / "p.json", thermal, rgb, rgb_size_wh=None)
    with pytest.raises(InputError, match="add --rgb and --thermal"):
        register("points", tmp_path / "r.json", points=path)
    path = write_json(tmp_path / "p.json", thermal, rgb)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((960, 1280, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((240, 320), np.uint16))
    with pytest.raises(InputError, match="is for rgb images of 640x480, but --rgb has 1280x960"):
        register(
            "points",
            tmp_path / "r.json",
            points=path,
            rgb=tmp_path / "a.png",
            thermal=tmp_path / "b.png",
        )
