from __future__ import annotations

import json
import logging
import os
import threading
import time
from dataclasses import asdict

import pytest
from fake_boards import FakeBoard, orin_nano

from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.monitor import BoardMonitor, open_board
from differseg.runtime.power.tegrastats import TegrastatsBoard


def wait_for(condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.005)


def test_a_thread_samples_and_knows_the_present(tmp_path):
    board = orin_nano(tmp_path)
    events, states = [], []
    monitor = BoardMonitor(SysfsBoard(tmp_path), period_s=0.01, on_event=events.append)
    monitor.listen(states.append)
    with monitor:
        assert monitor.state.reading.mode.name == "MAXN_SUPER"  # from the first moment on
        board.put("sys/devices/platform/soctherm_oc/hwmon/hwmon1/oc3_event_cnt", 5)
        wait_for(lambda: events)
        wait_for(lambda: len(states) > 5)
    assert [event.what for event in events] == ["OC3"]
    assert monitor.state.counts == {"over_current": 1}
    assert monitor.state.throttling == tuple(events)
    assert monitor.state.energy_j > 0
    assert not any(thread.name == "board" for thread in threading.enumerate())
    number = len(states)
    time.sleep(0.05)
    assert len(states) == number


def test_sums_over_a_run(tmp_path):
    board = orin_nano(tmp_path)
    current = "sys/devices/platform/ina3221/hwmon/hwmon0/curr1_input"
    board.put("sys/devices/platform/ina3221/hwmon/hwmon0/in1_input", 5000)
    monitor = BoardMonitor(SysfsBoard(tmp_path))
    for second in range(11):
        board.put(current, 2000 if second < 10 else 4000)
        board.put("sys/class/thermal/thermal_zone0/temp", 50000 + 1000 * (second % 3))
        board.put("sys/class/thermal/cooling_device0/cur_state", int(second in (4, 5)))
        monitor.sample(float(second))
    monitor.sample(1000.0)  # a suspended board used nothing that is known
    summary = monitor.summary()
    assert summary.samples == 12
    assert summary.energy_j == pytest.approx(9 * 10 + 15)
    assert summary.mean_power_w == pytest.approx(10.5)
    assert summary.highest_power_w == 20.0
    assert summary.power_of == ["VDD_IN"]
    assert summary.highest_c["cpu"] == 52.0
    assert "cv0" not in summary.highest_c
    assert summary.throttle_events == {"thermal": 1}
    assert summary.throttled_s["thermal"] == 7.0  # two seconds, and what is held after them
    assert summary.mode == "MAXN_SUPER (2)"
    assert json.loads(json.dumps(asdict(summary), allow_nan=False))["last_events"][0]["what"]
    monitor.close()


def test_a_board_with_nothing_has_a_summary_too(tmp_path):
    monitor = BoardMonitor(SysfsBoard(tmp_path))
    monitor.sample(0.0)
    monitor.sample(1.0)
    summary = monitor.summary()
    assert (summary.energy_j, summary.mean_power_w, summary.mode) == (None, None, None)
    assert summary.highest_c == {}
    monitor.close()


def test_a_fault_ends_no_run_and_is_told_once(tmp_path, caplog):
    board, calls = orin_nano(tmp_path), []
    monitor = BoardMonitor(SysfsBoard(board.root), period_s=0.01)

    def fail(state):
        calls.append(state)
        if len(calls) > 1:
            raise RuntimeError("a listener is broken")

    monitor.listen(fail)
    with caplog.at_level(logging.ERROR), monitor:
        wait_for(lambda: len(calls) > 5)
    assert [record.message for record in caplog.records] == [
        "the board cannot be sampled: RuntimeError: a listener is broken"
    ]


def test_memory_and_files_do_not_grow(tmp_path):
    board = orin_nano(tmp_path)
    monitor = BoardMonitor(SysfsBoard(board.root))
    monitor.sample(0.0)
    open_files = len(os.listdir("/proc/self/fd"))
    for second in range(1, 400):
        board.put("sys/class/thermal/cooling_device0/cur_state", int(second % 20 < 2))
        monitor.sample(float(second))
    state = monitor.state
    assert state.counts["thermal"] == 20
    assert len(state.events) == 20
    assert len(os.listdir("/proc/self/fd")) == open_files
    monitor.close()
    monitor.close()


def test_sampling_is_cheap(tmp_path):
    """A bound that a slow test machine keeps too; benchmarks/board_monitor.py measures."""
    orin_nano(tmp_path)
    monitor = BoardMonitor(SysfsBoard(tmp_path))
    monitor.sample(0.0)
    begin_s = time.thread_time()
    for _ in range(100):
        monitor.sample(1.0)
    assert (time.thread_time() - begin_s) / 100 < 0.001
    monitor.close()


def test_sysfs_is_read_where_it_says_anything(tmp_path):
    orin_nano(tmp_path)
    board, reason = open_board(tmp_path)
    assert isinstance(board, SysfsBoard)
    assert reason == (
        "sysfs: it has 9 thermal zones, 3 power rails, 4 clocks, 12 cooling devices, "
        "3 throttle counters"
    )
    board.close()


def test_tegrastats_is_asked_where_sysfs_is_silent(tmp_path, monkeypatch):
    FakeBoard(tmp_path).put("tegrastats", "#!/bin/sh\nexec sleep 60")
    (tmp_path / "tegrastats").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    board, reason = open_board(tmp_path)
    board.close()
    assert isinstance(board, TegrastatsBoard)
    assert reason == "tegrastats: sysfs has no thermal zones and no power rails"


def test_a_machine_with_nothing_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    board, reason = open_board(tmp_path)
    assert isinstance(board, SysfsBoard)
    assert reason == "sysfs: it has nothing to read here"
    board.close()
