"""A whole run for 10 minutes, or ``DIFFERSEG_SOAK_S`` seconds: nothing grows, nothing gets slower.

The command line as a user gives it, watched from another process: memory, threads and file handles
by psutil, ages from ``results.jsonl``.  Written masks and pieces of video are cleared away, as a
service would, so that a night fits on any disk.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from differseg.data.synthetic import SyntheticScene
from differseg.runtime.registration import Registration

SCRIPT = Path(__file__).resolve().parents[2] / "runtime" / "run_camera.py"
LENGTH_S = float(os.environ.get("DIFFERSEG_SOAK_S", "600"))
SHORTEST_S = 120.0
WARM_UP_S = min(0.2 * LENGTH_S, 300.0)
SIZE_WH = (320, 240)
LARGEST_SLOPE_MB_MIN = 1.0
LARGEST_DRIFT = 0.10
WINDOW_S = 30.0
"""Of one p99; the median over many windows is what a minute of other work does not move."""
EDGE = 20
"""Samples at either end whose median is compared."""
ZONES = {
    "units": "fraction",
    "zones": [
        {"name": "left", "polygon": [[0, 0], [0.6, 0], [0.6, 1], [0, 1]], "least_area": 0.02},
        {"name": "right", "polygon": [[0.4, 0], [1, 0], [1, 1], [0.4, 1]], "off_s": 1.0},
    ],
}


def slope_per_min(times_s, values):
    """Return the Theil-Sen slope of medians over bins: bursts and single jumps do not move it."""
    edges = np.linspace(times_s[0], times_s[-1] + 1e-9, min(200, max(8, len(values) // 10)) + 1)
    place = np.digitize(times_s, edges)
    bins = [place == k for k in np.unique(place)]
    x = np.array([np.median(times_s[b]) for b in bins])
    y = np.array([np.median(values[b]) for b in bins])
    first, second = np.triu_indices(len(x), 1)
    return 60.0 * float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def drift(times_s, ages_ms):
    """Return the change of the age's p99 from the first to the last third, as a part of it."""
    place = ((times_s - times_s[0]) / WINDOW_S).astype(int)
    p99 = [np.percentile(ages_ms[place == k], 99) for k in range(place[-1])]
    third = max(1, len(p99) // 3)
    first, last = np.median(p99[:third]), np.median(p99[-third:])
    return float(first), float(last), float(last / first - 1)


def grew(counts):
    """Return by how much a count is higher at the end than at the beginning."""
    return float(np.median(counts[-EDGE:]) - np.median(counts[:EDGE]))


@dataclass
class Watcher:
    """What was seen of the run; it lives in ``folder``."""

    process: psutil.Process
    folder: Path
    samples: list[tuple[float, float, int, int, bool]] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    frames = 0
    _read = 0

    def look(self):
        """Take one sample, read the new results, and clear old files away."""
        with self.process.oneshot():
            self.samples.append(
                (
                    time.monotonic(),
                    self.process.memory_info().rss / 2**20,
                    self.process.num_threads(),
                    self.process.num_fds(),
                    self._recording(),
                )
            )
        self.read_results()
        masks = sorted(self.folder.glob("masks/*.png"))
        for path in [*masks[:-100], *sorted(self.folder.glob("video-*.mkv"))[:-2]]:
            path.unlink()

    def read_results(self):
        """Read complete lines that are new."""
        with (self.folder / "masks/results.jsonl").open("rb") as lines:
            lines.seek(self._read)
            text = lines.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        for line in text.splitlines():
            result = json.loads(line)
            self.frames += 1
            if result["age_ms"] is not None:
                self.ages.append((result["rgb_time_s"], result["age_ms"]))

    def _recording(self):
        with suppress(OSError, ValueError):
            return json.loads((self.folder / "drive/session.json").read_text())["end"] is None
        return True


class Viewer:
    """Somebody who watches the page's stream, leaves and comes back, and a monitor that asks."""

    def __init__(self, port):
        self.bytes, self.visits, self.metrics = 0, 0, ""
        self._url = f"http://127.0.0.1:{port}"
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=call) for call in (self._watch, self._ask)]
        for thread in self._threads:
            thread.start()

    def _watch(self):
        while not self._gone.wait(0.5):
            leave_s = time.monotonic() + 20
            with (
                suppress(OSError),
                urllib.request.urlopen(self._url + "/stream.mjpg", None, 5) as s,
            ):
                self.visits += 1
                while time.monotonic() < leave_s and not self._gone.is_set():
                    self.bytes += len(s.read1(65536))

    def _ask(self):
        while not self._gone.wait(5):
            with (
                suppress(OSError),
                urllib.request.urlopen(self._url + "/metrics", None, 5) as answer,
            ):
                self.metrics = answer.read().decode()

    def leave(self):
        self._gone.set()
        for thread in self._threads:
            thread.join()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def command(model, folder, port):
    scene = SyntheticScene(3, size_wh=SIZE_WH)
    registration = Registration(scene.thermal_to_rgb, scene.thermal_size_wh, SIZE_WH)
    registration.save(folder / "registration.json")
    (folder / "zones.json").write_text(json.dumps(ZONES))
    camera = f"synthetic:seed=3,size={SIZE_WH[0]}x{SIZE_WH[1]}"
    words = [sys.executable, SCRIPT, "--model", model, "--headless", "--json"]
    words += ["--rgb", f"{camera},fps=15", "--thermal", f"{camera},fps=9", "--seconds", LENGTH_S]
    words += ["--registration", folder / "registration.json", "--zones", folder / "zones.json"]
    words += ["--smooth", 5, "--masks", folder / "masks", "--thermal-correction"]
    words += ["--video", folder / "video.mkv", "--segment-s", 20]
    words += ["--record", folder / "drive", "--record-limit-gb", min(0.5, LENGTH_S / 1200)]
    words += ["--preview", f":{port}"] if port else []
    return [str(word) for word in words]


