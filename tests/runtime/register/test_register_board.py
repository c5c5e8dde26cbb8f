from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_boards import (
    RGB_WH,
    THERMAL_WH,
    poses,
    rgb_camera,
    shoot,
    thermal_camera,
    thermal_to_rgb,
    write_shots,
)

from differseg.errors import CheckFailedError, InputError
from differseg.runtime.register.board import Board, find_board, parse_pattern, sight
from differseg.runtime.register.command import register
from differseg.runtime.register.shots import read_shots
from differseg.runtime.registration import Registration

BARREL = (-0.28, 0.09, 0.001, -0.0008, 0.0)
NINE_BY_SIX = Board("checkerboard", 9, 6)


def off_px(registration: Registration, thermal, rgb, board: Board, chosen: list) -> float:
    """Median distance between the registered thermal points and the RGB points, both exact."""
    found = []
    for pose in chosen:
        seen = thermal.project(board.plane().astype(float), *pose)
        expected = rgb.project(board.plane().astype(float), *pose)
        if registration.moving_lens is not None:
            seen = registration.moving_lens.undistort(seen)
        mapped = cv2.perspectiveTransform(seen[None], registration.matrix)[0]
        if registration.fixed_lens is not None:
            mapped = registration.fixed_lens.distort(mapped)
        found.append(np.hypot(*(mapped - expected).T))
    return float(np.median(np.concatenate(found)))


@pytest.mark.parametrize(
    ("kind", "columns", "rows"),
    [
        ("checkerboard", 9, 6),
        ("checkerboard", 7, 7),
        ("circles", 7, 5),
        ("asymmetric-circles", 4, 11),
    ],
)
def test_boards_of_inverted_polarity_give_the_homography(
    tmp_path: Path, kind: str, columns: int, rows: int
) -> None:
    board = Board(kind, columns, rows)
    rgb, thermal = rgb_camera(), thermal_camera()
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, board, rgb, thermal, 4)
    out = tmp_path / "registration.json"
    found = register(
        kind, out, rgb=rgb_dir, thermal=thermal_dir, pattern=f"{columns}x{rows}", lenses=False
    )
    loaded = Registration.load(out)
    unseen = poses(board, 9, np.random.default_rng(99))
    assert off_px(loaded, thermal, rgb, board, unseen) <= 1.0
    truth = thermal_to_rgb(thermal, rgb)
    grid = np.stack(np.meshgrid(np.linspace(0, 319, 9), np.linspace(0, 255, 9)), -1).reshape(
        1, -1, 2
    )
    there = (cv2.perspectiveTransform(grid, m)[0] for m in (loaded.matrix, truth))
    one, other = there
    assert np.median(np.hypot(*(one - other).T)) <= 1.0
    assert loaded.fit is not None
    assert loaded.fit == found.registration.fit
    assert loaded.fit.shots == len(loaded.fit.per_shot) >= 3
    assert loaded.fit.points == loaded.fit.shots * columns * rows
    assert 0 < loaded.fit.residual.median_px <= 1.0


def test_the_same_shots_give_the_same_file(tmp_path: Path) -> None:
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, NINE_BY_SIX, rgb_camera(), thermal_camera(), 3)
    texts = []
    for name in ("a.json", "b.json"):
        register("checkerboard", tmp_path / name, rgb=rgb_dir, thermal=thermal_dir, pattern="9x6")
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["schema"] == 2


def test_a_camera_upside_down_is_found_out_over_several_shots(tmp_path: Path) -> None:
    rgb, thermal = rgb_camera(), thermal_camera(upside_down=True)
    rgb_dir, thermal_dir, chosen = write_shots(tmp_path, NINE_BY_SIX, rgb, thermal, 4)
    out = tmp_path / "r.json"
    register("checkerboard", out, rgb=rgb_dir, thermal=thermal_dir, pattern="9x6", lenses=False)
    assert off_px(Registration.load(out), thermal, rgb, NINE_BY_SIX, chosen) <= 1.0


@pytest.mark.slow
def test_lenses_are_fitted_where_the_shots_suffice(tmp_path: Path) -> None:
    rgb, thermal = rgb_camera(), thermal_camera(BARREL)
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, NINE_BY_SIX, rgb, thermal, 18, 3, 1.6)
    common = {"rgb": rgb_dir, "thermal": thermal_dir, "pattern": "9x6"}
    unseen = poses(NINE_BY_SIX, 9, np.random.default_rng(99))
    errors = {}
    for lenses in (False, True):
        found = register("checkerboard", tmp_path / "r.json", lenses=lenses, **common)
        loaded = Registration.load(tmp_path / "r.json")
        errors[lenses] = off_px(loaded, thermal, rgb, NINE_BY_SIX, unseen)
        assert (loaded.moving_lens is not None) == lenses
        assert found.registration.fit is not None
        assert ("fitted lenses are used" in str(found.registration.fit.reason)) == lenses
    assert errors[True] <= 0.5
    assert errors[False] >= 3 * errors[True]
    assert loaded.moving_lens is not None
    assert loaded.moving_lens.k1 == pytest.approx(BARREL[0], abs=0.06)
    assert loaded.moving_lens.fx == pytest.approx(280, rel=0.03)


