"""Sessions and the grid: what lies on disk is what the scene says."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.data.folder import FolderDataset
from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_session import main, write_grid, write_session
from differseg.errors import InputError
from differseg.options import run_main
from differseg.runtime.registration import Registration

SMALL = ["--size", "96x128", "--seconds", "0.1", "--seed", "2"]


def test_raw_session(tmp_path: Path) -> None:
    assert main(["--session", str(tmp_path), *SMALL]) == 0
    scene = SyntheticScene(2, size_wh=(128, 96))
    assert sorted(path.name for path in (tmp_path / "rgb").iterdir()) == [
        "000000.png", "000001.png", "000002.png",
    ]  # fmt: skip
    thermal = cv2.imread(str(tmp_path / "thermal" / "000002.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(thermal, scene.thermal(2 / 30))
    rgb = cv2.imread(str(tmp_path / "rgb" / "000002.png"))[:, :, ::-1]
    np.testing.assert_array_equal(rgb, scene.rgb(2 / 30))
    label = cv2.imread(str(tmp_path / "labels" / "000001.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(label, scene.mask(1 / 30))
    registration = Registration.load(tmp_path / "registration.json")
    np.testing.assert_allclose(registration.matrix, scene.thermal_to_rgb)
    assert registration.moving_size_wh == (320, 256)
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["thermal_offset_s"] == scene.thermal_offset_s


def test_registered_session_is_a_training_folder(tmp_path: Path) -> None:
    write_session(tmp_path, seconds=0.1, seed=2, size_wh=(128, 96), registered=True)
    data = FolderDataset(tmp_path)
    assert len(data) == 3
    assert data[0]["thermal"].shape == (96, 128)
    registration = Registration.load(tmp_path / "registration.json")
    np.testing.assert_array_equal(registration.matrix, np.eye(3))


def test_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.jpg"
    write_grid(path, size_wh=(128, 96))
    picture = cv2.imread(str(path))
    assert picture.shape[1] > picture.shape[0] > 300


def test_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--time", "--size", "64x64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["construct", "rgb", "thermal", "sample"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "nothing to do"),
        (["--sesion", "x"], "did you mean --session"),
        (["--session", "OUT", "--seconds", "0"], "must be above 0"),
        (["--session", "OUT", "--light", "dusk"], "invalid choice"),
        (["--session", "OUT", "--size", "10x10"], "too small"),
    ],
)
def test_wrong_usage_is_one_line(
    argv: list[str], text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = [str(tmp_path / "s") if word == "OUT" else word for word in argv]
    assert run_main(main, argv) == 2
    message = capfd.readouterr().err
    assert text in message
    assert message.count("\n") == 1


def test_an_existing_session_is_kept(tmp_path: Path) -> None:
    write_session(tmp_path, seconds=0.03, size_wh=(128, 96))
    with pytest.raises(InputError, match="holds rgb/ already"):
        write_session(tmp_path, seconds=0.03, size_wh=(128, 96))


def test_grid_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_grid(tmp_path / "no" / "grid.png", size_wh=(128, 96))