@pytest.mark.slow
def test_a_long_run_neither_grows_nor_slows_down(tiny_model, tmp_path):
    assert LENGTH_S >= SHORTEST_S, f"DIFFERSEG_SOAK_S: expected {SHORTEST_S:g} or more"
    port = free_port() if importlib.util.find_spec("uvicorn") else None
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    with out.open("w") as out_file, err.open("w") as err_file:
        run = subprocess.Popen(
            command(tiny_model, tmp_path, port), stdout=out_file, stderr=err_file, cwd=tmp_path
        )
        viewer = None
        try:
            watcher = Watcher(psutil.Process(run.pid), tmp_path)
            results = tmp_path / "masks/results.jsonl"
            while not (results.exists() and results.stat().st_size):
                assert run.poll() is None, err.read_text()
                time.sleep(0.1)
            viewer = Viewer(port) if port else None
            end_s = time.monotonic() + LENGTH_S - 5
            while time.monotonic() < end_s:
                assert run.poll() is None, err.read_text()
                watcher.look()
                time.sleep(1)
        finally:
            if viewer:
                viewer.leave()
            try:
                run.wait(60)
            except subprocess.TimeoutExpired:
                run.kill()
    assert run.returncode == 0, err.read_text()
    watcher.read_results()
    check(watcher, json.loads(out.read_text().splitlines()[-1]), viewer)


def check(watcher, summary, viewer):
    """Hold what was seen, and what the run says of itself, against the limits."""
    table = np.array(watcher.samples)
    table = table[table[:, 0] > table[0, 0] + WARM_UP_S]
    slope = slope_per_min(table[:, 0], table[:, 1])
    late = table[len(table) // 2 :]
    ages = np.array(watcher.ages)
    first_ms, last_ms, part = drift(*ages[ages[:, 0] > ages[0, 0] + WARM_UP_S].T)
    rgb, recording = summary["cameras"]["rgb"], summary["recording"]
    print(
        f"\n{summary['seconds']:.0f} s, {summary['frames']} results, drops {rgb['drops']}; memory "
        f"{table[0, 1]:.0f} -> {table[-1, 1]:.0f} MB, {slope:+.3f} MB/min "
        f"({slope_per_min(late[:, 0], late[:, 1]):+.3f} in the second half); p99 of the age "
        f"{first_ms:.1f} -> {last_ms:.1f} ms ({100 * part:+.1f} %); threads {table[0, 2]:.0f} -> "
        f"{table[-1, 2]:.0f}, handles {table[0, 3]:.0f} -> {table[-1, 3]:.0f}; recorded "
        f"{recording['bytes'] / 1e9:.2f} GB ({recording['ended']})"
        + (f"; viewer: {viewer.visits} visits, {viewer.bytes / 1e6:.0f} MB" if viewer else "")
    )
    assert slope < LARGEST_SLOPE_MB_MIN
    assert part < LARGEST_DRIFT, "getting faster is allowed: that is other work which has ended"
    # The recorder's thread goes when its limit is reached, and must not hide another that came.
    for during in (True, False):
        counts = table[table[:, 4] == during]
        if len(counts) >= 2 * EDGE:
            assert grew(counts[:, 2]) <= 0, "threads"
            assert grew(counts[:, 3]) <= 0, "file handles"
    assert rgb["captured"] == summary["frames"] + sum(rgb["drops"].values())
    assert watcher.frames == summary["frames"]
    assert summary["frames"] > 0.5 * 15 * summary["seconds"]
    assert summary["statuses"] == {"ok": summary["frames"]}
    assert sum(recording["frames"].values()) > 100
    if viewer:
        assert viewer.bytes > 1e5
        assert 'differseg_results_total{status="ok"}' in viewer.metrics


RNG_S = np.arange(0.0, 480.0)


@pytest.mark.parametrize(("leak_mb_min", "passes"), [(0.0, True), (0.5, True), (1.5, False)])
def test_the_fit_sees_a_leak_through_bursts_and_a_jump(leak_mb_min, passes):
    rng = np.random.default_rng(0)
    memory_mb = 200 + leak_mb_min * RNG_S / 60 + rng.normal(0, 0.5, RNG_S.size)
    memory_mb[rng.integers(0, RNG_S.size, 30)] += 40
    memory_mb[100:130] += 60
    found = slope_per_min(RNG_S, memory_mb)
    assert found == pytest.approx(leak_mb_min, abs=0.1)
    assert (found < LARGEST_SLOPE_MB_MIN) == passes


@pytest.mark.parametrize(("slower", "passes"), [(0.0, True), (0.05, True), (0.2, False)])
def test_the_drift_is_that_of_the_tail_and_not_of_one_disturbance(slower, passes):
    rng = np.random.default_rng(0)
    times_s = np.arange(0.0, 480.0, 1 / 15)
    ages_ms = 60 + rng.gamma(2.0, 3.0, times_s.size) + slower * 80 * times_s / times_s[-1]
    ages_ms[-300:-200] += 300
    assert (drift(times_s, ages_ms)[2] < LARGEST_DRIFT) == passes


def test_one_more_thread_is_seen_although_counts_flicker():
    rng = np.random.default_rng(0)
    counts = 20 + (rng.random(200) < 0.2)
    assert grew(counts) <= 0
    counts[120:] += 1
    assert grew(counts) > 0