def test_given_lenses_are_used(tmp_path: Path) -> None:
    rgb, thermal = rgb_camera(), thermal_camera(BARREL)
    rgb_dir, thermal_dir, chosen = write_shots(tmp_path, NINE_BY_SIX, rgb, thermal, 4)
    lens = {"fx": 280, "fy": 281, "cx": 157, "cy": 130}
    lens.update(zip(("k1", "k2", "p1", "p2", "k3"), BARREL, strict=True))
    (tmp_path / "lens.json").write_text(json.dumps(lens))
    out = tmp_path / "r.json"
    register(
        "checkerboard",
        out,
        rgb=rgb_dir,
        thermal=thermal_dir,
        pattern="9x6",
        thermal_lens=tmp_path / "lens.json",
    )
    loaded = Registration.load(out)
    assert loaded.moving_lens is not None
    assert off_px(loaded, thermal, rgb, NINE_BY_SIX, chosen) <= 0.5


def test_shots_without_the_board_are_named(tmp_path: Path) -> None:
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, NINE_BY_SIX, rgb_camera(), thermal_camera(), 2)
    cv2.imwrite(str(thermal_dir / "01.png"), np.full((256, 320), 29000, np.uint16))
    found = register(
        "checkerboard", tmp_path / "r.json", rgb=rgb_dir, thermal=thermal_dir, pattern="9x6"
    )
    assert found.notes[0] == "shot left out: '01': no board in the thermal image"
    assert any("one shot" in note for note in found.notes)
    with pytest.raises(InputError, match=r"8x5 points is in both .* is --pattern right"):
        register(
            "checkerboard", tmp_path / "r.json", rgb=rgb_dir, thermal=thermal_dir, pattern="8x5"
        )


def test_shots_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, NINE_BY_SIX, rgb_camera(), thermal_camera(), 4)
    images = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted(thermal_dir.iterdir())]
    for path, image in zip(sorted(thermal_dir.iterdir()), images[1:] + images[:1], strict=True):
        cv2.imwrite(str(path), image)
    out = tmp_path / "r.json"
    with pytest.raises(CheckFailedError, match="do not agree on one registration"):
        register("checkerboard", out, rgb=rgb_dir, thermal=thermal_dir, pattern="9x6")
    assert not out.exists()


def test_one_bad_shot_among_many_is_named_and_does_no_harm(tmp_path: Path) -> None:
    rgb, thermal = rgb_camera(), thermal_camera()
    rgb_dir, thermal_dir, chosen = write_shots(tmp_path, NINE_BY_SIX, rgb, thermal, 5)
    rng = np.random.default_rng(5)
    rotation, place = chosen[4]
    moved = shoot(
        NINE_BY_SIX, thermal, (rotation, place + np.array([1.5, 0, 0])), hot=True, rng=rng
    )
    cv2.imwrite(str(thermal_dir / "04.png"), moved)
    out = tmp_path / "r.json"
    found = register(
        "checkerboard", out, rgb=rgb_dir, thermal=thermal_dir, pattern="9x6", lenses=False
    )
    assert [n for n in found.notes if n.startswith("shot '04' fits badly")]
    assert off_px(Registration.load(out), thermal, rgb, NINE_BY_SIX, chosen[:4]) <= 1.0


def test_a_small_thermal_image_is_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    camera = thermal_camera()
    pose = poses(NINE_BY_SIX, 5, rng)[4]
    image = cv2.resize(
        shoot(NINE_BY_SIX, camera, pose, hot=True, rng=rng),
        (160, 128),
        interpolation=cv2.INTER_AREA,
    )
    points = find_board(image, NINE_BY_SIX)
    assert points is not None
    expected = (camera.project(NINE_BY_SIX.plane().astype(float), *pose) + 0.5) / 2 - 0.5
    orders = [points[order] for order in NINE_BY_SIX.orders()]
    assert min(np.median(np.hypot(*(o - expected).T)) for o in orders) <= 0.5


@pytest.mark.parametrize("text", ["9", "9x", "x6", "2x6", "9x6x3", "axb", "-9x6", "100x6"])
def test_a_wrong_pattern_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--pattern: expected COLUMNSxROWS"):
        parse_pattern(text)
    assert parse_pattern("9x6") == (9, 6)


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    rgb_dir, thermal_dir, _ = write_shots(tmp_path, NINE_BY_SIX, rgb_camera(), thermal_camera(), 2)
    cv2.imwrite(str(thermal_dir / "01.png"), np.full((128, 160), 29000, np.uint16))
    with pytest.raises(InputError, match="--thermal: '01' is 160x128, but '00' is 320x256"):
        read_shots(rgb_dir, thermal_dir)
    assert sight(read_shots(rgb_dir / "00.png", thermal_dir / "00.png"), NINE_BY_SIX).pairs
    assert (RGB_WH, THERMAL_WH) == ((640, 480), (320, 256))
