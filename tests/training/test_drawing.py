"""Scenes ahead of the first step: mistakes are one line, and a stop ends between two scenes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console
from short_runs import SIZE_HW, children, short_run, start

from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError
from differseg.train import INTERRUPTED, resume_command, train
from differseg.training.drawing import draw_scenes
from differseg.training.interruption import StopRequest
from differseg.training.samples import _SMALLEST_SCENE_PX


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, workers: int) -> None:
    (tmp_path / "file").write_text("")
    run = short_run(tmp_path / "run", tmp_path / "file" / "scenes", workers=workers)
    with pytest.raises(InputError, match=r"file/scenes/.*cannot be written") as caught:
        train(run)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_scenes_that_cannot_be_drawn_are_one_line(tmp_path: Path, workers: int) -> None:
    samples = SyntheticDataset(8, 0, (32, 32), cache_dir=tmp_path)
    with pytest.raises(InputError, match="32x32 is too small") as caught:
        draw_scenes(samples, tmp_path, workers, Console(), StopRequest())
    assert "Traceback" not in str(caught.value)


def test_an_error_of_the_system_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(SyntheticDataset, "_read", refuse)
    samples = SyntheticDataset(8, 0, SIZE_HW, cache_dir=tmp_path)
    said = rf"--synthetic-cache {tmp_path}: cannot be used \(Permission denied\)"
    with pytest.raises(InputError, match=said):
        draw_scenes(samples, tmp_path, 1, Console(), StopRequest())


def test_the_smallest_scene_is_what_scenes_accept() -> None:
    SyntheticScene(0, (_SMALLEST_SCENE_PX, _SMALLEST_SCENE_PX))
    with pytest.raises(InputError, match="too small"):
        SyntheticScene(0, (_SMALLEST_SCENE_PX - 1, _SMALLEST_SCENE_PX))


def test_a_stop_is_taken_between_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    plain = SyntheticDataset.__getitem__

    def interrupting(samples: SyntheticDataset, index: int) -> dict[str, object]:
        drawn.append(index)
        if len(drawn) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(samples, index)

    monkeypatch.setattr(SyntheticDataset, "__getitem__", interrupting)
    run = short_run(tmp_path / "run", tmp_path / "scenes", epochs=1)
    summary = train(run)
    assert (summary["completed"], summary["steps"], summary["weights"]) == (False, 0, None)
    assert drawn == [0]
    monkeypatch.undo()
    assert train(run)["completed"]


@pytest.mark.parametrize("whom", ["group", "every process"])
def test_a_signal_while_drawing_stops_cleanly(tmp_path: Path, whom: str) -> None:
    scenes = tmp_path / "scenes"
    run = short_run(tmp_path / "run", scenes, synthetic_count=800, workers=1)
    process = start(run)
    deadline_s = time.monotonic() + 120
    while not list(scenes.glob("*/rgb/*.png")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    if whom == "group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        for number in (process.pid, *children(process)):
            os.kill(number, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, err
    assert f"stopped after step 0; go on with: {resume_command(run)}" in out
    assert not err
    assert not (run.out / "metrics.jsonl").exists()
