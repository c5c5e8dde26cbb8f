"""A run that is killed again and again, at any step, is the run that never was."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from short_runs import assert_same_run, short_run, start, wait_for_snapshots

from differseg.train import TrainOptions, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def twelve_steps(out: Path, scenes: Path, **changes: object) -> TrainOptions:
    """Return a run with everything that has a state: 3 epochs of 4 steps of 2 times 2 images."""
    settings: dict[str, object] = {
        "epochs": 3, "batch": 2, "accumulate": 2, "ema": 0.9, "patience": 2, "workers": 2,
        "modality_dropout": 0.3, "snapshot_minutes": 0.0, **changes,
    }  # fmt: skip
    return short_run(out, scenes, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    run = twelve_steps(tmp_path_factory.mktemp("runs") / "whole", scenes)
    summary = train(run)
    assert (summary["completed"], summary["steps"]) == (True, 12)
    return run.out


@pytest.mark.parametrize("seed", [0, 1])
def test_kills_at_random_steps_leave_no_trace(
    tmp_path: Path, scenes: Path, whole: Path, seed: int
) -> None:
    chance = random.Random(seed)
    run = twelve_steps(tmp_path / "killed", scenes)
    for _ in range(3):
        process = start(run)
        wait_for_snapshots(run.out, chance.randint(1, 4), process)
        time.sleep(chance.uniform(0, 0.2))  # anywhere within a step, a snapshot or a validation
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert train(run)["completed"]
    assert_same_run(run.out, whole)
    assert (run.out / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()


def test_steps_behind_the_last_snapshot_are_taken_again(
    tmp_path: Path, scenes: Path, whole: Path
) -> None:
    run = twelve_steps(tmp_path / "killed", scenes, snapshot_minutes=5.0)
    process = start(run)
    wait_for_snapshots(run.out, 2, process)  # before the first judgement, and behind it
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert train(run)["completed"]
    assert_same_run(run.out, whole)
    assert (run.out / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()
