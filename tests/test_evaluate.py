"""Evaluation: the right figures from the right pixels, and one line for what cannot be judged."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from contract.install import fake_tensorrt
from contract_engines import engine_of

from differseg import create_model
from differseg.checkpoints import save_checkpoint
from differseg.data.sequences import split_by_sequence
from differseg.errors import DifferSegError
from differseg.evaluate import EvaluateOptions, evaluate, main
from differseg.manifest import ThermalPolicy
from differseg.metrics import SegmentationMetrics
from differseg.models.deployment import DeploymentModule
from differseg.options import run_main
from differseg.runtime.preprocess import resize
from differseg.runtime.thermal import ThermalMapper

SIZE_HW = (64, 96)
STEMS = [f"{number:05d}D" for number in range(0, 120, 20)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return seeded random weights."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(path, create_model("differseg-edge"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a labelled folder of 6 pairs of 80x120 pixels, of MFNet ids."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    for number, stem in enumerate(STEMS):
        label = np.zeros((80, 120), np.uint8)
        label[10 + number : 40, 20:70] = 1
        label[60:, :] = 8
        rgb = random.integers(0, 255, (80, 120, 3), np.uint8)
        thermal = random.integers(29000, 31000, (80, 120)).astype(np.uint16)
        for name, image in (("rgb", rgb), ("thermal", thermal), ("labels", label)):
            cv2.imwrite(str(root / name / f"{stem}.png"), image)
    return root


def options(checkpoint: Path, folder: Path, **changes: object) -> EvaluateOptions:
    base = EvaluateOptions(file=checkpoint, data=str(folder), size=SIZE_HW, device="cpu")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def by_hand(checkpoint: Path, folder: Path) -> dict[str, float]:
    """Score the folder without the code under test: file to network to metrics."""
    from differseg.checkpoints import load_checkpoint

    module, metrics = DeploymentModule(load_checkpoint(checkpoint)), SegmentationMetrics()  # type: ignore[arg-type]
    for stem in STEMS:
        rgb = cv2.imread(str(folder / "rgb" / f"{stem}.png"))[:, :, ::-1]
        thermal = cv2.imread(str(folder / "thermal" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        label = cv2.imread(str(folder / "labels" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        x = torch.from_numpy(resize(np.ascontiguousarray(rgb), SIZE_HW))[None]
        t = torch.from_numpy(resize(ThermalMapper(ThermalPolicy()).map(thermal), SIZE_HW))
        probability = module(x, t[None, None])[0, 0].numpy()
        full = cv2.resize(probability, (120, 80), interpolation=cv2.INTER_LINEAR)
        metrics.update(full, (label == 1).astype(np.uint8))
    return metrics.compute()


def test_figures_are_those_of_the_deployed_network(checkpoint: Path, folder: Path) -> None:
    evaluation = evaluate(options(checkpoint, folder))
    wanted = by_hand(checkpoint, folder)
    assert 0 < wanted["iou"] < 1
    figures = evaluation.summary["metrics"]
    assert figures == pytest.approx({name: wanted[name] for name in figures}, abs=1e-6)
    assert evaluation.summary["label_rule"] == "auto: mfnet"
    assert [stem for stem, _ in evaluation.images] == STEMS


def test_threshold_and_rule_are_honoured(checkpoint: Path, folder: Path) -> None:
    everything = evaluate(options(checkpoint, folder, threshold=1e-6)).summary["metrics"]
    assert everything["recall"] == 1
    assert everything["precision"] == pytest.approx(50 * sum(30 - n for n in range(6)) / 6 / 9600)
    other = evaluate(options(checkpoint, folder, threshold=1e-6, label_rule="8")).summary
    assert other["metrics"]["precision"] == pytest.approx(20 / 80)


def test_sizes_and_mirror_images_are_asked_for_and_said(checkpoint: Path, folder: Path) -> None:
    plain = evaluate(options(checkpoint, folder)).summary
    assert (plain["sizes"], plain["flip"], plain["split"]) == ([list(SIZE_HW)], False, None)
    both = evaluate(options(checkpoint, folder, scale=(1.0, 2.0), flip=True)).summary
    assert (both["sizes"], both["flip"]) == ([[64, 96], [128, 192]], True)
    assert both["metrics"]["mae"] != plain["metrics"]["mae"]


def test_holdout_judges_what_training_left_out(checkpoint: Path, folder: Path) -> None:
    evaluation = evaluate(options(checkpoint, folder, holdout=0.3))
    held_out = split_by_sequence(STEMS, 0.3).held_out
    assert len(held_out) == 2
    assert [stem for stem, _ in evaluation.images] == list(held_out)


def test_synthetic_scenes_are_judged_without_any_files(checkpoint: Path) -> None:
    run = EvaluateOptions(file=checkpoint, size=SIZE_HW, synthetic_count=3, device="cpu")
    first, again = evaluate(run), evaluate(run)
    assert first.summary["metrics"] == again.summary["metrics"]
    assert first.summary["metrics"]["images"] == 3
    assert first.worst[0].label.shape == (480, 640)  # drawn at the network's own size
    assert first.summary["warnings"] == []


def test_command_writes_json_table_and_pictures(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(checkpoint), "--data", str(folder), "--size", "64x96", "--worst", "2"]
    assert main([*argv, "--out", str(tmp_path / "out"), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert any("boundary_f" in line for line in lines[:-1])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == document
    with (tmp_path / "out" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stem"] for row in rows] == STEMS
    mean_mae = np.mean([float(row["mae"]) for row in rows])
    assert mean_mae == pytest.approx(document["metrics"]["mae"], abs=1e-5)
    worst = evaluate(options(checkpoint, folder, worst=2)).worst
    lowest = sorted(rows, key=lambda row: float(row["iou"]))[:2]
    assert [row.caption.split()[0] for row in worst] == [row["stem"] for row in lowest]
    assert cv2.imread(str(tmp_path / "out" / "worst.jpg")) is not None
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img") == 2
    assert all(f'<th scope="row">{stem}</th>' in page for stem in STEMS)
    assert f"{document['metrics']['s_measure']:.4f}" in page
    assert document["speed"]["images_per_s"] == pytest.approx(
        1e3 / document["speed"]["median_ms"], rel=0.01
    )


def test_an_onnx_file_and_an_engine_score_like_their_checkpoint(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    from differseg.export import export_onnx
    from differseg.export.manifest_builder import build_manifest
    from differseg.export.network_source import load_network

    source = load_network(None, checkpoint)
    manifest = build_manifest(source.spec, SIZE_HW, weights=source.weights)
    file = tmp_path / "edge.onnx"
    example = source.module.raw_inputs_example(SIZE_HW)
    export_onnx(source.module, example, file, manifest=manifest)
    torch_side = evaluate(options(checkpoint, folder)).summary["metrics"]
    onnx_side = evaluate(options(file, folder, size=None)).summary["metrics"]
    assert onnx_side == pytest.approx(torch_side, abs=1e-4)
    with fake_tensorrt("10.3") as bed:
        engine = engine_of(bed, file, tmp_path)
        judged = evaluate(options(engine, folder, size=None)).summary
        assert judged["metrics"] == pytest.approx(torch_side, abs=1e-4)
        assert judged["speed"]["device"].startswith("tensorrt")


def test_a_name_stands_for_its_shipped_weights(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("differseg.predictors.shipped_weights", lambda name: checkpoint)
    wanted = evaluate(options(checkpoint, folder)).summary["metrics"]
    for changes in ({"file": Path("differseg-edge")}, {"file": None, "model": "differseg-edge"}):
        assert evaluate(options(checkpoint, folder, **changes)).summary["metrics"] == wanted


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"data": "nowhere"}, 2, "nowhere: there is no such folder"),
        ({"file": Path("none.safetensors")}, 2, "none.safetensors: there is no such file"),
        ({"file": Path("none.onnx")}, 2, "none.onnx: there is no such file"),
        ({"file": None}, 2, "give a checkpoint, an .onnx file or an engine, or --model NAME"),
        ({"file": None, "model": "differseg-rgb"}, 2, "no weights are shipped for it"),
        ({"file": None, "model": "differseg-edgy"}, 2, "did you mean 'differseg-edge'"),
        ({"model": "differseg-rgbd-edge"}, 2, "holds 'differseg-edge' with task='rgbt'"),
        ({"model": "differseg-rgb-edge"}, 2, "'differseg-rgb-edge' has task='rgb'"),
        ({"size": (60, 96)}, 2, "--size 60x96: differseg-edge needs multiples of 32"),
        ({"threshold": 1.0}, 2, "--threshold 1.0"),
        ({"label_rule": "mfnett"}, 2, "label rule 'mfnett'"),
        ({"tolerance_px": float("nan")}, 2, "--tolerance-px nan: expected a finite number"),
        ({"tolerance_px": float("inf")}, 2, "--tolerance-px inf: expected a finite number"),
        ({"tolerance_px": -1.0}, 2, "--tolerance-px -1.0: expected a finite number"),
    ],
)
def test_mistakes_are_one_line(
    checkpoint: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    code: int,
    message: str,
) -> None:
    run = options(checkpoint, folder, **changes)
    argv = [] if run.file is None else [str(run.file)]
    for name in ("data", "model", "label_rule", "threshold", "tolerance_px"):
        value = getattr(run, name)
        argv += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    argv += ["--size", "x".join(map(str, run.size))] if run.size else []
    assert run_main(main, argv) == code
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]


def test_a_folder_without_labels_is_refused(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("rgb", "thermal"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(DifferSegError, match="there is no labels/ folder"):
        evaluate(options(checkpoint, tmp_path))
