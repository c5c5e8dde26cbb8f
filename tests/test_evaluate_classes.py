"""Evaluation of a network with more than two classes: figures, pictures and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from classes_network import CLASSES, SIZE_HW, classes_module, registered

from differseg.checkpoints import save_checkpoint
from differseg.class_metrics import ClassMetrics
from differseg.errors import InputError
from differseg.evaluate import EvaluateOptions, evaluate, main
from differseg.export import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.manifest import ThermalPolicy, WeightsRecord
from differseg.options import run_main
from differseg.runtime.preprocess import resize
from differseg.runtime.thermal import ThermalMapper

__all__ = ["registered"]
pytestmark = pytest.mark.usefixtures("one_thread", "registered")
STEMS = [f"{number:05d}D" for number in range(0, 80, 20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 4 pairs of 80x120 pixels; labels hold ids 0, 1, 2 and ignored pixels."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    for number, stem in enumerate(STEMS):
        label = np.zeros((80, 120), np.uint8)
        label[10 + number : 40, 20:70] = 1
        label[60:] = 2
        label[:4] = 255
        rgb = cv2.GaussianBlur(random.integers(0, 255, (80, 120, 3)).astype(np.float32), (0, 0), 5)
        rgb = ((rgb - rgb.min()) / np.ptp(rgb) * 255).astype(np.uint8)
        thermal = random.integers(29000, 31000, (80, 120)).astype(np.uint16)
        for name, image in (("rgb", rgb), ("thermal", thermal), ("labels", label)):
            cv2.imwrite(str(root / name / f"{stem}.png"), image)
    return root


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "classes.safetensors"
    save_checkpoint(path, classes_module().model)
    return path


def options(checkpoint: Path, folder: Path, **changes: object) -> EvaluateOptions:
    return EvaluateOptions(file=checkpoint, data=str(folder), device="cpu", **changes)  # type: ignore


def by_hand(folder: Path) -> dict[str, object]:
    """Score the folder without the code under test: file to network to figures."""
    module, metrics = classes_module(), ClassMetrics([spec.name for spec in CLASSES])
    for stem in STEMS:
        rgb = cv2.imread(str(folder / "rgb" / f"{stem}.png"))[:, :, ::-1]
        thermal = cv2.imread(str(folder / "thermal" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        label = cv2.imread(str(folder / "labels" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        x = torch.from_numpy(resize(np.ascontiguousarray(rgb), SIZE_HW))[None]
        t = torch.from_numpy(resize(ThermalMapper(ThermalPolicy()).map(thermal), SIZE_HW))
        maps = module(x, t[None, None])[0].numpy()
        full = [cv2.resize(plane, (120, 80), interpolation=cv2.INTER_LINEAR) for plane in maps]
        metrics.update(np.argmax(full, axis=0).astype(np.uint8), label)
    return metrics.compute()


def test_figures_are_those_of_the_deployed_network(checkpoint: Path, folder: Path) -> None:
    evaluation = evaluate(options(checkpoint, folder))
    wanted = by_hand(folder)
    assert evaluation.summary["metrics"] == wanted
    assert 0 < wanted["mean_iou"] < 1  # type: ignore[operator]
    assert evaluation.summary["label_rule"] == "auto: ids"
    assert evaluation.summary["threshold"] is None
    assert [stem for stem, _ in evaluation.images] == STEMS


def test_a_rule_of_pairs_is_honoured(checkpoint: Path, folder: Path) -> None:
    rule = "0=1,1=0,2=2,255=255"
    swapped = evaluate(options(checkpoint, folder, label_rule=rule)).summary
    assert swapped["metrics"]["class_iou"]["car"] != by_hand(folder)["class_iou"]["car"]  # type: ignore
    assert swapped["label_rule"] == rule


def test_labels_that_hold_nothing_are_refused(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(folder, root)
    for stem in STEMS:
        cv2.imwrite(str(root / "labels" / f"{stem}.png"), np.full((80, 120), 255, np.uint8))
    said = r"data: all label pixels of 4 samples are ignored by rule 'ids' \(first: 00000D\)"
    with pytest.raises(InputError, match=said) as caught:
        evaluate(options(checkpoint, root, label_rule="ids"))
    assert "\n" not in str(caught.value)


def test_command_writes_json_table_and_pictures(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(checkpoint), "--data", str(folder), "--worst", "2", "--out", str(tmp_path / "out")]
    assert main([*argv, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert set(document["metrics"]) == {
        "mean_iou", "pixel_accuracy", "mean_accuracy", "class_iou", "images"
    }  # fmt: skip
    table = "\n".join(lines[:-1])
    assert "pixel_accuracy" in table
    assert "iou of person" in table
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == document
    with (tmp_path / "out" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stem"] for row in rows] == STEMS
    assert set(rows[0]) == {"stem", "mean_iou", "pixel_accuracy"}
    worst = evaluate(options(checkpoint, folder, worst=2)).worst
    lowest = sorted(rows, key=lambda row: float(row["mean_iou"]))[:2]
    assert [row.caption.split()[0] for row in worst] == [row["stem"] for row in lowest]
    assert cv2.imread(str(tmp_path / "out" / "worst.jpg")) is not None


def test_an_onnx_file_scores_like_its_checkpoint(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    module, file = classes_module(), tmp_path / "classes.onnx"
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    example = module.raw_inputs_example(SIZE_HW)
    export_onnx(module, example, file, manifest=manifest, strip="model.", verify=False)
    onnx_side = evaluate(options(file, folder)).summary["metrics"]
    torch_side = evaluate(options(checkpoint, folder)).summary["metrics"]
    assert onnx_side["mean_iou"] == pytest.approx(torch_side["mean_iou"], abs=1e-4)
    assert onnx_side["class_iou"].keys() == torch_side["class_iou"].keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--threshold", "0.4"], "--threshold 0.4: classes-net has 4 classes and takes the most"),
        (["--tolerance-px", "3"], "--tolerance-px 3.0: classes-net has 4 classes"),
        (["--label-rule", "nonzero"], "label rule 'nonzero': the network has 4 classes; expected"),
        (["--data", "synthetic"], "--data synthetic: the scenes know object and background alone"),
    ],
)
def test_what_is_meant_for_two_classes_is_refused_in_one_line(
    checkpoint: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    argv = [str(checkpoint), "--data", str(folder), *more]
    assert run_main(main, argv) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]
