"""Which folder a run may use, and what is said when it may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from differseg.errors import InputError
from differseg.training.run_folder import RunFolder

CONFIG = {"lr": 0.01, "size": [64, 96], "model": "differseg-edge"}


def test_new_folder_then_the_same_run_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    assert folder.open(CONFIG, restart=False) is False
    assert json.loads(folder.config.read_text()) == CONFIG
    folder.snapshot.write_bytes(b"x")
    (folder.path / "last.pt.partial").write_bytes(b"half")
    assert folder.open(dict(CONFIG), restart=False) is True
    assert not (folder.path / "last.pt.partial").exists()


def test_other_configuration_is_refused_by_field_unless_restarted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(CONFIG, restart=False)
    folder.snapshot.write_bytes(b"x")
    folder.picture(1).write_bytes(b"x")
    other = {**CONFIG, "lr": 0.02, "size": [32, 32]}
    with pytest.raises(InputError, match=r"lr \(was 0.01, now 0.02\), size \(was \[64, 96\]"):
        folder.open(other, restart=False)
    assert folder.snapshot.exists()
    assert folder.open(other, restart=True) is False
    assert not folder.snapshot.exists()
    assert not folder.picture(1).exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="holds files but no run"):
            RunFolder(tmp_path).open(CONFIG, restart=restart)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="this is a file"):
        RunFolder(tmp_path / "thesis.txt").open(CONFIG, restart=False)


def test_damaged_config_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text("{")
    with pytest.raises(InputError, match=r"config.json: not readable.*--restart"):
        folder.open(CONFIG, restart=False)
    assert folder.open(CONFIG, restart=True) is False


def test_every_start_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(CONFIG, restart=False)
    folder.add_start({"from_step": 0})
    folder.add_start({"from_step": 12})
    starts = json.loads(folder.environment.read_text())["starts"]
    assert [start["from_step"] for start in starts] == [0, 12]
    assert {"versions", "processor", "torch_threads", "git_commit"} <= set(starts[0])


def test_metrics_are_one_line_per_epoch(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(CONFIG, restart=False)
    for history in ([{"epoch": 1}], [{"epoch": 1}, {"epoch": 2}]):
        folder.write_metrics(history)
    lines = folder.metrics.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
