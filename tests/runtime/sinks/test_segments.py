"""Videos in pieces: as long as the run, and playable after a kill."""

import os
import random
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from sink_results import noise, result

from differseg.errors import InputError
from differseg.runtime.sinks.segments import SegmentedVideoSink, highest_number
from differseg.runtime.sources.files import VideoSource


def levels(path):
    with VideoSource(path, "rgb") as source:
        return [float(frame.image.mean()) for frame in iter(source.read, None)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_pieces_are_as_long_as_the_run(tmp_path, suffix):
    sink = SegmentedVideoSink(tmp_path / f"v/run{suffix}", 1.0, 30.0)
    for k in range(75):
        sink.write(result(100 + k / 30, 20 + 3 * k))
    sink.close()
    sink.close()
    assert names(tmp_path / "v") == [f"run-00000{k}{suffix}" for k in range(3)]
    assert sink.files == [str(tmp_path / f"v/run-00000{k}{suffix}") for k in (0, 2)]
    shown = [levels(tmp_path / "v" / name) for name in names(tmp_path / "v")]
    assert [len(each) for each in shown] == [30, 30, 15]
    assert [level for each in shown for level in each] == pytest.approx(
        [20 + 3 * k for k in range(75)], abs=6
    )


def test_slow_results_leave_no_hole_between_pieces(tmp_path):
    sink = SegmentedVideoSink(tmp_path / "run.mkv", 2.0, 30.0)
    times_s = [0.0, 0.9, 1.7, 2.6, 3.5, 4.9, 6.0]
    for time_s in times_s:
        sink.write(result(time_s))
    sink.close()
    count = sum(len(levels(tmp_path / name)) for name in names(tmp_path))
    assert count == pytest.approx(6.0 * 30 + 1, abs=2)


def test_a_clock_that_steps_back_and_another_size_begin_a_new_file(tmp_path):
    sink = SegmentedVideoSink(tmp_path / "run.mkv", 60.0)
    for time_s, size_hw in [(9.0, (48, 64)), (2.0, (48, 64)), (2.1, (32, 64)), (2.2, (32, 64))]:
        sink.write(result(time_s, size_hw=size_hw))
    sink.close()
    assert [len(levels(tmp_path / name)) for name in names(tmp_path)] == [1, 1, 4]


def test_a_later_run_goes_on_behind_what_is_there(tmp_path):
    for _ in range(2):
        sink = SegmentedVideoSink(tmp_path / "run.mkv", 1.0)
        assert sink.files == []
        for k in range(2):
            sink.write(result(k))
        sink.close()
    (tmp_path / "run-x.mkv").write_text("")
    assert highest_number(tmp_path / "run.mkv") == 3
    assert highest_number(tmp_path / "other.mkv") == highest_number(tmp_path / "no/run.mkv") == -1


def test_wrong_lengths_and_places(tmp_path):
    for seconds in (0.5, 1e6, float("nan")):
        with pytest.raises(InputError, match="--segment-s: expected 1 to 86400"):
            SegmentedVideoSink(tmp_path / "run.mkv", seconds)
    with pytest.raises(InputError, match=r"must end in \.mp4 or \.mkv"):
        SegmentedVideoSink(tmp_path / "run.avi", 60)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from sink_results import noise
from dataclasses import replace
from differseg.runtime.sinks.segments import SegmentedVideoSink
sink = SegmentedVideoSink(Path(sys.argv[1]), 1.0, 30.0)
pictures = list(noise(8, (120, 160)))
print("go", flush=True)
k = 0
while True:
    sink.write(replace(pictures[k % 8], rgb_time_s=k / 30))
    k += 1
"""


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("seed", range(3))
def test_a_kill_costs_one_piece_at_most(tmp_path, suffix, seed):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / f"run{suffix}"), os.path.dirname(__file__)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.stdout.readline() == b"go\n"
    end_s = time.monotonic() + 60
    while len(names(tmp_path)) < 3 and time.monotonic() < end_s:
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0.0, 0.2))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    *whole, _ = names(tmp_path)
    assert len(whole) >= 2
    for name in whole:
        assert len(levels(tmp_path / name)) == 30


def test_matroska_plays_when_it_is_cut_off(tmp_path):
    """Wherever that is."""
    sink = SegmentedVideoSink(tmp_path / "run.mkv", 60.0, 30.0)
    for each in noise(400, (120, 160)):
        sink.write(each)
    sink.close()
    whole = (tmp_path / "run-000000.mkv").read_bytes()
    cut = tmp_path / "cut.mkv"
    counts = []
    for part in np.linspace(0.05, 1.0, 12):
        cut.write_bytes(whole[: int(part * len(whole))])
        counts.append(len(levels(cut)))
    assert counts[-1] == 400
    assert counts == sorted(counts)
    assert min(counts) > 0
    assert counts[5] > 150, counts


def test_a_killed_matroska_loses_seconds(tmp_path):
    """What a writer that was killed leaves of one long file, without any end."""
    code = KILLED.replace(", 1.0, 30.0", ", 60.0, 30.0").replace(
        "k += 1", "k += 1; print(k, flush=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run.mkv"), os.path.dirname(__file__)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    written = 0
    while written < 600:
        written = int((child.stdout.readline() or b"600").strip().replace(b"go", b"0"))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    played = len(levels(tmp_path / "run-000000.mkv"))
    assert played >= 600 - 6 * 30, "Matroska is written in clusters of at most five seconds"
    capture = cv2.VideoCapture(str(tmp_path / "run-000000.mkv"))
    assert capture.isOpened()
