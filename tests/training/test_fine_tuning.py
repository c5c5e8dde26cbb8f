"""Training on from ``--init``: the start competes, is remembered, and is known by its content."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from classes_network import registered
from safetensors.torch import load_file
from short_runs import SIZE_HW, assert_same_run, short_run, write_folder

from differseg import create_model
from differseg.checkpoints import read_info, save_checkpoint
from differseg.errors import InputError
from differseg.evaluate import EvaluateOptions, evaluate
from differseg.manifest import ThermalPolicy
from differseg.options import run_main
from differseg.provenance import LearntData
from differseg.train import TrainOptions, main, resume_command, train
from differseg.training import epochs
from differseg.training.samples import TrainingData
from differseg.training.snapshot import read_snapshot
from differseg.training.start import choose_thermal_policy, load_start, trained_notes

__all__ = ["registered"]
pytestmark = pytest.mark.usefixtures("one_thread")  # runs are compared bit by bit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fine") / "data"
    write_folder(root)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return seeded weights with statistics that no batch of the tests has."""
    torch.manual_seed(4)
    model = create_model("differseg-edge")
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.7)
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_checkpoint(path, model, extra={"trained_on": "dreams"})
    return path


def fine_tuning(out: Path, folder: Path, weights: Path, **changes: object) -> TrainOptions:
    base = short_run(
        out, out, data=str(folder), init=weights, holdout=0.5, batch=2, warmup=0.0, lr=1e-3,
        synthetic_cache=None,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def lines_of(run: TrainOptions) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]


