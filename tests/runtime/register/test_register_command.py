from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_boards import rgb_camera, thermal_camera, write_shots

from differseg.errors import InputError
from differseg.options import run_main
from differseg.runtime.register import main
from differseg.runtime.register.board import Board
from differseg.runtime.registration import Registration

BOARD = Board("checkerboard", 9, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shots")
    write_shots(made, BOARD, rgb_camera(), thermal_camera(), 3)
    return made


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    images = ["--rgb", str(folder / "rgb"), "--thermal", str(folder / "thermal")]
    return ["checkerboard", *images, "--pattern", "9x6", "-o", str(out), *more]


def test_the_last_line_is_one_document(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "r.json", tmp_path / "p.png"
    assert main(arguments(folder, out, "--json", "--picture", str(picture))) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["fit"]["method"] == "checkerboard"
    assert summary["fit"]["residual"]["median_px"] < 1
    assert summary["lenses"] is False
    assert "8 needed" in summary["fit"]["reason"]
    assert summary["coverage"] == pytest.approx(Registration.load(out).coverage, abs=1e-3)
    assert cv2.imread(str(picture)).shape == (1440, 1280, 3)


def test_what_a_user_reads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    assert main(arguments(folder, out)) == 0
    said = capsys.readouterr().out
    assert "checkerboard: homography from 162 points of 3 shots" in said
    assert "residuals: median 0." in said
    assert f"written: {out}" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("checkerboard -o r.json --rgb a --thermal b", "add --pattern"),
        ("automatic -o r.json --rgb a --thermal b --pattern 9x6", "takes no --pattern"),
        ("automatic -o r.json", "add --rgb DIR and --thermal DIR"),
        ("automatic -o r.json --rgb a", "give both --rgb and --thermal"),
        ("points -o r.json", "add --points"),
        ("automatic -o r.json --rgb a --thermal b --points p.csv", "takes no --points"),
        ("pick -o r.json --rgb a --thermal b --start s.json", "takes no --start"),
        ("pick -o r.json --rgb a --thermal b --port 99999", "--port: expected 0 to 65535"),
        ("points -o r.json --points p.csv --picture p.png", "add --rgb DIR"),
        ("automatic -o r.json --rgb a --thermal b", "there is no such file or folder"),
        ("guess -o r.json", "invalid choice"),
        ("automatic -o r.json --rgb a --thermal b --patern 9x6", "did you mean --pattern"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(
    given: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_main(main, given.split()) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_no_input_is_written_over(folder: Path, tmp_path: Path) -> None:
    lens = tmp_path / "lens.json"
    lens.write_text('{"fx": 600, "fy": 600, "cx": 320, "cy": 240}')
    with pytest.raises(InputError, match="--rgb-lens names the same"):
        main(arguments(folder, lens, "--rgb-lens", str(lens)))
    with pytest.raises(InputError, match="there is no folder"):
        main(arguments(folder, tmp_path / "absent" / "r.json"))
    with pytest.raises(InputError, match=r"ends in \.png"):
        main(arguments(folder, tmp_path / "r.json", "--picture", str(tmp_path / "p.gif")))
    assert json.loads(lens.read_text())["fx"] == 600


def test_a_wrong_lens_file_is_named(folder: Path, tmp_path: Path) -> None:
    lens = tmp_path / "lens.json"
    for text, said in (("{", "not valid JSON"), ('{"fx": 1}', "fy"), ("[]", "expected an object")):
        lens.write_text(text)
        with pytest.raises(InputError, match=said) as caught:
            main(arguments(folder, tmp_path / "r.json", "--thermal-lens", str(lens)))
        assert f"--thermal-lens {lens}" in str(caught.value)


def test_the_file_is_what_a_run_takes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    main(arguments(folder, out))
    registration = Registration.load(out)
    assert registration.coverage_note() is None
    thermal = cv2.imread(str(folder / "thermal" / "00.png"), cv2.IMREAD_UNCHANGED)
    warped = registration.warp(thermal, (640, 480))
    assert (warped.shape, warped.dtype) == ((480, 640), np.uint16)
