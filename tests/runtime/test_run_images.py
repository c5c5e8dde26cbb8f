from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_manifest, tiny_onnx, tiny_probability, write_model

from differseg.errors import InputError
from differseg.options import run_main
from differseg.runtime.registration import Registration
from differseg.runtime.run_images import main, run_images

SCRIPT = Path(__file__).parents[2] / "runtime" / "run_images.py"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """rgb/ and thermal/ with three samples of the tiny model's size."""
    rng = np.random.default_rng(0)
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
    for stem in ("one", "three", "two"):
        rgb = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        thermal = rng.integers(28800, 31200, (16, 24)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "rgb" / f"{stem}.png"), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / "thermal" / f"{stem}.png"), thermal)
    return tmp_path


def expected_mask(folders: Path, stem: str) -> np.ndarray:
    rgb = cv2.imread(str(folders / "rgb" / f"{stem}.png"))[..., ::-1]
    thermal = cv2.imread(str(folders / "thermal" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
    return (tiny_probability(rgb, thermal) >= 0.5).astype(np.uint8)


def command(folders: Path, model: Path, *more: str) -> list[str]:
    return [
        f"--model={model}", f"--rgb={folders / 'rgb'}", f"--thermal={folders / 'thermal'}",
        f"--out={folders / 'out'}", "--threads=1", *more,
    ]  # fmt: skip


def test_masks_overlays_and_summary(folders: Path, tiny_model: Path) -> None:
    summary = run_images(
        tiny_model, folders / "rgb", folders / "out", thermal=folders / "thermal", threads=1
    )
    coverage = []
    for stem in ("one", "two", "three"):
        mask = cv2.imread(str(folders / f"out/masks/{stem}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, expected_mask(folders, stem))
        coverage.append(mask.mean())
        overlay = cv2.imread(str(folders / f"out/overlays/{stem}.png"))
        assert overlay.shape == (16, 24, 3)
    assert summary.images == 3
    assert summary.mean_coverage == pytest.approx(np.mean(coverage), abs=1e-5)
    assert list(summary.stages) == ["read", "prepare", "infer", "post", "write"]
    assert all(0 < stage.p50_ms <= stage.p95_ms for stage in summary.stages.values())
    assert summary.warnings == ()
    assert re.match(r"(openvino|onnxruntime) CPU: chosen because ", summary.backend)


def test_viewable_masks_without_overlays(folders: Path, tiny_model: Path) -> None:
    summary = run_images(
        tiny_model, folders / "rgb/one.png", folders / "out",
        thermal=folders / "thermal/one.png", threads=1, viewable=True, overlays=False,
    )  # fmt: skip
    mask = cv2.imread(str(folders / "out/masks/one.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, expected_mask(folders, "one") * 255)
    assert summary.overlays is None
    assert not (folders / "out/overlays").exists()


def test_a_registration_moves_the_thermal_image(folders: Path, tiny_model: Path) -> None:
    shift = Registration([[1, 0, 5], [0, 1, 2], [0, 0, 1]], (24, 16), (24, 16))
    shift.save(folders / "shift.json")
    assert main(command(folders, tiny_model, f"--registration={folders / 'shift.json'}")) == 0
    rgb = cv2.imread(str(folders / "rgb/two.png"))[..., ::-1]
    thermal = cv2.imread(str(folders / "thermal/two.png"), cv2.IMREAD_UNCHANGED)
    moved = np.pad(thermal, ((2, 0), (5, 0)), mode="edge")[:16, :24]
    mask = cv2.imread(str(folders / "out/masks/two.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, tiny_probability(rgb, moved) >= 0.5)


def test_json_is_the_last_line_of_the_script(folders: Path, tiny_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *command(folders, tiny_model, "--json")],
        capture_output=True, text=True, timeout=120, check=True, cwd=SCRIPT.parents[1],
    )  # fmt: skip
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["images"] == 3
    assert Path(document["masks"]) == folders / "out/masks"
    assert done.stderr == ""


def test_the_table_names_stages_and_folders(
    folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folders, tiny_model)) == 0
    text = capsys.readouterr().out
    for word in ("p50 ms", "infer", "3 images", str(folders / "out/masks")):
        assert word in text


def test_a_lone_script_says_that_the_package_is_missing(folders: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), "--help"],
        capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=folders,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("error[E_MISSING]: the package 'differseg")
    assert len(done.stderr.splitlines()) == 1


def one_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> tuple[int, str]:
    status = run_main(main, argv)
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert captured.out == ""
    return status, lines[0]


def test_mistakes_are_one_line_each(
    folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = command(folders, tiny_model)
    absent = str(folders / "absent")
    for argv, said in (
        ([*good, f"--model={absent}.onnx"], "error[E_MODEL]: model"),
        ([*good, f"--thermal={absent}"], "error[E_INPUT]: --thermal"),
        ([*good, f"--depth={folders / 'rgb'}"], "leave out --depth"),
        ([*good, f"--registration={absent}.json"], "cannot be read"),
        ([*good, "--thresold=0.4"], "did you mean --threshold?"),
        ([*good, "--threshold=4"], "between 0 and 1"),
        ([arg for arg in good if not arg.startswith("--thermal")], "add --thermal DIR"),
        ([*good, f"--rgb={folders / 'thermal'}"], "are two folders swapped?"),
        ([*good, f"--out={folders / 'rgb/one.png'}"], "--out: cannot make"),
    ):
        status, line = one_line(capsys, argv)
        assert status == 2
        assert said in line
    (folders / "thermal/two.png").unlink()
    status, line = one_line(capsys, good)
    assert status == 2
    assert "1 of 3 stems have no file here (first: two)" in line


@pytest.mark.parametrize(
    "arguments",
    ["--rgb=D/masks --thermal=thermal", "--rgb=rgb --thermal=D/overlays",
     "--rgb=D/masks/one.png --thermal=thermal/one.png"],
)  # fmt: skip
def test_results_are_never_written_over_the_inputs(
    folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, arguments: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folders)
    shutil.copytree("rgb", "D/masks")
    shutil.copytree("thermal", "D/overlays")
    before = {path: path.read_bytes() for path in folders.rglob("*.png")}
    argv = [f"--model={tiny_model}", "--out=D", *arguments.split()]
    status, line = one_line(capsys, argv)
    assert status == 2
    assert "--out would write D/" in line
    assert {path: path.read_bytes() for path in folders.rglob("*.png")} == before
    if "overlays" in arguments:
        assert run_main(main, [*argv, "--no-overlays"]) == 0


def test_a_full_disk_is_an_error(folders: Path, tiny_model: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(InputError, match=r"masks/one\.png: cannot be written"):
            run_images(tiny_model, folders / "rgb", folders / "out", thermal=folders / "thermal")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_registration_that_covers_little_gets_a_word(
    folders: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(shift_x: float) -> tuple[str, ...]:
        matrix = [[1, 0, shift_x], [0, 1, 0], [0, 0, 1]]
        registration = Registration(matrix, (24, 16), (24, 16))
        return run_images(
            tiny_model, folders / "rgb", folders / "out", thermal=folders / "thermal",
            registration=registration,
        ).warnings  # fmt: skip

    assert run(6) == ()
    assert "only 25 % of the rgb view is covered by the thermal camera" in run(18)[0]
    assert "only 25 %" in caplog.text
    shutil.rmtree(folders / "out")
    with pytest.raises(InputError, match="nothing of the rgb view is covered"):
        run(30)
    assert not (folders / "out").exists()


def test_a_sample_that_cannot_be_used_is_named(folders: Path, tiny_model: Path) -> None:
    cv2.imwrite(str(folders / "thermal/one.tiff"), np.full((16, 24), np.nan, np.float32))
    (folders / "thermal/one.png").unlink()
    with pytest.raises(InputError, match=r"sample 'one': thermal: 384 of 384 values are NaN"):
        run_images(tiny_model, folders / "rgb", folders / "out", thermal=folders / "thermal")


def test_real_pairs(tmp_path: Path, sample_data: Path) -> None:
    size_hw = (480, 640)
    model = write_model(tmp_path / "vga.onnx", tiny_onnx(size_hw), tiny_manifest(size_hw))
    place = sample_data / "roadscene"
    summary = run_images(
        model, place / "rgb", tmp_path / "out", thermal=place / "thermal", overlays=False
    )
    assert summary.images == 20
    for path in sorted((tmp_path / "out/masks").iterdir())[:3]:
        stem = path.stem
        rgb = cv2.imread(str(next((place / "rgb").glob(f"{stem}.*"))))
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == rgb.shape[:2]
