"""Which folder a run may use, and what is said when it may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from differseg.errors import InputError
from differseg.training.run_folder import RunFolder

CONFIG = {"lr": 0.01, "size": [64, 96], "model": "m", "samples": {"names_sha256": "0123"}}


def started(path: Path) -> RunFolder:
    """Return a folder with a run of CONFIG that has a snapshot and a picture."""
    folder = RunFolder(path)
    assert folder.find(CONFIG) is False
    with folder.locked():
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
    assert folder.find({**CONFIG, "notes": "other reasons"}) is True


def test_a_restart_deletes_what_runs_write_and_nothing_else(tmp_path: Path) -> None:
    folder = started(tmp_path)
    written = [folder.snapshot, folder.best, folder.metrics, folder.picture(1)]
    written += [tmp_path / "last.pt.partial", tmp_path / ".best.safetensors.77.tmp"]
    foreign = [tmp_path / "notes.txt", tmp_path / "film.mp4.partial", folder.pictures / "cat.jpg"]
    foreign += [folder.pictures / "epoch_best.jpg", tmp_path / "synthetic.png"]
    for file in (*written, *foreign):
        file.write_bytes(b"x")
    other = {**CONFIG, "lr": 0.02}
    assert folder.find(other, restart=True) is False
    folder.begin(other)
    folder.tidy()
    assert not [file.name for file in written if file.exists()]
    assert [file.name for file in foreign if not file.exists()] == []
    assert json.loads(folder.config.read_text()) == other


def test_a_run_that_never_got_anywhere_does_not_stand_in_the_way(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    folder.snapshot.unlink()
    folder.picture(1).unlink()
    assert folder.find({**CONFIG, "lr": 0.02}) is False


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="holds files but no run"):
            RunFolder(tmp_path).find(CONFIG, restart)
    with pytest.raises(InputError, match="this is a file"):
        RunFolder(tmp_path / "thesis.txt").find(CONFIG)


def test_a_kill_while_a_restart_deletes_leaves_a_folder_that_can_be_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = started(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("differseg.training.run_folder.write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.begin(CONFIG)
    assert not folder.snapshot.exists()
    assert folder.find(CONFIG, restart=True) is False


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable"),
        ('{"model": "someone else\'s"}', "not written by a run of differseg"),
        ("[1, 2]", "not written by a run of differseg"),
    ],
)
def test_a_config_that_no_run_wrote_is_left_alone(
    tmp_path: Path, text: str, said: str, restart: bool
) -> None:
    folder = started(tmp_path / "run")
    folder.config.write_text(text)
    with pytest.raises(InputError, match=rf"config\.json: {said}.*another folder"):
        folder.find(CONFIG, restart)
    assert folder.config.read_text() == text


@pytest.mark.parametrize("name", ["best.safetensors", "metrics.jsonl", "pictures/epoch_001.jpg"])
def test_results_without_a_snapshot_are_not_overwritten(tmp_path: Path, name: str) -> None:
    folder = started(tmp_path / "run")
    folder.snapshot.unlink()
    folder.picture(1).unlink()
    (folder.path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"results of a run are here \({Path(name).name}\)"):
        folder.find(CONFIG)
    assert folder.find(CONFIG, restart=True) is False


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = RunFolder(tmp_path / "file" / "run")
    assert folder.find(CONFIG) is False
    with pytest.raises(InputError, match=r"--out .*file/run: cannot be written"), folder.locked():
        pass
    with pytest.raises(InputError, match=r"cannot be written"):
        folder.begin(CONFIG)
    with pytest.raises(InputError, match=r"cannot be written"):
        folder.add_start({})
    with pytest.raises(InputError, match=r"cannot be written"):
        folder.tidy()


def test_a_foreign_environment_file_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.environment.write_text('{"PATH": "/bin"}')
    with pytest.raises(InputError, match=r"environment\.json: not written by a run"):
        folder.add_start({})


def test_a_folder_with_nothing_but_a_lock_is_new(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked() as alone:
        assert alone
    assert [path.name for path in folder.path.iterdir()] == ["run.lock"]
    assert folder.find(CONFIG) is False


def test_a_kill_before_the_first_file_leaves_a_new_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "config.json.partial").write_text("{")
    assert folder.find(CONFIG) is False
    with folder.locked():
        folder.begin(CONFIG)
        folder.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "pictures", "run.lock",
    ]  # fmt: skip


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
