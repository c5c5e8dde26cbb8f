"""Runs over files with a model of three classes: masks, overlays, areas and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import CLASSES, tiny_class_probability

from differseg.options import run_main
from differseg.runtime import run_camera, run_images

IDS = np.array([spec.id for spec in CLASSES], np.uint8)
STEMS = ("one", "three", "two")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
    for stem in STEMS:
        rgb = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        thermal = rng.integers(28800, 31200, (16, 24)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "rgb" / f"{stem}.png"), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / "thermal" / f"{stem}.png"), thermal)
    return tmp_path


def winners(folders: Path, stem: str) -> np.ndarray:
    rgb = cv2.imread(str(folders / "rgb" / f"{stem}.png"))[..., ::-1]
    thermal = cv2.imread(str(folders / "thermal" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
    return np.asarray(tiny_class_probability(rgb, thermal).argmax(axis=0))


def images_command(folders: Path, model: Path, *more: str) -> list[str]:
    return [
        f"--model={model}", f"--rgb={folders / 'rgb'}", f"--thermal={folders / 'thermal'}",
        f"--out={folders / 'out'}", "--threads=1", *more,
    ]  # fmt: skip


def test_images_give_class_ids_and_every_class_its_part(
    folders: Path, classes_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = images_command(folders, classes_model, "--json")
    assert run_main(run_images.main, command) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    parts = np.zeros(3)
    for stem in STEMS:
        mask = cv2.imread(str(folders / f"out/masks/{stem}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, IDS[winners(folders, stem)])
        parts += np.bincount(winners(folders, stem).ravel(), minlength=3) / mask.size / 3
    assert list(document["class_coverage"]) == ["nothing", "person", "car"]
    assert list(document["class_coverage"].values()) == pytest.approx(parts, abs=2e-6)
    assert document["mean_coverage"] == pytest.approx(1 - parts[0], abs=2e-6)
    assert run_main(run_images.main, images_command(folders, classes_model)) == 0
    out = capsys.readouterr().out
    assert f"classes   person {parts[1]:.1%}, car {parts[2]:.1%}, nothing {parts[0]:.1%}" in out


def test_viewable_masks_are_in_the_classes_colours(folders: Path, classes_model: Path) -> None:
    command = images_command(folders, classes_model, "--viewable", "--no-overlays")
    assert run_main(run_images.main, command) == 0
    picture = cv2.imread(str(folders / "out/masks/one.png"), cv2.IMREAD_UNCHANGED)
    colors = np.array([spec.color_rgb for spec in CLASSES], np.uint8)
    assert np.array_equal(picture[..., ::-1], colors[winners(folders, "one")])


def test_a_threshold_is_refused_in_one_line(
    folders: Path, classes_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = images_command(folders, classes_model, "--threshold", "0.4")
    assert run_main(run_images.main, command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error[E_INPUT]: threshold: tiny has 3 classes")
    assert error.count("\n") == 1
    assert not (folders / "out").exists()


def test_a_camera_run_writes_the_area_of_each_class(folders: Path, classes_model: Path) -> None:
    summary = run_camera.run_camera(
        classes_model, str(folders / "rgb"), str(folders / "thermal"), out=folders / "out",
        headless=True, threads=1,
    )  # fmt: skip
    assert summary.frames == 3
    lines = [json.loads(line) for line in (folders / "out/results.jsonl").read_text().splitlines()]
    for line in lines:
        mask = cv2.imread(str(folders / "out/masks" / line["mask"]), cv2.IMREAD_UNCHANGED)
        found = winners(folders, line["name"])
        assert np.array_equal(mask, IDS[found])
        assert line["area_fraction"] == {
            "person": pytest.approx(float((found == 1).mean()), abs=2e-6),
            "car": pytest.approx(float((found == 2).mean()), abs=2e-6),
        }
