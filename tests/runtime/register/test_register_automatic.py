from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.synthetic import SyntheticScene
from differseg.errors import CheckFailedError, InputError
from differseg.runtime.register.automatic import SURE, register_scenes
from differseg.runtime.register.command import register
from differseg.runtime.register.structure import empty_border
from differseg.runtime.registration import Registration


def scene(seed: int, count: int = 2, **options: object) -> tuple[list, list, np.ndarray]:
    world = SyntheticScene(seed, thermal_offset_s=0.0, **options)  # type: ignore[arg-type]
    times_s = [1.5 * i for i in range(count)]
    rgb = [np.ascontiguousarray(world.rgb(t)[..., ::-1]) for t in times_s]
    return rgb, [world.thermal(t) for t in times_s], world.thermal_to_rgb


def off_px(matrix: np.ndarray, truth: np.ndarray, fixed_wh: tuple[int, int]) -> np.ndarray:
    """Distances over the RGB view between a registration and the true one."""
    x, y = np.meshgrid(*(np.linspace(0, side - 1, 9) for side in fixed_wh))
    grid = np.stack([x, y], -1).reshape(1, -1, 2)
    there = cv2.perspectiveTransform(cv2.perspectiveTransform(grid, np.linalg.inv(truth)), matrix)
    return np.hypot(*(there - grid)[0].T)


@pytest.mark.parametrize(
    "seed",
    [2, 3, pytest.param(14, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)],
)
def test_scenes_give_the_homography(seed: int) -> None:
    rgb, thermal, truth = scene(seed)
    fit = register_scenes(rgb, thermal)
    assert np.median(off_px(fit.matrix, truth, (640, 480))) <= 2.0
    assert fit.confidence >= 0.8


def test_a_turned_and_shifted_camera_is_found() -> None:
    rgb, thermal, truth = scene(4)
    # The same thermal camera with another lens and mount: 20 % wider, turned by 4 degrees.
    turn = cv2.getRotationMatrix2D((160.0, 128.0), 4.0, 0.83)
    moved = [
        cv2.warpAffine(image, turn, (320, 256), borderMode=cv2.BORDER_REFLECT) for image in thermal
    ]
    expected = truth @ np.linalg.inv(np.vstack([turn, [0, 0, 1]]))
    fit = register_scenes(rgb, moved)
    assert np.median(off_px(fit.matrix, expected, (640, 480))) <= 2.0
    assert fit.confidence >= SURE


def test_from_a_start_nothing_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, thermal, truth = scene(2, 1)
    monkeypatch.setattr("differseg.runtime.register.automatic.search", None)
    start = np.array([[1, 0, 15.0], [0, 1, -10.0], [0, 0, 1]]) @ truth
    fit = register_scenes(rgb, thermal, start)
    assert np.median(off_px(fit.matrix, truth, (640, 480))) <= 2.0


@pytest.mark.parametrize("seed", [2, 3])
def test_pictures_of_different_places_are_not_believed(seed: int) -> None:
    rgb, _, _ = scene(seed, 1)
    _, thermal, _ = scene(seed + 100, 1)
    assert register_scenes(rgb, thermal).confidence < SURE


def test_pictures_of_nothing_are_not_believed() -> None:
    rng = np.random.default_rng(0)
    rgb = [rng.normal(120, 3, (240, 320, 3)).clip(0, 255).astype(np.uint8)]
    thermal = [rng.normal(29500, 10, (120, 160)).astype(np.uint16)]
    assert register_scenes(rgb, thermal).confidence < SURE
    flat = register_scenes([np.zeros((240, 320, 3), np.uint8)], [np.zeros((120, 160), np.uint16)])
    assert flat.confidence == 0
    assert flat.doubts(320)


def write(folder: Path, rgb: list, thermal: list) -> tuple[Path, Path]:
    for name, images in (("rgb", rgb), ("thermal", thermal)):
        (folder / name).mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder / "rgb", folder / "thermal"


def test_the_command_refuses_what_is_not_sure_and_says_what_to_do(tmp_path: Path) -> None:
    rgb, _, _ = scene(2, 1)
    _, thermal, _ = scene(102, 1)
    rgb_dir, thermal_dir = write(tmp_path, rgb, thermal)
    out, picture = tmp_path / "r.json", tmp_path / "p.png"
    with pytest.raises(
        CheckFailedError, match=r"do not give a sure one .* register pick"
    ) as caught:
        register("automatic", out, rgb=rgb_dir, thermal=thermal_dir, picture=picture)
    assert str(picture) in str(caught.value)
    assert picture.exists()
    assert not out.exists()


