"""How a run ends early, what it leaves for spreadsheets and TensorBoard, and lacking memory."""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from classes_network import ClassesNet, spec_of
from short_runs import short_run

from differseg.errors import InputError, MissingComponentError
from differseg.options import run_main
from differseg.train import INTERRUPTED, main, resume_command, train
from differseg.training.compilation import naming_the_compiler
from differseg.training.determinism import deterministic
from differseg.training.epochs import gave_up
from differseg.training.loop import Position, Recipe, Trainer
from differseg.training.memory import naming_the_memory
from differseg.training.snapshot import write_snapshot
from differseg.training.tables import StepTable, epochs_table

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def test_patience_ends_a_run_that_no_longer_improves(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = short_run(tmp_path / "run", scenes, epochs=9, patience=2, synthetic_count=8)

    def step(trainer: Trainer, *parts: Any) -> float:
        trainer.position.step += 1
        return 1.0

    monkeypatch.setattr(Trainer, "step", step)  # weights that never change never improve
    words = resume_command(run).split()[2:]
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    summary = json.loads(out[-1])
    assert (summary["stopped_early"], summary["completed"]) == (True, True)
    assert (summary["epochs"], summary["best_epoch"]) == (3, 1)
    assert "done (--patience 2 ended it after epoch 3): best epoch 1" in out[-2]
    assert main(words) == 0
    assert "already complete" in capsys.readouterr().out


def test_patience_counts_epochs_since_the_best() -> None:
    assert not gave_up(Position(epoch=4, best_epoch=2), 9, 3)
    assert gave_up(Position(epoch=5, best_epoch=2), 9, 3)
    assert not gave_up(Position(epoch=9, best_epoch=2), 9, 3)  # that was the last one
    assert not gave_up(Position(epoch=8, best_epoch=0), 9, None)


def test_tables_and_events_say_what_the_lines_say(tmp_path: Path, scenes: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = short_run(tmp_path / "run", scenes, tensorboard=True)
    train(run)
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    with (run.out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    for row, line in zip(rows, lines, strict=True):
        assert float(row["loss"]) == line["loss"]
        assert float(row["iou"]) == line["validation"]["iou"]
    with (run.out / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [int(step["step"]) for step in steps] == list(range(1, 9))
    mean = sum(float(step["loss"]) for step in steps[:4]) / 4
    assert mean == pytest.approx(lines[0]["loss"], rel=1e-12)
    events = EventAccumulator(str(run.out / "tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("step/loss")]
    assert losses == pytest.approx([float(step["loss"]) for step in steps], rel=1e-6)
    assert events.Scalars("held_out/iou")[-1].step == 8
    train(run)  # finished: nothing changes
    assert len((run.out / "steps.csv").read_text().splitlines()) == 9


def test_figures_of_classes_become_columns() -> None:
    validation = {"mean_iou": 0.5, "class_iou": {"car": 0.25, "person": None}, "rows": [1]}
    text = epochs_table([{"epoch": 0, "loss": None, "validation": validation}])
    assert text.splitlines() == [
        "epoch,loss,mean_iou,class_iou.car,class_iou.person", "0,,0.5,0.25,",
    ]  # fmt: skip


def test_lines_behind_a_snapshot_are_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    table = StepTable(path, 0)
    for step in (1, 2, 3):
        table.add(step, 1, 0.1 + step, 1e-3)
    table.close()
    with path.open("a") as file:
        file.write("4,1,0.")  # a kill in the middle of a line
    with path.open("ab") as file:
        file.write(b"\xff\x00\n")  # and what a disk made of it
    StepTable(path, 2).close()
    assert path.read_text().splitlines()[1:] == ["1,1,1.1,0.001", "2,1,2.1,0.001"]
    StepTable(path, 0).close()
    assert path.read_text() == "step,epoch,loss,learning_rate\n"


def test_events_are_never_behind_the_snapshot(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = short_run(tmp_path / "run", scenes, epochs=1, tensorboard=True, snapshot_minutes=0.0)
    found = []

    def look(path: Path, state: dict[str, Any]) -> None:
        events = EventAccumulator(str(run.out / "tensorboard")).Reload()
        judged = len(events.Scalars("held_out/iou")) if state["position"]["epoch"] else 0
        found.append((state["position"]["step"], len(events.Scalars("step/loss")), judged))
        write_snapshot(path, state)

    monkeypatch.setattr("differseg.training.epochs.write_snapshot", look)
    train(run)
    assert found == [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 4, 0), (4, 4, 1)]


def test_a_restart_without_tensorboard_leaves_the_run(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = short_run(tmp_path / "run", scenes, tensorboard=True, restart=True)
    (run.out / "config.json").parent.mkdir()
    (run.out / "config.json").write_text('{"samples": {"names_sha256": ""}}')
    (run.out / "last.pt").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingComponentError, match="--tensorboard needs the package"):
        train(run)
    assert (run.out / "last.pt").exists()


def test_a_run_whose_last_steps_are_not_judged_is_not_complete(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = short_run(tmp_path / "run", scenes, epochs=1)
    plain = Trainer.step

    def step(trainer: Trainer, *parts: Any) -> float:
        if trainer.position.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(trainer, *parts)

    monkeypatch.setattr(Trainer, "step", step)
    words = resume_command(run).split()[2:]
    assert main(words) == INTERRUPTED
    assert "stopped after step 4" in capsys.readouterr().out
    assert main(words) == 0
    assert "resuming at step 4: " in capsys.readouterr().out
    assert main(words) == 0
    assert "already complete: " in capsys.readouterr().out


def test_a_data_worker_that_is_killed_is_one_line(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = short_run(tmp_path / "run", scenes, workers=1, snapshot_minutes=0.0)
    plain = Trainer.step

    def step(trainer: Trainer, *parts: Any) -> float:
        if trainer.position.step == 2:
            for worker in multiprocessing.active_children():
                worker.kill()
                worker.join()
        return plain(trainer, *parts)

    monkeypatch.setattr(Trainer, "step", step)
    assert run_main(main, resume_command(run).split()[2:]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a process that prepares data ended at step " in line
    assert "fewer --workers, of which 0 needs none" in line
    monkeypatch.undo()
    assert train(dataclasses.replace(run, workers=0))["steps"] == 8


@pytest.mark.parametrize("error", ["allocator", MemoryError()])
def test_a_lack_of_memory_is_one_line_and_keeps_the_snapshot(
    tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], error: object,
) -> None:  # fmt: skip
    plain, taken = Trainer.step, []

    def step(trainer: Trainer, *parts: Any) -> float:
        if len(taken) == 2:
            if isinstance(error, Exception):
                raise error
            torch.empty(2**60, dtype=torch.uint8)  # the CPU allocator's own error
        taken.append(1)
        return plain(trainer, *parts)

    monkeypatch.setattr(Trainer, "step", step)
    run = short_run(tmp_path / "run", scenes, snapshot_minutes=0.0)
    assert run_main(main, resume_command(run).split()[2:]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out of memory on CPU at step 3 (peak of this process" in line
    assert "--restart and --batch 2 --accumulate 2 (as many images" in line
    monkeypatch.undo()
    assert train(run)["steps"] == 8  # goes on from step 2


def test_a_full_gpu_names_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 77 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 80 * 2**30))
    with (
        pytest.raises(InputError, match=r"cuda:0 at step 1 \(peak 77.0 of 80.0 GiB\)") as caught,
        naming_the_memory(torch.device("cuda:0"), 9, 2, "fp32", lambda: "at step 1"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "--batch 3 --accumulate 6" in str(caught.value)
    assert "or --precision bf16" in str(caught.value)
    with (
        pytest.raises(RuntimeError, match="another"),
        naming_the_memory(CPU, 1, 1, "fp32", lambda: ""),
    ):
        raise RuntimeError("another error")


def test_deterministic_mode_holds_inside_and_is_put_back() -> None:
    before = torch.backends.cudnn.deterministic
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic == before
    with (
        pytest.raises(InputError, match="--deterministic: grid_sampler_2d_backward_cuda has no"),
        deterministic(True),
    ):
        raise RuntimeError(
            "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you"
        )


def test_a_compiler_that_fails_is_one_line() -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    with (
        pytest.raises(
            MissingComponentError, match=r"--compile: .* main\.cpp:3: error: no"
        ) as caught,
        naming_the_compiler(),
    ):
        raise BackendCompilerFailed(lambda: None, RuntimeError("g++\nmain.cpp:3: error: no"), None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_compiled_network_takes_the_same_steps() -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    how = Recipe(1e-2, 0.0, 0.9, warmup_steps=0, total_steps=9)
    generator = torch.Generator().manual_seed(0)
    batch = {
        "rgb": torch.rand(2, 3, 64, 96, generator=generator),
        "thermal": torch.rand(2, 1, 64, 96, generator=generator),
        "mask": torch.randint(0, 4, (2, 1, 64, 96), generator=generator, dtype=torch.uint8),
    }
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        network = ClassesNet(spec_of())
        trainer = Trainer(network, how, CPU, "fp32", compile_network=compiled)
        losses.append([trainer.step(batch) for _ in range(3)])
        assert (trainer._learner is not network) == compiled
        assert all(not name.startswith("_orig_mod") for name in trainer.state()["model"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
