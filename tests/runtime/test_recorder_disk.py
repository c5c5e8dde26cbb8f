"""A disk that is slow, full or faulty ends the recording and nothing else."""

import os
import subprocess
import sys
import threading
import time

import pytest
from recorded_frames import RECORD, assert_equal, frame, frames_in

from differseg.errors import InputError
from differseg.runtime.recorder import Recorder
from differseg.runtime.session_file import load_record
from differseg.runtime.sources.session import SessionSource


def test_a_slow_disk_costs_frames_that_are_counted_and_never_time(tmp_path, monkeypatch):
    held, notes = threading.Event(), []
    monkeypatch.setattr("differseg.runtime.recorder.sync_filesystem", lambda folder: held.wait(30))
    held.set()
    recorder = Recorder(
        tmp_path / "s", RECORD, chunk_s=0.01, queue_bytes=5 * 48 * 64 * 3, on_note=notes.append
    )
    held.clear()
    longest_s = 0.0
    for k in range(400):
        start_s = time.perf_counter()
        recorder.add("rgb", frame(0, time_s=k))
        longest_s = max(longest_s, time.perf_counter() - start_s)
    assert recorder.state.dropped["rgb"] > 50
    assert longest_s < 5, "the disk is held for longer"
    assert "NOT RECORDED" in recorder.state.text()
    held.set()
    state = recorder.close()
    assert state.frames["rgb"] + state.dropped["rgb"] == 400
    assert len(frames_in(tmp_path / "s")) == state.frames["rgb"]
    assert any("LOSING FRAMES" in note for note in notes)
    with SessionSource(tmp_path / "s", "rgb") as source:
        assert f"lost {state.dropped['rgb']} frames" in source.notes[0]


def wait_until(condition):
    end_s = time.monotonic() + 20
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert condition()


def test_a_full_disk_ends_the_recording_alone(tmp_path, monkeypatch):
    free = [10**12]
    monkeypatch.setattr("differseg.runtime.recorder.free_bytes", lambda folder: free[0])
    notes = []
    recorder = Recorder(tmp_path / "s", RECORD, on_note=notes.append)
    for k in range(3):
        recorder.add("rgb", frame(k))
    wait_until(lambda: recorder.state.frames["rgb"] == 3)
    free[0] = 10**6
    recorder.add("rgb", frame(3))
    wait_until(lambda: recorder.state.ended is not None)
    recorder.add("rgb", frame(4))
    state = recorder.close()
    assert "is full" in state.ended
    assert len(notes) == 1
    assert "the run goes on" in notes[0]
    assert state.text().startswith("RECORDING ENDED: the disk of")
    assert_equal(frames_in(tmp_path / "s"), [frame(k) for k in range(3)])
    assert load_record(tmp_path / "s").end.reason == state.ended
    with pytest.raises(InputError, match="its disk is full"):
        Recorder(tmp_path / "t", RECORD)


def test_a_write_that_fails_leaves_whole_files(tmp_path):
    """With a limit to the size of files, in a process of its own."""
    code = (
        "import resource, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from recorded_frames import RECORD, frame\n"
        "from differseg.runtime.recorder import Recorder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
        "recorder = Recorder(Path(sys.argv[1]), RECORD, on_note=print)\n"
        "for k in range(3):\n"
        "    recorder.add('rgb', frame(k))\n"
        "recorder.add('rgb', frame(3, size_hw=(96, 128)))\n"
        "print(recorder.close().ended)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s"), os.path.dirname(__file__)],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cannot be written (File too large)" in done.stdout
    assert_equal(frames_in(tmp_path / "s"), [frame(k) for k in range(3)])
    assert not (tmp_path / "s/rgb/000003.png").exists()


def test_a_table_that_cannot_grow_keeps_its_whole_lines(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path / "s", RECORD, chunk_s=0.01)
    recorder.add("rgb", frame(0))
    table = tmp_path / "s/rgb/timestamps.csv"
    wait_until(lambda: len(table.read_text().splitlines()) == 2)
    real = os.fsync

    def full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(table):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full)
    recorder.add("rgb", frame(1))
    wait_until(lambda: recorder.state.ended is not None)
    recorder.close()
    monkeypatch.undo()
    assert "No space left" in recorder.state.ended
    assert_equal(frames_in(tmp_path / "s"), [frame(0)])


def test_the_limit_holds(tmp_path):
    recorder = Recorder(tmp_path / "s", RECORD, limit_bytes=50_000)
    for k in range(20):
        recorder.add("rgb", frame(k))
    wait_until(lambda: recorder.state.ended is not None)
    state = recorder.close()
    assert "limit of 5e-05 GB" in state.ended
    assert 40_000 < state.bytes <= 50_000
    assert len(frames_in(tmp_path / "s")) == state.frames["rgb"] < 20
