from __future__ import annotations

import os

import pytest
from fake_boards import NVPMODEL_CONF, FakeBoard

from differseg.runtime.power.nvpmodel import PowerModes, parse_modes


def test_the_modes_of_an_orin_nano_super():
    modes, default = parse_modes(NVPMODEL_CONF)
    assert default == 1
    assert {number: mode.name for number, mode in modes.items()} == {
        0: "15W",
        1: "25W",
        2: "MAXN_SUPER",
    }
    assert (modes[0].gpu_hz, modes[0].cpu_hz, modes[0].emc_hz) == (612e6, 1497.6e6, 2133e6)
    assert modes[1].emc_hz == 3199e6  # more than 31 bits hold
    assert (modes[2].gpu_hz, modes[2].cpu_hz, modes[2].emc_hz) == (None, None, None)


def test_definitions_above_the_modes_are_no_limits():
    modes, default = parse_modes("< PARAM TYPE=CLOCK NAME=GPU >\nGPU MAX_FREQ 1\n")
    assert (modes, default) == ({}, None)


@pytest.mark.parametrize(
    ("status", "number", "name"),
    [
        ("pmode:0000", 0, "15W"),
        ("pmode:0002\nfmode:fanmode_quiet", 2, "MAXN_SUPER"),
        ("fmode:fanmode_quiet\npmode:0001", 1, "25W"),
        ("pmode:0009", 9, None),
        ("nonsense", 1, "25W"),
        (None, 1, "25W"),
    ],
)
def test_the_mode_that_is_set(tmp_path, status, number, name):
    board = FakeBoard(tmp_path)
    board.put("etc/nvpmodel.conf", NVPMODEL_CONF)
    if status is not None:
        board.put("var/lib/nvpmodel/status", status)
    mode = PowerModes(tmp_path).read()
    assert (mode.id, mode.name) == (number, name)


def test_a_change_is_seen(tmp_path):
    board = FakeBoard(tmp_path)
    board.put("etc/nvpmodel.conf", NVPMODEL_CONF)
    board.put("var/lib/nvpmodel/status", "pmode:0000")
    modes = PowerModes(tmp_path)
    assert modes.read().name == "15W"
    board.put("var/lib/nvpmodel/status", "pmode:0002")
    os.utime(tmp_path / "var/lib/nvpmodel/status", (5, 5))
    assert modes.read().name == "MAXN_SUPER"
    (tmp_path / "var/lib/nvpmodel/status").unlink()
    assert modes.read().name == "25W"


def test_without_nvpmodel_there_is_no_mode(tmp_path):
    assert PowerModes(tmp_path).read() is None


def test_a_status_without_a_configuration_has_a_number_only(tmp_path):
    FakeBoard(tmp_path).put("var/lib/nvpmodel/status", "pmode:0003")
    mode = PowerModes(tmp_path).read()
    assert (mode.id, mode.name, mode.gpu_hz) == (3, None, None)
