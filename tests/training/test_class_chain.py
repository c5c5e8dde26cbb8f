"""The whole way of a network of several classes by its commands: from labels to two cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from classes_network import CLASSES, registered

from differseg.cli import main
from differseg.data.sequences import split_by_sequence
from differseg.runtime.segmenter import Segmenter

__all__ = ["registered"]
pytestmark = pytest.mark.usefixtures("one_thread", "registered")
NAMES = ("nothing", "floor", "door", "rope")
COLORS = np.array([(90, 90, 90), (40, 40, 230), (40, 230, 40), (230, 40, 40)], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return eight pairs of two halves and a block: class ids in the labels, 255 ignored."""
    root = tmp_path / "data"
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number in (0, 1, 2, 3, 100, 101, 102, 103):
        label = np.zeros((64, 96), np.uint8)
        label[:, 48:] = 1
        label[:32, 8 * (number % 4) : 8 * (number % 4) + 32] = 2 + number % 2
        thermal = (29000 + 400 * label.astype(np.uint16)).astype(np.uint16)
        rgb = COLORS[label]
        label[:2] = 255
        for name, image in (("rgb", rgb), ("thermal", thermal), ("labels", label)):
            cv2.imwrite(str(root / name / f"{number:05d}.png"), image)
    return root


def best_of_one_class(folder: Path, stems: Sequence[str]) -> float:
    """Return the mean IoU of the best mask that holds one class alone."""
    labels = [cv2.imread(str(folder / "labels" / f"{stem}.png"), -1) for stem in stems]
    known = np.concatenate([label[label != 255] for label in labels])
    counts = np.bincount(known)
    return float(counts.max() / known.size / np.count_nonzero(counts))


def run(capsys: pytest.CaptureFixture[str], words: Sequence[object]) -> Any:
    """Run one command that must succeed; returns its JSON document."""
    capsys.readouterr()
    status = main([*map(str, words), "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return json.loads(printed.out.splitlines()[-1])


@pytest.mark.parametrize(
    ("model", "own", "epochs"),
    [("classes-net", False, 6), pytest.param("rgbt-fusion-edge", True, 60, marks=pytest.mark.slow)],
)
def test_train_evaluate_export_parity_and_cameras(
    model: str,
    own: bool,
    epochs: int,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = NAMES if own else tuple(known.name for known in CLASSES)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    choice = ["--classes", tmp_path / "classes.txt"] if own else []
    weights, onnx = tmp_path / "run" / "best.safetensors", tmp_path / "model.onnx"
    trained = run(capsys, [
        "train", "--model", model, *choice,
        "--data", folder, "--holdout", "0.5", "--size", "64x96", "--epochs", epochs, "--batch", "4",
        "--class-weights", "labels", "--ema", "0.3", "--workers", "0", "--device", "cpu",
        "--largest-crop", "1", "--out", weights.parent,
    ])  # fmt: skip
    assert set(trained["best"]["class_iou"]) == set(names)
    held_out = split_by_sequence(sorted(path.stem for path in (folder / "rgb").iterdir()), 0.5)
    assert trained["best"]["mean_iou"] > best_of_one_class(folder, held_out.held_out)

    judge = ["evaluate", "--data", folder, "--holdout", "0.5", "--size", "64x96", "--device", "cpu"]
    judged = run(capsys, [*judge, weights])["metrics"]["mean_iou"]
    assert judged == pytest.approx(trained["best"]["mean_iou"], abs=1e-6)

    exported = run(capsys, [
        "export", "--checkpoint", weights, "--size", "64x96", "--data", folder, "--limit", "2",
        "--no-real", "-o", onnx,
    ])  # fmt: skip
    assert exported["manifest"]["parity"]["flipped_pixels"] == 0
    assert run(capsys, ["parity", weights, onnx, "--data", folder, "--limit", "2"])["passed"]
    assert run(capsys, ["evaluate", "--data", folder, "--holdout", "0.5", onnx])["metrics"][
        "mean_iou"
    ] == pytest.approx(judged, abs=1e-6)

    ran = run(capsys, [
        "run", "--model", onnx, "--rgb", folder / "rgb", "--thermal", folder / "thermal",
        "--frames", "3", "--headless", "--masks", tmp_path / "masks",
    ])  # fmt: skip
    assert ran["statuses"] == {"ok": 3}
    manifest = Segmenter(onnx).manifest
    assert tuple(known.name for known in manifest.classes) == names
    masks = sorted((tmp_path / "masks").glob("**/*.png"))
    assert len(masks) == 3
    for mask in masks:
        found = set(np.unique(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)).tolist())
        assert found <= set(range(4))
        assert len(found) >= 2
