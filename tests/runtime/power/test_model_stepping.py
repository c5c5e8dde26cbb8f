from __future__ import annotations

import logging
import time

import pytest
from fake_boards import orin_nano
from test_model_swap import Model, number_of, wait_for

from differseg.errors import ModelFileError
from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.monitor import BoardMonitor, BoardState
from differseg.runtime.power.reading import BoardReading, Zone
from differseg.runtime.power.stepdown import StepDown
from differseg.runtime.power.stepping import ModelStepper, signals_of
from differseg.runtime.power.swap import SwappingSegmenter
from differseg.runtime.power.throttling import ThrottleEvent


class Run:
    """A stepper with a board, and frames that are on time or late."""

    def __init__(self, root, open_model=Model):
        self.board = orin_nano(root)
        self.swapping = SwappingSegmenter(Model(0), open_model)
        self.counts, self.events, self.now_s = [0, 0], [], 0
        self.monitor = BoardMonitor(SysfsBoard(root))
        self.stepper = ModelStepper(
            ["large.onnx", "small.onnx"],
            self.swapping,
            StepDown(2, 0.0),
            lambda: tuple(self.counts),
            self.events.append,
        )
        self.monitor.listen(self.stepper)

    def seconds(self, number, late=0, done=30):
        for _ in range(number):
            self.counts[0] += late
            self.counts[1] += done
            self.now_s += 1
            self.monitor.sample(float(self.now_s))
            if self.swapping.busy:
                # The threads live in real time, the board's seconds are made up.
                wait_for(
                    lambda: self.swapping._ready is not None or self.swapping._report is not None
                )
                number_of(self.swapping)

    def close(self):
        self.monitor.close()
        self.swapping.close()


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    run.close()


def test_heat_steps_down_and_cold_steps_up(run, caplog):
    run.seconds(100)
    run.board.put("sys/class/thermal/thermal_zone0/temp", 97000)
    with caplog.at_level(logging.WARNING):
        run.seconds(20)
    assert run.swapping.index == 1
    assert run.stepper.model == "small.onnx"
    (event,) = run.events
    assert event.text() == (
        "NOW RUNS small.onnx instead of large.onnx: "
        "less than 3 degrees were left to a trip point for 10 s"
    )
    assert event.document()["event"] == "model_step"
    assert [record.message for record in caplog.records] == [event.text()]
    run.board.put("sys/class/thermal/thermal_zone0/temp", 70000)
    run.seconds(140)
    assert run.swapping.index == 0
    assert (run.stepper.steps, run.stepper.refusals) == (2, 0)


def test_throttling_steps_down(run):
    run.seconds(100)
    run.board.put("sys/class/thermal/cooling_device2/cur_state", 4)
    run.seconds(15)
    assert run.events[0].reason == "devfreq-17000000.gpu slows down to step 4 for 10 s"


def test_lateness_steps_down_and_a_few_late_frames_do_not(run):
    run.seconds(100, late=14, done=16)
    assert run.events == []
    run.seconds(10, late=16, done=14)
    assert run.events[0].reason == "most results were late for 5 s"


def test_over_current_alone_does_not(run):
    run.seconds(60)
    for count in range(1, 200):
        run.board.put("sys/devices/platform/soctherm_oc/hwmon/hwmon1/oc3_event_cnt", count)
        run.seconds(1)
    assert run.monitor.state.counts == {"over_current": 1}
    assert run.events == []


def test_a_model_that_does_not_open_is_told_once(tmp_path):
    def broken(index):
        raise ModelFileError("small.onnx: it is cut off")

    run = Run(tmp_path, broken)
    run.seconds(300, late=30, done=1)
    run.close()
    (event,) = run.events
    assert (
        event.text() == "STAYS WITH large.onnx: small.onnx cannot run (small.onnx: it is cut off)"
    )
    assert event.document()["event"] == "model_step_refused"
    assert (run.stepper.steps, run.stepper.refusals, run.stepper.model) == (0, 1, "large.onnx")


def test_a_run_without_frames_waits(tmp_path):
    """While no camera gives frames, a model that is ready waits, and nothing else is asked for."""
    run = Run(tmp_path)
    run.seconds(65, late=30, done=1)
    assert run.swapping.index == 1
    assert run.swapping.request(0)
    wait_for(lambda: run.swapping._ready is not None)
    for second in range(70, 400):
        run.monitor.sample(float(second))
    assert run.swapping.index == 1
    assert run.swapping.busy
    assert run.stepper.steps == 1
    run.close()


def test_what_the_policy_is_told():
    zones = {"cpu": Zone(90.0, 99.0), "gpu": Zone(None, 99.0), "tboard": Zone(30.0)}
    current = ThrottleEvent(0.0, "over_current", "OC3", "OC3 throttled")
    heat = ThrottleEvent(0.0, "thermal", "cpu-throttle-alert", "cpu slows down")
    state = BoardState(BoardReading(0.0, "sysfs", zones=zones), (current, heat))
    signals = signals_of(state, None)
    assert (signals.headroom_c, signals.throttled, signals.late) == (9.0, "cpu slows down", None)
    signals = signals_of(BoardState(BoardReading(0.0, "tegrastats"), (current,)), True)
    assert (signals.headroom_c, signals.throttled, signals.late) == (None, None, True)


def test_the_monitor_s_thread_can_step(tmp_path):
    """The real threads together: a board in trouble, a stepper that may act at once."""
    run = Run(tmp_path)
    run.stepper._policy = StepDown(2, time.monotonic() - 100)
    run.stepper._policy._rules = type(run.stepper._policy._rules)(late_s=0.05)
    run.monitor._period_s = 0.01
    with run.monitor:
        end_s = time.monotonic() + 10
        while not run.events and time.monotonic() < end_s:
            run.counts[0] += 1
            number_of(run.swapping)
            time.sleep(0.002)
    run.swapping.close()
    assert [event.refused for event in run.events] == [None]
    assert run.swapping.index == 1
