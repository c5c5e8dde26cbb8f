"""Training a network with more than two classes, on a folder of the size of a stamp."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from classes_network import CLASSES, ClassesNet, registered, spec_of
from short_runs import assert_same_run

from differseg import create_model
from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.data.folder import FolderDataset
from differseg.errors import InputError
from differseg.evaluate import EvaluateOptions, evaluate
from differseg.models.base import SegmentationModel
from differseg.train import TrainOptions, train
from differseg.training.class_weights import choose_class_weights
from differseg.training.interruption import StopRequest
from differseg.training.loop import Recipe, Trainer
from differseg.training.validation import validate

__all__ = ["registered"]
pytestmark = pytest.mark.usefixtures("one_thread", "registered")
CPU = torch.device("cpu")
COLORS = np.array([(20, 20, 20), (230, 40, 40), (40, 230, 40), (40, 40, 230)], np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 16 pairs in four runs of numbers; the colour says the class, a stripe is ignored."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    for number in (start + step for start in (0, 100, 200, 300) for step in range(4)):
        label = np.zeros((64, 96), np.uint8)
        for place in (1, 2, 3):
            y, x = random.integers(0, 40), random.integers(0, 64)
            label[y : y + 20, x : x + 28] = place
        rgb = COLORS[label][..., ::-1]
        label[:3] = 255
        thermal = (29000 + 400 * label.clip(0, 3).astype(np.uint16)).astype(np.uint16)
        for name, image in (("rgb", rgb), ("thermal", thermal), ("labels", label)):
            cv2.imwrite(str(root / name / f"{number:05d}.png"), image)
    return root


def run_of(out: Path, folder: Path, name: str, **changes: object) -> TrainOptions:
    base = TrainOptions(
        out=out, model=name, data=str(folder), holdout=0.25, epochs=4, batch=4, workers=0,
        lr=5e-3, ema=0.5, warmup=0.5, device="cpu",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_a_run_learns_and_is_judged_by_mean_iou(
    folder: Path, tmp_path: Path, registered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "run", folder, registered, epochs=6, class_weights="labels")
    summary = train(run)
    best = summary["best"]
    assert set(best) == {"mean_iou", "pixel_accuracy", "mean_accuracy", "class_iou", "images"}
    history = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    ious = [line["validation"]["mean_iou"] for line in history]
    assert max(ious) == best["mean_iou"] > 0.4
    assert best["mean_iou"] > ious[0]
    assert summary["best_epoch"] == 1 + ious.index(max(ious))
    printed = capsys.readouterr().out
    assert "class weights: " in printed
    assert f"mean_iou {ious[-1]:.4f}  pixel_accuracy" in printed
    assert cv2.imread(str(run.out / "pictures" / "epoch_001.jpg")) is not None
    # The labels are stretched to the training size, which is their own here: one figure.
    judged = evaluate(EvaluateOptions(file=run.out / "best.safetensors", data=str(folder),
                                      holdout=0.25, device="cpu"))  # fmt: skip
    assert judged.summary["metrics"]["mean_iou"] == pytest.approx(best["mean_iou"], abs=2e-3)
    assert load_checkpoint(run.out / "best.safetensors").spec.classes == CLASSES


def test_a_run_goes_on_bit_by_bit(folder: Path, tmp_path: Path, registered: str) -> None:
    whole = run_of(tmp_path / "whole", folder, registered, class_weights="1,2,2,4")
    train(whole)
    half = run_of(tmp_path / "half", folder, registered, class_weights="1,2,2,4")
    assert epochs_until_stopped(half, 2) == 2
    train(half)
    assert_same_run(tmp_path / "half", tmp_path / "whole")
    with pytest.raises(InputError, match=r"class_weights \(was '1,2,2,4', now None\)"):
        train(run_of(tmp_path / "half", folder, registered))


def epochs_until_stopped(run: TrainOptions, epochs: int) -> int:
    """Train, and stop as by Ctrl-C after this many epochs; returns the epochs done."""
    from differseg.training import epochs as module

    judge = module.validate
    with pytest.MonkeyPatch.context() as patch:

        def stopping(trainer, batches, stems, stop, lost):  # type: ignore[no-untyped-def]
            judged = judge(trainer, batches, stems, stop, lost)
            if trainer.position.epoch + 1 == epochs:
                stop.requested = True
            return judged

        patch.setattr(module, "validate", stopping)
        return int(train(run)["epochs"])


def test_a_start_for_other_classes_does_not_compete(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    start, names = tmp_path / "start.safetensors", tmp_path / "names.txt"
    save_checkpoint(start, create_model("sfm-edge", classes=("sky", "sea", "sand", "ship")))
    names.write_text("nothing\nfloor\ndoor\nrope\n")
    recipes: list[Recipe] = []

    def recording(model: SegmentationModel, recipe: Recipe, *how: Any) -> Trainer:
        recipes.append(recipe)
        return Trainer(model, recipe, *how)

    monkeypatch.setattr("differseg.train.Trainer", recording)
    run = run_of(
        tmp_path / "run", folder, "sfm-edge", classes=str(names), init=start, epochs=1,
        size=(96, 96), ema=0.998, class_weights="1,2,3,4",
    )  # fmt: skip
    assert train(run)["best_epoch"] == 1
    (line,) = (run.out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["epoch"] == 1
    assert (recipes[0].trained_start, recipes[0].class_weights) == (False, (1.0, 2.0, 3.0, 4.0))
    printed = capsys.readouterr().out
    fresh = "decoder.classify.weight, decoder.classify.bias"
    assert f"--init {start} is for other classes; these start anew: {fresh}\n" in printed
    assert "averaged weights are still" not in printed
    assert "label rule: ids (auto: a spread of label files holds such values)\n" in printed
    assert "thermal policy" not in printed
    decisions = json.loads((run.out / "config.json").read_text())["notes"]["decisions"]
    assert [entry["value"] for entry in decisions if entry["what"] == "label rule"] == ["ids"]
    names.write_text("nothing\nfloor\nrope\ndoor\n")
    with pytest.raises(InputError, match=r"classes \(was \['nothing'.*, now \['nothing'.*'door'\]"):
        train(run)
    train(dataclasses.replace(run, classes="nothing,floor,door,rope"))
    assert "already complete" in capsys.readouterr().out


def test_synthetic_scenes_are_refused(tmp_path: Path, registered: str) -> None:
    run = TrainOptions(out=tmp_path / "run", model=registered)
    with pytest.raises(InputError, match=r"classes-net has 4 classes; give a folder"):
        train(run)


def test_four_samples_are_learnt_by_heart(folder: Path) -> None:
    torch.manual_seed(0)
    trainer = Trainer(ClassesNet(spec_of()), Recipe(3e-2, 0, 0.5, 2, 60), CPU, "fp32")
    data = FolderDataset(folder, classes=CLASSES)
    samples = [data[index] for index in range(4)]
    rgb = torch.from_numpy(np.stack([s["rgb"] for s in samples])).permute(0, 3, 1, 2) / 255
    mask = torch.from_numpy(np.stack([s["mask"] for s in samples]))[:, None]
    batch = {"rgb": rgb, "thermal": torch.zeros(4, 1, 64, 96), "mask": mask}
    losses = [trainer.step(batch) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


def test_weights_from_labels_follow_their_frequency(folder: Path) -> None:
    data = FolderDataset(folder, classes=CLASSES)
    decision, weights = choose_class_weights("labels", CLASSES, data)
    labels = np.stack([data[index]["mask"] for index in range(len(data))])
    known = labels[labels != 255]
    expected = [1 / math.log(1.02 + (known == place).mean()) for place in range(4)]
    assert weights == pytest.approx(expected, abs=1e-4)
    assert decision.value == ",".join(f"{w:g}" for w in weights or ())
    assert choose_class_weights(None, CLASSES, data)[1] is None
    assert choose_class_weights("1,0.5,2,3", CLASSES, data)[1] == (1.0, 0.5, 2.0, 3.0)


def overwrite_labels(folder: Path, root: Path, value: int, stems: str = "*") -> Path:
    """Copy a folder, with labels that hold one value where the stem fits."""
    shutil.copytree(folder, root)
    for path in (root / "labels").glob(f"{stems}.png"):
        cv2.imwrite(str(path), np.full((64, 96), value, np.uint8))
    return root


def test_classes_that_no_label_shows_are_named_and_labels_of_nothing_refused(
    folder: Path, tmp_path: Path
) -> None:
    roads = overwrite_labels(folder, tmp_path / "roads", 1)
    data = FolderDataset(roads, classes=CLASSES, label_rule="ids")
    decision, weights = choose_class_weights("labels", CLASSES, data)
    assert decision.reason.endswith("; in no label to learn from: unlabeled, person, bike")
    assert weights == pytest.approx((50.4983, 1.4222, 50.4983, 50.4983), abs=1e-3)
    nothing = overwrite_labels(folder, tmp_path / "nothing", 255)
    data = FolderDataset(nothing, classes=CLASSES, label_rule="ids")
    with pytest.raises(InputError, match=r"nothing: all label pixels of 16 samples are ignored"):
        choose_class_weights("labels", CLASSES, data)


def test_a_run_on_labels_of_nothing_is_refused(
    folder: Path, tmp_path: Path, registered: str
) -> None:
    nothing = overwrite_labels(folder, tmp_path / "nothing", 255)
    run = run_of(tmp_path / "run", nothing, registered, label_rule="ids")
    with pytest.raises(
        InputError, match=r"all label pixels of 12 samples are ignored by rule 'ids'"
    ):
        train(run)
    assert not run.out.exists()


def test_held_out_labels_of_nothing_are_refused(folder: Path, registered: str) -> None:
    trainer = Trainer(ClassesNet(spec_of()), Recipe(3e-2, 0, 0.5, 2, 60), CPU, "fp32")
    images = {"rgb": torch.zeros(2, 3, 64, 96), "thermal": torch.zeros(2, 1, 64, 96)}
    mask = torch.full((2, 1, 64, 96), 255, dtype=torch.uint8)
    batches = [{**images, "mask": mask.clone()} for _ in range(2)]
    stems = ["00100", "00101", "00102", "00103"]
    said = r"all label pixels of the 4 held-out samples \(00100 to 00103\) are ignored"
    with pytest.raises(InputError, match=said) as caught:
        validate(trainer, batches, stems, StopRequest())
    assert "\n" not in str(caught.value)
    batches[1]["mask"][0, 0, 5, 5] = 2
    judged = validate(trainer, batches, stems, StopRequest())
    assert judged is not None
    assert judged.headline < 1


@pytest.mark.parametrize("asked", ["1,2,3", "1,2,3,x", "1,2,3,-1", "1,2,3,nan", "often", "0,0,0,0"])
def test_wrong_weights_are_one_line(folder: Path, asked: str) -> None:
    data = FolderDataset(folder, classes=CLASSES)
    with pytest.raises(InputError, match=f"--class-weights {asked}: ") as caught:
        choose_class_weights(asked, CLASSES, data)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="the loss of two classes balances them itself"):
        choose_class_weights("1,2", CLASSES[:2], data)
