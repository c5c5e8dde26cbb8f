"""Training: it learns, it stops cleanly, and it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file
from short_runs import (
    SIZE_HW,
    assert_same_run,
    children,
    short_run,
    start,
    wait_for_snapshots,
    write_folder,
)

import differseg.train
from differseg.checkpoints import read_info
from differseg.errors import DifferSegError, InputError
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.options import run_main
from differseg.train import INTERRUPTED, TrainOptions, main, resume_command, train
from differseg.training.loop import Trainer
from differseg.training.run_lock import run_lock
from differseg.training.samples import TrainingData
from differseg.training.snapshot import read_snapshot

pytestmark = pytest.mark.usefixtures("one_thread")  # runs are compared bit by bit


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """Return the folder of an uninterrupted run of 2 epochs of 4 steps."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert train(short_run(run, scenes))["completed"]
    return run


def test_crops_reach_beyond_the_picture_as_asked(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[float] = []

    def step(trainer: Trainer, batch: dict[str, torch.Tensor]) -> float:
        ignored.append(1 - batch["valid"].mean().item())
        trainer.position.step += 1
        return 0.0

    monkeypatch.setattr(Trainer, "step", step)
    margins = []
    for largest_crop in (1.0, 2.0):
        run = short_run(tmp_path / str(largest_crop), scenes)
        train(dataclasses.replace(run, largest_crop=largest_crop))
        margins.append(sum(ignored) / len(ignored))
        ignored.clear()
    assert margins[0] < 0.03  # the corners of what was rotated
    assert margins[1] > 0.06


def test_run_folder_holds_everything(finished: Path) -> None:
    config = json.loads((finished / "config.json").read_text())
    assert (config["model"], config["size"]) == ("differseg-edge", [64, 96])
    assert config["samples"]["train"] == 16
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"loss", "learning_rate", "images_per_s", "validation"} <= set(lines[0])
    pictures = sorted(path.name for path in (finished / "pictures").iterdir())
    assert pictures == ["epoch_001.jpg", "epoch_002.jpg"]
    assert cv2.imread(str(finished / "pictures" / "epoch_002.jpg")).shape[1] > 1200
    info = read_info(finished / "best.safetensors")
    assert info is not None
    assert info.thermal_policy is not None
    assert info.trained_on == "16 synthetic samples of seed 0, drawn at 64x96"
    assert info.training is not None
    assert (info.training.size_hw, info.training.complete) == (SIZE_HW, True)


def test_best_weights_are_the_average_not_the_last_step(tmp_path: Path, scenes: Path) -> None:
    run = short_run(tmp_path / "run", scenes, epochs=1)
    train(run)
    state, saved = read_snapshot(run.out / "last.pt"), load_file(run.out / "best.safetensors")
    average = state["average"]["values"]
    assert all(torch.equal(saved[name], average[name]) for name in average)
    assert not all(torch.equal(saved[name], state["model"][name]) for name in average)


def test_killed_run_resumes_bit_by_bit(tmp_path: Path, scenes: Path, finished: Path) -> None:
    run = short_run(tmp_path / "killed", scenes, snapshot_minutes=0.0)
    process = start(run)
    wait_for_snapshots(run.out, 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < read_snapshot(run.out / "last.pt")["position"]["step"] < 8
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


@pytest.mark.parametrize("whom", ["group", "every process"])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    tmp_path: Path, scenes: Path, finished: Path, whom: str
) -> None:
    run = short_run(tmp_path / "stopped", scenes, snapshot_minutes=0.0, workers=1)
    process = start(run)
    wait_for_snapshots(run.out, 1, process)
    if whom == "group":  # Ctrl-C in a terminal
        os.killpg(process.pid, signal.SIGINT)
    else:  # a batch system or a service manager
        for number in (process.pid, *children(process)):
            os.kill(number, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, err
    assert f"go on with: {resume_command(run)}" in out
    assert not err
    assert read_snapshot(run.out / "last.pt")["position"]["step"] < 8
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


def test_a_process_that_leaves_mid_epoch_takes_its_workers_along() -> None:
    code = (
        "from differseg import create_model\n"
        "from differseg.data.loader import make_loader\n"
        "from differseg.data.synthetic_dataset import SyntheticDataset\n"
        "spec = create_model('differseg-edge').spec\n"
        "samples = SyntheticDataset(32, size_hw=(64, 96))\n"
        "batches = iter(make_loader(samples, spec, (64, 96), 2, 0, 0, True, 1))\n"
        "next(batches)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_a_stop_during_validation_loses_nothing(
    tmp_path: Path, scenes: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = short_run(tmp_path / "run", scenes)
    plain = TrainingData.held_out_batches

    def interrupting(data: TrainingData) -> Iterator[dict[str, torch.Tensor]]:
        for batch in plain(data):
            os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(TrainingData, "held_out_batches", interrupting)
    summary = train(run)
    assert (summary["completed"], summary["epochs"], summary["steps"]) == (False, 0, 4)
    monkeypatch.undo()
    assert train(run)["completed"]
    assert_same_run(run.out, finished)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), RuntimeError("worker")])
