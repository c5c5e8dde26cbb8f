"""Which folder a run may use, and what is said when it may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from differseg.errors import InputError
from differseg.training.run_folder import RunFolder

CONFIG = {"lr": 0.01, "size": [64, 96], "model": "differseg-edge"}


def started(path: Path) -> RunFolder:
    """Return a folder with a run of CONFIG that has a snapshot and a picture."""
    folder = RunFolder(path)
    assert folder.find(CONFIG) is False
    folder.begin(CONFIG)
    folder.tidy()
    folder.snapshot.write_bytes(b"x")
    folder.picture(1).write_bytes(b"x")
    return folder


def test_new_folder_then_the_same_run_again(tmp_path: Path) -> None:
    folder = started(tmp_path / "a" / "run")
    assert json.loads(folder.config.read_text()) == CONFIG
    (folder.path / "last.pt.partial").write_bytes(b"half")
    assert folder.find(dict(CONFIG)) is True
    folder.tidy()
    assert not (folder.path / "last.pt.partial").exists()
    assert folder.snapshot.exists()


def test_other_configuration_is_refused_by_field(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    other = {**CONFIG, "lr": 0.02, "size": [32, 32]}
    with pytest.raises(InputError, match=r"lr \(was 0.01, now 0.02\), size \(was \[64, 96\]"):
        folder.find(other)
    assert folder.snapshot.exists()
    assert folder.find(other, restart=True) is False
    folder.begin(other)
    assert not folder.snapshot.exists()
    assert not folder.picture(1).exists()


def test_a_run_that_never_got_anywhere_does_not_stand_in_the_way(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    folder.snapshot.unlink()
    assert folder.find({**CONFIG, "lr": 0.02}) is False


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="holds files but no run"):
            RunFolder(tmp_path).find(CONFIG, restart)
    with pytest.raises(InputError, match="this is a file"):
        RunFolder(tmp_path / "thesis.txt").find(CONFIG)


def test_damaged_config_is_named(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    folder.config.write_text("{")
    with pytest.raises(InputError, match=r"config.json: not readable.*--restart"):
        folder.find(CONFIG)


def test_every_start_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    folder.add_start({"from_step": 0})
    folder.add_start({"from_step": 12})
    starts = json.loads(folder.environment.read_text())["starts"]
    assert [start["from_step"] for start in starts] == [0, 12]
    assert {"versions", "processor", "torch_threads", "git_commit"} <= set(starts[0])


def test_metrics_are_one_line_per_epoch(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(CONFIG)
    for history in ([{"epoch": 1}], [{"epoch": 1}, {"epoch": 2}]):
        folder.write_metrics(history)
    lines = folder.metrics.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
