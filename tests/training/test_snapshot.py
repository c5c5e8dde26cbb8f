"""Files appear whole or not at all; a snapshot is data and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest
import torch

from differseg.errors import CheckpointError, InputError
from differseg.training.snapshot import (
    random_state,
    read_snapshot,
    restore_random_state,
    write_atomically,
    write_snapshot,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(InputError, match=r"file: cannot be written \(disk full\); make room"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_one_line_and_leaves_the_old_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_snapshot(path, {"x": torch.zeros(3)})
    (tmp_path / "last.pt.partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"last\.pt: cannot be written \(No space left") as caught:
        write_snapshot(path, {"x": torch.zeros(100_000)})
    assert "\n" not in str(caught.value)
    assert len(read_snapshot(path)["x"]) == 3
    with pytest.raises(InputError, match="cannot be written"):
        write_snapshot(tmp_path / "nowhere" / "last.pt", {})


def test_a_full_disk_under_an_error_of_torch_is_seen(tmp_path: Path) -> None:
    def fail(file: IO[bytes]) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672]")  # noqa: B904

    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(tmp_path / "last.pt", fail)


def test_another_error_while_writing_is_not_called_a_full_disk(tmp_path: Path) -> None:
    def fail(file: IO[bytes]) -> None:
        raise RuntimeError("a worker was killed")

    with pytest.raises(RuntimeError, match="a worker was killed"):
        write_atomically(tmp_path / "file", fail)


def test_random_state_continues_the_same_numbers(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s.pt", {"random": random_state()})
    wanted = torch.rand(5)
    torch.manual_seed(99)
    restore_random_state(read_snapshot(tmp_path / "s.pt")["random"])
    assert torch.equal(torch.rand(5), wanted)


class Trap:
    """Pickled, this would make a folder when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("trap",)


def test_files_that_are_no_snapshot_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    write_snapshot(path, {"x": torch.zeros(1000)})
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:2000], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last.pt: not a snapshot.*--restart"):
            read_snapshot(path)
    torch.save({"schema": 1, "x": Trap()}, path)
    with pytest.raises(CheckpointError, match="not a snapshot"):
        read_snapshot(path)
    assert not (tmp_path / "trap").exists()
    torch.save({"schema": 2}, path)
    with pytest.raises(CheckpointError, match="expected a snapshot of schema 1, got 2"):
        read_snapshot(path)