def test_workers_that_end_with_the_run_do_not_spoil_the_stop(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    plain, ask = TrainingData.training_batches, True

    def losing(data: TrainingData, *args: int) -> Iterator[dict[str, torch.Tensor]]:
        yield next(iter(plain(data, *args)))
        if ask:
            os.kill(os.getpid(), signal.SIGTERM)
        raise error

    monkeypatch.setattr(TrainingData, "training_batches", losing)
    run = short_run(tmp_path / "run", scenes)
    summary = train(run)
    assert (summary["completed"], summary["steps"]) == (False, 0)
    ask = False
    with pytest.raises(type(error)):
        train(run)


def test_two_runs_do_not_share_a_folder(finished: Path, scenes: Path) -> None:
    with (
        run_lock(finished / "run.lock"),
        pytest.raises(
            InputError, match=rf"--out {finished}: another run is at work .* {os.getpid()}"
        ),
    ):
        train(short_run(finished, scenes))


def test_finished_run_is_left_alone(finished: Path, scenes: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    before = (finished / "last.pt").stat().st_mtime_ns
    argv = [*resume_command(short_run(finished, scenes)).split()[2:], "--json"]
    assert main(argv) == 0
    assert (finished / "last.pt").stat().st_mtime_ns == before
    out = capsys.readouterr().out
    assert "already complete" in out
    summary = json.loads(out.splitlines()[-1])
    assert summary["completed"]
    assert summary["weights"] == str(finished / "best.safetensors")


def test_other_configuration_is_refused_and_restart_begins_anew(
    tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = short_run(tmp_path / "run", scenes, epochs=1)
    train(run)
    other = dataclasses.replace(run, lr=1e-3, seed=3)
    assert run_main(main, resume_command(other).split()[2:]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "lr (was 0.005, now 0.001)" in error[0]
    assert "seed (was 0, now 3)" in error[0]
    train(dataclasses.replace(other, restart=True))
    assert json.loads((run.out / "config.json").read_text())["seed"] == 3


def test_a_folder_is_split_by_sequence(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    run = TrainOptions(
        out=tmp_path / "run", data=str(tmp_path / "data"), size=SIZE_HW, epochs=1, batch=2,
        workers=0, holdout=0.5, device="cpu",
    )  # fmt: skip
    summary = train(run)
    assert summary["last"]["images"] == 4
    info = read_info(run.out / "best.safetensors")
    assert info is not None
    assert info.trained_on is not None
    assert info.trained_on.startswith("4 samples of folder data, labels by rule 'auto: mfnet'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (64, 90)}, "--size 64x90: differseg-edge needs multiples of 32"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"lr": float("inf")}, "--lr inf"),
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"largest_crop": 0.9}, "--largest-crop 0.9: expected 1 to 3"),
        ({"warmup": float("inf")}, "--warmup inf: expected 0 to 1000000"),
        ({"weight_decay": float("nan")}, "--weight-decay nan: expected 0 to 1000000"),
        ({"data": "folder", "seed": -1}, "--seed -1: expected 0 to 4294967295"),
        ({"seed": 1_000_000}, "--seed 1000000: the held-out scenes have this seed"),
        ({"seed": 2_000_000}, "--seed 2000000: the scenes of 'evaluate' have this seed"),
        ({"synthetic_size": (32, 96)}, "--synthetic-size 32x96: expected sides of at least 64"),
        ({"freeze_norm": True}, "--freeze-norm: fresh weights have no statistics to keep"),
        ({"model": "differseg-edgy"}, "did you mean 'differseg-edge'"),
        ({"model": "differseg-rgbd-edge"}, "needs depth; give a folder"),
        ({"data": "nowhere"}, "nowhere: there is no such folder"),
        ({"device": "toaster"}, "--device toaster: expected auto, cpu, cuda"),
        ({"precision": "amp"}, "mixed precision needs a GPU"),
        ({"resume": True}, "--resume: there is no snapshot"),
        ({"init": Path("none.safetensors")}, "none.safetensors: there is no such file"),
        ({"resume": True, "restart": True}, "--resume and --restart exclude each other"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_one_line(
    tmp_path: Path, scenes: Path, changes: dict[str, object], message: str
) -> None:
    run = short_run(tmp_path / "run", scenes, **changes)
    with pytest.raises(DifferSegError) as caught:
        train(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not run.out.exists()


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    (tmp_path / "data" / "thermal" / "00102D.png").write_bytes(b"not an image")
    run = TrainOptions(
        out=tmp_path / "run", data=str(tmp_path / "data"), size=SIZE_HW, epochs=1, batch=4,
        workers=1, holdout=0.5, device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"00102D\.png") as caught:
        train(run)
    assert "\n" not in str(caught.value)


def test_a_frozen_trunk_of_random_numbers_is_pointed_out(
    tmp_path: Path,
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def half_frozen(*_: object) -> SegmentationModel:
        model = create_model("differseg-edge")
        model.encoder.requires_grad_(False)
        return model

    monkeypatch.setattr(differseg.train, "network_to_train", half_frozen)
    train(short_run(tmp_path / "run", scenes, epochs=1))
    assert (
        "% of the network is frozen, and random numbers without --init" in capsys.readouterr().out
    )
