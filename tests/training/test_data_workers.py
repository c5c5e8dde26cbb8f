"""How many processes prepare data, why so, and that it changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from short_runs import short_run

from differseg.train import train
from differseg.training import data_workers
from differseg.training.data_workers import choose_workers, drawing_workers
from differseg.training.processes import Processes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("asked", "device", "cores", "processes", "wanted", "reason"),
    [
        (3, "cpu", 2, 1, 3, "asked for"),
        (0, "cuda", 64, 1, 0, "asked for"),
        (None, "cpu", 4, 1, 0, "training on the CPU needs the 4 cores itself"),
        (None, "cpu", 1, 2, 0, "training on the CPU needs the 1 core for each process itself"),
        (None, "cpu", 5, 1, 4, "one a core, of 5 cores, 4 at most on a CPU"),
        (None, "cpu", 16, 4, 0, "training on the CPU needs the 4 cores for each process itself"),
        (None, "cuda", 1, 1, 1, "one a core, of 1 core"),
        (None, "cuda", 4, 1, 4, "one a core, of 4 cores"),
        (None, "cuda", 64, 4, 8, "one a core, of 16 cores for each process, 8 at most on a GPU"),
    ],
)
def test_the_number_follows_device_and_cores(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, device: str, cores: int, processes: int,
    wanted: int, reason: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(data_workers, "usable_cores", lambda: cores)
    choice = choose_workers(asked, device, processes)
    assert (choice.what, choice.value, choice.reason) == ("data workers", str(wanted), reason)


def test_scenes_are_drawn_by_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {1: 0, 2: 2, 64: 16}
    for cores, count in wanted.items():
        monkeypatch.setattr(data_workers, "usable_cores", lambda cores=cores: cores)
        assert drawing_workers(None) == count
        assert drawing_workers(3) == 3


def test_cores_are_shared_by_the_processes_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    several = Processes()
    several._accelerator, several.count = object(), 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (several.on_this_machine, Processes().on_this_machine) == (4, 1)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert several.on_this_machine == 8


def test_a_run_goes_on_with_another_number(tmp_path: Path) -> None:
    run = short_run(tmp_path / "run", tmp_path / "scenes", epochs=1, synthetic_count=8)
    results = []
    for workers in (None, 1):
        out = tmp_path / str(workers)
        assert train(dataclasses.replace(run, out=out, workers=workers))["completed"]
        assert "workers" not in json.loads((out / "config.json").read_text())
        results.append((out / "best.safetensors").read_bytes())
        assert train(dataclasses.replace(run, out=out, workers=0))["completed"]
    assert results[0] == results[1]
    starts = json.loads((tmp_path / "1" / "environment.json").read_text())["starts"]
    chosen = [d for start in starts for d in start["decisions"] if d["what"] == "data workers"]
    assert [choice["value"] for choice in chosen] == ["1", "0"]