def test_the_start_is_judged_and_kept_where_no_epoch_is_better(
    tmp_path: Path, folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fine_tuning(tmp_path / "run", folder, weights, lr=1e-12)
    assert run_main(main, [*resume_command(run).split()[2:], "--json"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"done: no epoch improved on --init {weights}, iou ")
    assert any("normalisation are kept as they are: --init was given" in line for line in lines)
    assert any("with --ema 0.998 the averaged weights are still 99% those" in x for x in lines)
    start, *after = lines_of(run)
    assert (start["epoch"], start["step"], start["best"], start["loss"]) == (0, 0, True, None)
    assert [line["epoch"] for line in after] == [1, 2]
    assert after[-1]["validation"]["iou"] == pytest.approx(start["validation"]["iou"], abs=1e-3)
    assert json.loads(summary)["best_epoch"] == 0
    assert json.loads(summary)["best"] == start["validation"]
    saved, given = load_file(run.out / "best.safetensors"), load_file(weights)
    assert all(torch.equal(saved[name], given[name]) for name in given)
    info = read_info(run.out / "best.safetensors")
    assert info is not None
    assert (info.trained_on, info.training) == ("dreams", None)
    assert (run.out / "pictures" / "epoch_000.jpg").exists()
    config = json.loads((run.out / "config.json").read_text())
    assert (config["freeze_norm"], config["precision"]) == (True, "fp32")
    decisions = {entry["what"]: entry["reason"] for entry in config["notes"]["decisions"]}
    assert "--init was given" in decisions["freeze_norm"]


def test_fresh_weights_are_not_judged(tmp_path: Path, folder: Path) -> None:
    run = fine_tuning(tmp_path / "run", folder, Path(), init=None, epochs=1)
    train(run)
    assert [line["epoch"] for line in lines_of(run)] == [1]
    assert json.loads((run.out / "config.json").read_text())["freeze_norm"] is False


@pytest.mark.parametrize("freeze", [None, False])
def test_statistics_of_the_start_stay_unless_asked_otherwise(
    tmp_path: Path, folder: Path, weights: Path, freeze: bool | None
) -> None:
    run = fine_tuning(tmp_path / "run", folder, weights, freeze_norm=freeze, epochs=1)
    train(run)
    given, state = load_file(weights), read_snapshot(run.out / "last.pt")
    for now in (state["model"], state["average"]["values"]):
        same = [torch.equal(now[n], given[n]) for n in given if n.endswith("running_var")]
        assert set(same) == {freeze is None}
    moved, remembered = (
        torch.cat(
            [(now[n] - given[n]).flatten() for n, _ in create_model(run.model).named_parameters()]
        )
        for now in (state["model"], state["average"]["values"])
    )
    assert 0 < remembered.norm() < 0.01 * moved.norm()  # 2 steps with a decay of 0.998


def stop_at(place: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGTERM as batch ``number`` of ``place`` is taken."""
    plain, taken = getattr(TrainingData, place), []

    def interrupting(data: TrainingData, *args: int) -> Iterator[dict[str, torch.Tensor]]:
        for batch in plain(data, *args):
            taken.append(batch)
            if len(taken) == number:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(TrainingData, place, interrupting)


@pytest.mark.parametrize(
    ("place", "number", "judged"),
    [("held_out_batches", 1, []), ("training_batches", 1, [0]), ("held_out_batches", 3, [0])],
)
def test_a_stop_changes_nothing(
    tmp_path: Path, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch,
    place: str, number: int, judged: list[int],
) -> None:  # fmt: skip
    whole = fine_tuning(tmp_path / "whole", folder, weights, epochs=1)
    train(whole)
    run = fine_tuning(tmp_path / "run", folder, weights, epochs=1)
    stop_at(place, number, monkeypatch)
    assert not train(run)["completed"]
    history = read_snapshot(run.out / "last.pt")["position"]["history"]
    assert [line["epoch"] for line in history] == judged
    monkeypatch.undo()
    assert train(run)["completed"]
    assert [line["epoch"] for line in lines_of(run)] == [0, 1]
    assert_same_run(run.out, whole.out)


def test_results_never_lie_there_without_a_snapshot(
    tmp_path: Path, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fine_tuning(tmp_path / "run", folder, weights, epochs=1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "write_picture", killed)  # right after the best weights
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert (run.out / "best.safetensors").exists()
    monkeypatch.undo()
    assert train(run)["completed"]


def test_the_start_is_known_by_its_content_and_the_data_by_their_place(
    tmp_path: Path, folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fine_tuning(tmp_path / "run", folder, weights, epochs=1)
    train(run)
    moved = tmp_path / "moved.safetensors"
    shutil.copy(weights, moved)
    (tmp_path / "link").symlink_to(folder)
    same = dataclasses.replace(run, init=moved, data=str(tmp_path / "link"))
    capsys.readouterr()
    assert train(same)["completed"]
    assert "already complete" in capsys.readouterr().out
    save_checkpoint(moved, create_model("differseg-edge"))
    shutil.copytree(folder, tmp_path / "copy")
    other = dataclasses.replace(run, init=moved, data=str(tmp_path / "copy"))
    said = r"data \(was .*/data', now .*/copy'\), init \(was 'sha256 .*, now 'sha256"
    with pytest.raises(InputError, match=said):
        train(other)
    config = json.loads((run.out / "config.json").read_text())
    (run.out / "config.json").write_text(json.dumps({**config, "precision": "bf16"}))
    with pytest.raises(InputError, match=r"precision \(was 'bf16', now 'fp32'\)"):
        train(run)
    with pytest.raises(InputError, match=r"--init .*best\.safetensors: this file belongs to the"):
        train(dataclasses.replace(run, init=run.out / "best.safetensors", restart=True))


def test_a_checkpoint_names_everything_that_its_weights_have_seen(
    tmp_path: Path, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plain = epochs.validate

    def rising(trainer: Any, *args: Any) -> Any:
        judged = plain(trainer, *args)
        assert judged is not None
        return dataclasses.replace(judged, headline=0.1 + trainer.position.step / 100)

    monkeypatch.setattr(epochs, "validate", rising)
    first = short_run(tmp_path / "first", tmp_path / "scenes", synthetic_count=8, epochs=1)
    train(first)
    start = first.out / "best.safetensors"
    run = fine_tuning(tmp_path / "run", folder, start, size=(96, 96), epochs=1)
    train(run)
    info = read_info(run.out / "best.safetensors")
    assert info is not None
    assert info.training is not None
    assert info.trained_on is not None
    assert info.trained_on.startswith(
        "4 samples of folder data, labels by rule 'auto: mfnet'; 4 of"
    )
    assert info.trained_on.endswith("; from: 8 synthetic samples of seed 0, drawn at 64x96")
    assert (info.training.size_hw, info.training.complete) == ((96, 96), True)
    mine, before = info.training.data
    assert (mine.kind, mine.name, mine.samples, mine.holdout) == ("folder", "data", 4, 0.5)
    config = json.loads((run.out / "config.json").read_text())
    assert mine.names_sha256 == config["samples"]["names_sha256"]
    assert (before.kind, before.name, before.samples) == ("synthetic", "seed 0", 8)

    judge = EvaluateOptions(run.out / "best.safetensors", data=str(folder), device="cpu")
    capsys.readouterr()
    size, seen = evaluate(dataclasses.replace(judge, size=SIZE_HW)).summary["warnings"]
    assert size.startswith("judged at 64x96, but trained at 96x96; --size 96x96")
    assert seen == ("4 of the 8 samples were trained on; judge the others alone with --holdout 0.5")
    assert f"warning: {seen}" in capsys.readouterr().out.splitlines()
    clean = evaluate(dataclasses.replace(judge, size=(96, 96), holdout=0.5)).summary
    assert clean["warnings"] == []


def test_a_start_that_says_nothing_is_named_as_such(tmp_path: Path, weights: Path) -> None:
    silent = tmp_path / "silent.safetensors"
    save_checkpoint(silent, create_model("differseg-edge"))
    learnt = LearntData("folder", "data", 4, "0123", ("a",), 0.5)
    for path, said in (
        (silent, "weights silent.safetensors, which do not say"),
        (weights, "dreams"),
    ):
        start = load_start(path, create_model("differseg-edge"))
        notes = trained_notes(ThermalPolicy(), SIZE_HW, learnt, "4 samples", start)
        assert notes["trained_on"].startswith(f"4 samples; from: {said}")
        assert json.loads(notes["training"])["complete"] is False


def test_classes_of_other_names_start_anew_though_they_are_as_many(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path, given = tmp_path / "start.safetensors", create_model("sfm-edge", classes="mfnet")
    save_checkpoint(path, given)
    names = [known.name for known in given.spec.classes]
    for classes, fresh in (
        (names, ()),
        ([*names[:-2], names[-1], names[-2]], ("decoder.classify.weight", "decoder.classify.bias")),
    ):
        model = create_model("sfm-edge", classes=classes)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert load_start(path, model).fresh == fresh
        for name, value in model.state_dict().items():
            assert torch.equal(value, (before if name in fresh else given.state_dict())[name])


def test_thermal_images_are_mapped_as_for_the_start(
    tmp_path: Path, folder: Path, registered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, create_model(registered), extra={"thermal_policy": '{"kind": "full"}'})
    run = fine_tuning(
        tmp_path / "run", folder, start, model=registered, epochs=1, label_rule="0=0,2=2,6=255"
    )
    train(run)
    lines = capsys.readouterr().out.splitlines()
    assert "thermal policy: full (--init was trained with it)" in lines
    assert "label rule: 0=0,2=2,6=255 (asked for)" in lines
    info = read_info(run.out / "best.safetensors")
    assert info is not None
    assert info.thermal_policy == ThermalPolicy(kind="full")
    config = json.loads((run.out / "config.json").read_text())
    decided = {entry["what"]: entry["value"] for entry in config["notes"]["decisions"]}
    assert (decided["thermal policy"], decided["label rule"]) == ("full", "0=0,2=2,6=255")
    assert "device" not in decided
    with pytest.raises(InputError, match=r"thermal_policy \(was \{'kind': 'full'.*, now None\)"):
        train(dataclasses.replace(run, thermal_policy="percentile"))
    train(dataclasses.replace(run, thermal_policy="full"))
    assert "thermal policy: full (asked for)" in capsys.readouterr().out.splitlines()


def test_the_thermal_policy_has_a_reason(tmp_path: Path, weights: Path) -> None:
    edge, rgb = create_model("differseg-edge"), create_model("sfm-edge").spec
    policy, why = choose_thermal_policy(None, edge.spec, load_start(weights, edge))
    assert (policy, why and why.reason) == (
        ThermalPolicy(), "default: --init does not say what it was trained with"
    )  # fmt: skip
    policy, why = choose_thermal_policy("full", edge.spec, None)
    assert (policy.kind, why and why.reason) == ("full", "asked for")
    assert choose_thermal_policy(None, rgb, None) == (ThermalPolicy(), None)
    with pytest.raises(InputError, match="--thermal-policy full: sfm-edge has no thermal input"):
        choose_thermal_policy("full", rgb, None)