def test_the_command_writes_the_file_and_the_picture(tmp_path: Path) -> None:
    rgb, thermal, truth = scene(2)
    rgb_dir, thermal_dir = write(tmp_path, rgb, thermal)
    out, picture = tmp_path / "r.json", tmp_path / "p.png"
    found = register("automatic", out, rgb=rgb_dir, thermal=thermal_dir, picture=picture)
    loaded = Registration.load(out)
    assert np.median(off_px(loaded.matrix, truth, (640, 480))) <= 2.0
    assert loaded.fit is not None
    assert (loaded.fit.method, loaded.fit.shots) == ("automatic", 2)
    assert loaded.fit.confidence == pytest.approx(1.0, abs=0.2)
    assert any("only 2 pair(s)" in note for note in found.notes)
    assert cv2.imread(str(picture)).shape == (960, 1280, 3)
    before, after = np.hsplit(cv2.imread(str(picture)), 2)
    assert np.abs(before.astype(int) - after).mean() > 3


def test_tiny_images_are_refused_and_small_ones_are_taken() -> None:
    with pytest.raises(InputError, match="thermal images of 40x30 are too small"):
        register_scenes([np.zeros((96, 96, 3), np.uint8)], [np.zeros((30, 40), np.uint8)])
    rng = np.random.default_rng(0)
    small = register_scenes(
        [rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)],
        [rng.integers(0, 255, (48, 64)).astype(np.uint8)],
    )
    assert small.confidence < SURE


def test_letterboxes_are_no_structure() -> None:
    image = np.full((40, 60), 90, np.uint8)
    image[:, :8] = 0
    image[20, 30] = 0  # a dead pixel inside is not border
    border = empty_border([image])
    assert border[:, :8].all()
    assert not border[:, 8:].any()


def known_warp(folder: Path, stem: str) -> tuple[np.ndarray, np.ndarray]:
    """Points of a warped thermal image, and where the unwarped one has them.

    From the published grid where there is one; else by dense flow between the two thermal images,
    which agrees with the grids to 0.06 px.
    """
    grid = folder / "warp_grid" / f"{stem}.npz"
    rows, columns = np.mgrid[24:456:16, 24:616:16]
    at = np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float64)
    if grid.exists():
        shift = np.load(grid)["disp"][rows, columns].reshape(-1, 2)
        return at, at + shift
    plain, warped = (
        cv2.imread(str(folder / name / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
        for name in ("thermal", "thermal_warped")
    )
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)
    shift = flow.calc(warped, plain, None)
    detail = np.abs(cv2.Laplacian(cv2.GaussianBlur(warped, (0, 0), 1.0), cv2.CV_32F))
    sharp = (cv2.blur(detail, (15, 15)) > 0.7) & (cv2.erode(warped, np.ones((31, 31))) > 0)
    rows, columns = (axis[::37] for axis in np.nonzero(sharp))
    found = np.stack([columns, rows], -1).astype(np.float64)
    matrix, _ = cv2.findHomography(found, found + shift[rows, columns], cv2.RANSAC, 4.0)
    return at, cv2.perspectiveTransform(at[None], matrix)[0]


@pytest.mark.slow
def test_misaligned_pairs_come_within_a_third(sample_data: Path) -> None:
    """Each pair has a warp of its own, so each is registered alone."""
    folder = sample_data / "msrs"
    before, after = [], []
    for path in sorted((folder / "thermal_warped").iterdir()):
        rgb = cv2.imread(str(folder / "rgb" / path.name))
        warped = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        fit = register_scenes([rgb], [warped])
        assert fit.confidence >= SURE, path.name
        at, truth = known_warp(folder, path.stem)
        mapped = cv2.perspectiveTransform(at[None], fit.matrix)[0]
        before.append(np.hypot(*(at - truth).T).mean())
        after.append(np.hypot(*(mapped - truth).T).mean())
    assert len(before) == 8
    assert np.mean(before) > 10
    assert np.mean(after) <= np.mean(before) / 3
