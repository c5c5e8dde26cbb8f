"""The bench: turns, medians, disturbed bursts, and a worker that dies."""

import json
import sys

import pytest

from differseg.bench import interleave
from differseg.bench.command import BenchOptions, bench
from differseg.bench.interleave import PeerTimes, measure
from differseg.bench.result import BenchResult
from differseg.errors import CheckFailedError, InputError, ModelFileError

FAKE_WORKER = """
import json, os, sys, time
peer = sys.argv[1]
speed_ms = {"slow": 8.0, "fast": 2.0}[peer]
print("a line of chatter")
print(json.dumps({"ready": os.environ.get("SETTING", "fake " + peer)}), flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "quit":
        print(json.dumps({"peak_mib": 5.0}), flush=True)
        break
    if peer in sys.argv[2:]:
        sys.exit(7)
    n = int(words[1])
    print(json.dumps({"ms": [speed_ms] * n, "stages": [{"infer": speed_ms}] * n, "cpu_s": 0.0}),
          flush=True)
"""


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(FAKE_WORKER)
    popen = interleave.subprocess.Popen

    def start(command, **settings):
        at = command.index("differseg.bench.worker")
        return popen([sys.executable, str(script), *command[at + 1 :]], **settings)

    monkeypatch.setattr(interleave.subprocess, "Popen", start)


def run(peers, **settings):
    steps = []
    defaults = {"frames": 4, "bursts": 3, "rounds": 2, "threads": 1, "progress": steps.append}
    return measure(peers, **{**defaults, **settings}), steps


def test_medians_of_fresh_processes(fake_worker, monkeypatch):
    monkeypatch.setattr(interleave, "_busy_s", lambda: None)
    times, steps = run({"slow": [], "fast": []})
    assert sum(steps) == 2 * (3 + 1)
    assert times["slow"].medians_ms == [8.0, 8.0]
    assert times["fast"].median_ms == 2.0
    assert len(times["fast"].processes_ms[0]) == 3 * 150, "the warm-up counts"
    assert times["slow"].stages_ms == {"infer": [8.0] * 6 * 38}
    assert times["slow"].peak_mib == 5.0
    assert times["slow"].description == "fake slow"


def test_bursts_last_long_enough_to_see_load_from_outside(fake_worker, monkeypatch):
    monkeypatch.setattr(interleave, "_busy_s", lambda: None)
    times, _ = run({"slow": [], "fast": []}, frames=100, bursts=1, rounds=1)
    assert len(times["slow"].processes_ms[0]) == 100
    assert len(times["fast"].processes_ms[0]) == 0.3 / 0.002


def test_another_program_in_another_environment(tmp_path):
    script = tmp_path / "engine.py"
    script.write_text(FAKE_WORKER)
    times, _ = run({"fast": []}, program=(str(script),), environment={"SETTING": "kept"})
    assert times["fast"].description == "kept"
    assert times["fast"].median_ms == 2.0


@pytest.mark.parametrize("name", ["frames", "bursts", "rounds", "threads"])
def test_a_count_below_1_is_refused(name):
    with pytest.raises(InputError, match=f"--{name} 0: expected 1 or more"):
        run({"fast": []}, **{name: 0})


def busy_clock(monkeypatch, seconds_between):
    """Make the machine's busy time jump by these amounts from look to look."""
    steps, total = iter(seconds_between), [0.0]

    def look():
        total[0] += next(steps)
        return total[0]

    monkeypatch.setattr(interleave, "_busy_s", look)


def test_disturbed_bursts_are_dropped_and_counted(fake_worker, monkeypatch):
    busy_clock(monkeypatch, [0.0, 60.0, 0.0, 0.0, 0.0, 60.0])
    times, _ = run({"fast": []}, rounds=1)
    assert times["fast"].dropped_bursts == 2
    assert len(times["fast"].processes_ms[0]) == 150
    assert not times["fast"].disturbed


def test_figures_of_a_busy_machine_are_marked(fake_worker, monkeypatch):
    busy_clock(monkeypatch, [60.0] * 12)
    times, _ = run({"fast": []})
    assert times["fast"].disturbed
    assert times["fast"].median_ms == 2.0
    result = BenchResult("m", "cpu", "v", "how", {"engine": times["fast"]})
    assert "every burst of engine: do not quote these figures" in result.warning
    assert result.to_document()["warning"] == result.warning


def test_a_worker_that_dies_is_named(fake_worker, monkeypatch):
    monkeypatch.setattr(interleave, "_busy_s", lambda: None)
    with pytest.raises(CheckFailedError, match="'slow' ended with status 7"):
        run({"fast": [], "slow": ["slow"]})


def test_missing_model_is_one_line(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        bench(BenchOptions(tmp_path / "x.onnx"))


def test_figures_of_a_result():
    own = PeerTimes("an engine", [[10.0, 12.0], [11.0, 11.0]], {}, 100.0)
    camera = PeerTimes("camera run", [[22.0, 22.0]], {"infer": [9.0, 11.0]}, 120.0)
    peer = PeerTimes("session", [[5.0, 5.0], [5.5, 5.5]], {}, 90.0)
    peers = {"engine": own, "end-to-end": camera, "session": peer}
    result = BenchResult("m", "cpu", "v", "how", peers)
    (first, second, third) = result.rows()
    assert first[2] == "11.0 [11.0-11.0]"
    assert third[2] == "5.2 [5.0-5.5]"
    assert [row[6] for row in (first, second, third)] == ["1.00", "0.50", "2.10"]
    assert result.stage_rows() == [["infer", "10.00", "10.90", "10.98"]]
    document = json.loads(json.dumps(result.to_document()))
    assert document["peers"]["session"]["median_ms"] == 5.25
    assert document["peers"]["end-to-end"]["speed"] == 0.5
