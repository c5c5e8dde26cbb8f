"""Two runs never share a folder, and a lock does not outlive the process that held it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from differseg.errors import InputError
from differseg.training.run_lock import run_lock


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with run_lock(path) as locked:
        assert locked
        said = rf"--out {tmp_path}: another run is at work in this folder \(process {os.getpid()} "
        with pytest.raises(InputError, match=said), run_lock(path):
            pass
        with pytest.raises(InputError, match=said), run_lock(path):  # refusals release nothing
            pass
    with run_lock(path):
        pass


def test_a_kill_frees_the_folder_though_a_worker_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from differseg.training.run_lock import run_lock\n"
        "with run_lock(Path(sys.argv[1])):\n"
        "    worker = os.fork()\n"
        "    os.write(1, f'{worker or os.getpid()}\\n'.encode())\n"
        "    time.sleep(100)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    # both have written it: the worker too is past its first act, which is to let go of the lock
    worker, same = (int(holder.stdout.readline()) for _ in range(2))
    assert worker == same
    try:
        with pytest.raises(InputError, match=rf"process {holder.pid} on "), run_lock(path):
            pass
        holder.kill()
        holder.wait()
        with run_lock(path) as locked:
            assert locked
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.stdout.close()


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with run_lock(tmp_path / "run.lock") as locked:
        assert not locked
