"""The board and the models of a whole run."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from fake_boards import orin_nano
from fake_cameras import FakeSource, ListSink
from test_model_swap import Model, wait_for

from differseg.errors import InputError, ModelFileError
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.run_power import RunPower
from differseg.runtime.power.stepdown import StepRules


@pytest.fixture
def copied(tiny_model, tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(tiny_model.read_bytes())
    return [tiny_model, path]


def fast_board(root, monkeypatch):
    """A board that is sampled a hundred times a second, each sample a second of its own clock."""
    board, seconds = orin_nano(root), [time.monotonic()]
    sysfs = SysfsBoard(root)
    read = sysfs.read

    def next_second(now_s):
        seconds[0] += 1
        return read(seconds[0])

    monkeypatch.setattr(sysfs, "read", next_second)
    return board, sysfs


def test_a_hot_board_changes_the_model_of_a_run_and_says_so(tmp_path, copied, monkeypatch):
    board, sysfs = fast_board(tmp_path / "board", monkeypatch)
    notes, sink, stop = [], ListSink(), threading.Event()
    rgb, thermal = FakeSource().open(), FakeSource("thermal").open()
    feed = open_feed(rgb, thermal, Pairer(30, live=True), ThermalWatch(0.5))
    models = {path: number for number, path in enumerate(copied)}
    power = RunPower(
        Model(0),
        copied,
        lambda path: Model(models[path]),
        notes.append,
        sysfs,
        StepRules(calm_s=20),
    )
    power._monitor._period_s = 0.01
    pipeline = Pipeline(power.segmenter, feed, [sink], stop=stop)
    seen = []

    def course():
        try:
            board.put("sys/class/thermal/thermal_zone1/temp", 99500)
            board.put("sys/class/thermal/cooling_device5/cur_state", 2)
            wait_for(lambda: sink.results and sink.results[-1].mask[0, 0] == 1)
            wait_for(lambda: power.document()["model"]["steps"] == 1)
            seen.extend([power.lines(), power.document()])
            board.put("sys/class/thermal/thermal_zone1/temp", 60000)
            board.put("sys/class/thermal/cooling_device5/cur_state", 0)
            wait_for(lambda: power.document()["model"]["steps"] == 2)
        finally:
            stop.set()

    thread = threading.Thread(target=course)
    power.start(lambda: (0, len(sink.results)))
    thread.start()
    summary, error = pipeline.run()
    thread.join()
    events = power.take_events()
    power.close()
    power.close()
    assert error is None
    assert summary.frames == len(sink.results)
    indices = [result.index for result in sink.results]
    assert indices == sorted(set(indices))
    assert [event["event"] for event in events] == ["throttle", "model_step", "model_step"]
    assert [Path(event["new"]).name for event in events[1:]] == ["small.onnx", "tiny.onnx"]
    assert json.loads(json.dumps(events, allow_nan=False))
    assert power.take_events() == ()
    assert [note.split()[:2] for note in notes] == [["NOW", "RUNS"]] * 2
    lines, document = seen
    assert lines[0] == "THROTTLING (thermal): gpu-throttle-alert slows down to step 2"
    assert lines[-1] == "model small.onnx"
    assert document["model"]["steps"] == 1
    assert power.summary().throttle_events == {"thermal": 1}


def test_one_model_is_watched_and_never_changed(tmp_path):
    orin_nano(tmp_path)
    model = Model(0)
    with RunPower(
        model, [Path("only.onnx")], lambda path: Model(9), print, SysfsBoard(tmp_path)
    ) as power:
        assert power.segmenter is model
        power.start(lambda: (0, 0))
        assert power.lines()[0] == "MAXN_SUPER (2), 16.3 W"
        assert power.document()["model"] is None
        assert {metric.name for metric in power.metrics()} >= {"differseg_board_power_watts"}
    assert model.closed == 0  # it is the run's own


def test_this_machine_is_watched():
    notes = []
    with RunPower(Model(0), [Path("only.onnx")], lambda path: Model(9), notes.append) as power:
        power.start(lambda: (0, 0))
        time.sleep(0.01)
    assert power.summary().source == "sysfs"
    assert notes == []


def test_a_smaller_model_that_does_not_fit_is_refused_before_the_run(tmp_path, classes_model):
    orin_nano(tmp_path)
    for path, error, text in (
        (classes_model, InputError, "--step-down .*classes.onnx: its classes are"),
        (tmp_path / "none.onnx", ModelFileError, "none.onnx"),
    ):
        with pytest.raises(error, match=text):
            RunPower(Model(0), [Path("a.onnx"), path], lambda p: Model(1), print)
