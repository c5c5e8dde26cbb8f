from __future__ import annotations

import json

import pytest
from fake_boards import FakeBoard, orin_nano, pc

from differseg.runtime.power import main
from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.monitor import BoardMonitor
from differseg.runtime.power.report import (
    board_metrics,
    state_document,
    state_lines,
    step_metrics,
)


def state_of(board, seconds=2, change=None):
    monitor = BoardMonitor(SysfsBoard(board.root))
    for second in range(seconds):
        monitor.sample(float(second))
        if change is not None:
            change()
    monitor.close()
    return monitor.state


def page(metrics):
    """Return what Prometheus would read, as a dict of its lines."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Fixed(Collector):
        def collect(self):
            yield from metrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed())
    text = generate_latest(registry).decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_lines_for_people(tmp_path):
    board = orin_nano(tmp_path)
    assert state_lines(state_of(board)) == (
        "MAXN_SUPER (2), 16.3 W",
        "gpu 58.6 C, gpu 40 C below its limit, GPU 1020 of 1020 MHz, 99 % busy",
    )
    board.put("sys/class/thermal/cooling_device5/cur_state", 1)
    assert state_lines(state_of(board))[0] == (
        "THROTTLING (thermal): gpu-throttle-alert slows down to step 1"
    )


def test_nothing_known_is_nothing_said(tmp_path):
    state = state_of(FakeBoard(tmp_path))
    assert state_lines(state) == ()
    assert state_document(state)["power_w"] is None
    assert {
        name for name, _ in page(board_metrics(state)).items() if "throttle" not in name
    } == set()


def test_the_document_is_json_and_says_what_is_unknown(tmp_path):
    document = json.loads(
        json.dumps(state_document(state_of(orin_nano(tmp_path))), allow_nan=False)
    )
    assert document["mode"] == "MAXN_SUPER (2)"
    assert document["zones_c"]["gpu"] == {
        "temperature": 58.6,
        "throttles_at": 99.0,
        "critical_at": 104.5,
    }
    assert document["zones_c"]["cv0"]["temperature"] is None
    assert document["clocks_mhz"]["gpu"] == {
        "now": 1020.0,
        "limit": 1020.0,
        "top": 1020.0,
        "load": 0.99,
    }
    assert document["energy_j"] == 16.3


def test_metrics(tmp_path):
    board = orin_nano(tmp_path)
    counter = "sys/devices/platform/soctherm_oc/hwmon/hwmon1/oc1_event_cnt"
    values = page(board_metrics(state_of(board, change=lambda: board.put(counter, 3))))
    assert values['differseg_board_temperature_celsius{zone="gpu"}'] == "58.625"
    assert 'differseg_board_temperature_celsius{zone="cv0"}' not in values
    assert values['differseg_board_headroom_celsius{zone="gpu"}'] == "40.375"
    assert float(values["differseg_board_power_watts"]) == pytest.approx(16.319, abs=1e-3)
    assert float(values['differseg_board_rail_power_watts{rail="VDD_SOC"}']) == pytest.approx(3.12)
    assert float(values["differseg_board_energy_joules_total"]) == pytest.approx(16.319, abs=1e-3)
    assert values['differseg_board_clock_hertz{clock="gpu"}'] == "1.02e+09"
    assert values['differseg_board_clock_limit_hertz{clock="emc"}'] == "3.199e+09"
    assert values['differseg_board_load_ratio{clock="gpu"}'] == "0.99"
    assert values['differseg_board_power_mode_info{id="2",name="MAXN_SUPER"}'] == "1.0"
    assert values['differseg_board_throttled{kind="over_current"}'] == "1.0"
    assert values['differseg_board_throttled{kind="thermal"}'] == "0.0"
    assert values['differseg_board_throttle_events_total{kind="over_current"}'] == "1.0"


def test_metrics_of_the_model_that_runs():
    class Stepper:
        model, steps, refusals = "small.onnx", 3, 1

    values = page(step_metrics(Stepper(), ("large.onnx", "small.onnx")))
    assert values == {
        'differseg_model_running{model="large.onnx"}': "0.0",
        'differseg_model_running{model="small.onnx"}': "1.0",
        "differseg_model_steps_total": "3.0",
        "differseg_model_step_refusals_total": "1.0",
    }


def test_the_command_shows_a_board(tmp_path, capsys):
    pc(tmp_path)
    assert main(["--root", str(tmp_path), "--seconds", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "sysfs: it has 3 thermal zones, 1 clock, 2 cooling devices, 1 throttle counter"
    )
    assert lines[1] == "x86_pkg_temp 49.0 C, acpitz 72 C below its limit"
    assert [" ".join(line.split()) for line in lines[2:6]] == [
        "zone acpitz 47.0 C critical at 119 C",
        "zone acpitz+ 25.0 C",
        "zone x86_pkg_temp 49.0 C",
        "clock cpu0 1400 MHz limit 4600 MHz",
    ]


def test_the_command_gives_json(tmp_path, capsys):
    orin_nano(tmp_path)
    assert main(["--root", str(tmp_path), "--seconds", "0.01", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["state"]["power_of"] == ["VDD_IN"]
    assert document["summary"]["samples"] == 1


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["--seconds", "0"], 2, "error[E_INPUT]: --seconds: expected more than 0, got 0.0"),
        (["--seconds", "nan"], 2, "error[E_INPUT]: --seconds: expected more than 0, got nan"),
        (["--root", "/no/such"], 2, "error[E_INPUT]: --root /no/such: there is no such folder"),
        (["--source", "tegrastats"], 3, "error[E_MISSING]: tegrastats is not on the PATH"),
    ],
)
def test_mistakes_are_one_line(argv, status, text, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(argv) == status
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(text)
