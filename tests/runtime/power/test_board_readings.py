"""What is read from trees of sysfs as boards have them."""

from __future__ import annotations

import os

import pytest
from fake_boards import agx_orin, orin_nano, pc, thor, xavier

from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.rails import total_power
from differseg.runtime.power.zones import zone_name


def read(board, now_s=0.0):
    sysfs = SysfsBoard(board.root)
    reading = sysfs.read(now_s)
    sysfs.close()
    return reading


def test_orin_nano(tmp_path):
    reading = read(orin_nano(tmp_path))
    assert list(reading.zones) == "cpu gpu cv0 cv1 cv2 soc0 soc1 soc2 tj".split()
    gpu = reading.zones["gpu"]
    assert (gpu.temperature_c, gpu.throttle_c, gpu.critical_c) == (58.625, 99.0, 104.5)
    assert reading.zones["cv0"].temperature_c is None
    assert reading.zones["cv0"].headroom_c is None
    assert reading.hottest == ("gpu", 58.625)
    assert reading.tightest == ("gpu", pytest.approx(40.375))
    assert reading.zones["tj"].throttle_c is None  # a fan's trip points slow nothing down
    assert reading.zones["tj"].headroom_c == pytest.approx(104.5 - 58.312)
    assert reading.power_of == ("VDD_IN",)
    assert reading.power_w == pytest.approx(4.992 * 3.269)
    assert set(reading.rails_w) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
    clock = reading.clocks["gpu"]
    assert (clock.hz, clock.limit_hz, clock.top_hz, clock.load) == (1.02e9, 1.02e9, 1.02e9, 0.99)
    assert reading.clocks["cpu4"].limit_hz == 1.728e9
    assert reading.clocks["emc"].hz is None  # only root may read it
    assert reading.clocks["emc"].limit_hz == 3.199e9
    assert (reading.mode.id, reading.mode.name) == (2, "MAXN_SUPER")
    assert len(reading.cooling) == 12
    assert "pwm-fan" not in reading.cooling
    assert reading.counters == {"OC1": 0, "OC2": 0, "OC3": 0}


def test_agx_orin_adds_its_rails_and_counts_no_part_twice(tmp_path):
    reading = read(agx_orin(tmp_path))
    assert reading.power_of == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    assert reading.power_w == pytest.approx(19.8 * 0.138 + 5 * 0.805)
    assert reading.rails_w["VDDQ_VDD2_1V8AO"] == pytest.approx(0.3)  # in VIN_SYS_5V0 already
    assert "NC" not in reading.rails_w
    assert reading.zones["gpu"].temperature_c is None
    assert reading.clocks["gpu"].load == 0.0
    emc = reading.clocks["emc"]
    assert (emc.hz, emc.limit_hz, emc.top_hz) == (2.133e9, None, 3.199e9)
    assert set(reading.cooling) == {
        "thermal-cpufreq-0",
        "thermal-devfreq-0",
        "gpu-throttle-alert",
    }
    assert reading.mode is None


def test_xavier(tmp_path):
    reading = read(xavier(tmp_path))
    assert set(reading.zones) == {"cpu", "gpu", "aux"}  # PMIC-Die holds a constant
    assert reading.power_of == ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
    assert reading.power_w == pytest.approx(19 * 0.193)
    assert reading.clocks["gpu"].load == 0.12
    assert reading.counters == {}


def test_thor_takes_the_input_rail_and_its_gpu_is_off(tmp_path):
    reading = read(thor(tmp_path))
    assert (reading.power_w, reading.power_of) == (28.906, ("VIN",))
    assert reading.rails_w["VDD_CPU_SOC_MSS"] == pytest.approx(19.7 * 0.33)
    assert reading.zones["gpu"].temperature_c is None
    assert reading.zones["soc345"].critical_c == 114.5
    gpu = reading.clocks["gpu"]
    assert (gpu.hz, gpu.limit_hz, gpu.load) == (None, 1.575e9, None)
    assert reading.clocks["emc"].hz == 4.266e9
    assert reading.counters == {"OC1": 0, "OC2": 8, "OC3": 813}


def test_thor_without_its_input_monitor_adds_the_rails(tmp_path):
    board = thor(tmp_path)
    (board.root / "sys/devices/platform/ina238/hwmon/hwmon1/name").write_text("other\n")
    reading = read(board)
    assert reading.power_of == ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")
    assert reading.power_w == pytest.approx(19.7 * 0.33 + 5 * 1.304)


def test_pc(tmp_path):
    reading = read(pc(tmp_path))
    assert list(reading.zones) == ["acpitz", "acpitz+", "x86_pkg_temp"]
    assert reading.zones["x86_pkg_temp"].headroom_c is None  # trip points of 0 are not in use
    assert reading.tightest == ("acpitz", 72.0)
    assert list(reading.cooling) == ["Processor", "Processor 1"]
    assert reading.counters == {"package": 7}
    assert (reading.power_w, reading.rails_w, reading.mode) == (None, {}, None)


def test_a_machine_with_nothing(tmp_path):
    reading = read(type("Bare", (), {"root": tmp_path}))
    assert (reading.zones, reading.clocks, reading.rails_w) == ({}, {}, {})
    assert (reading.power_w, reading.mode, reading.hottest, reading.tightest) == (None,) * 4


def test_this_machine_can_be_read():
    board = SysfsBoard()
    assert board.read(0.0).source == "sysfs"
    board.close()


@pytest.mark.parametrize("text", ["", "N/A", "not a number\n", "\x00\xff"])
def test_nonsense_in_any_file_is_none(tmp_path, text):
    board = orin_nano(tmp_path)
    for path in board.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in ("type", "name"):
            path.write_text(text)
    reading = read(board)
    assert reading.hottest is None
    assert reading.rails_w == {}
    assert all(clock.hz is None and clock.limit_hz is None for clock in reading.clocks.values())
    assert (reading.cooling, reading.counters, reading.mode) == ({}, {}, None)


def test_values_change_between_readings_and_files_are_kept_open(tmp_path):
    board = orin_nano(tmp_path)
    sysfs = SysfsBoard(board.root)
    sysfs.read(0.0)
    open_files = len(os.listdir("/proc/self/fd"))
    board.put("sys/class/thermal/thermal_zone1/temp", 99500)
    board.put("sys/devices/platform/ina3221/hwmon/hwmon0/curr1_input", 5000)
    reading = sysfs.read(1.0)
    assert reading.tightest == ("gpu", -0.5)
    assert reading.power_w == pytest.approx(24.96)
    for second in range(2, 200):
        sysfs.read(float(second))
    assert len(os.listdir("/proc/self/fd")) == open_files
    sysfs.close()
    assert len(os.listdir("/proc/self/fd")) < open_files - 30


def test_a_sensor_that_answers_eagain_is_none_and_asked_again(tmp_path, monkeypatch):
    board = orin_nano(tmp_path)
    sysfs = SysfsBoard(board.root)
    sysfs.read(0.0)
    pread, off = os.pread, [True]

    def pread_of_a_gated_gpu(descriptor, size, offset):
        data = pread(descriptor, size, offset)
        if off[0] and data == b"58625\n":
            raise BlockingIOError
        return data

    monkeypatch.setattr(os, "pread", pread_of_a_gated_gpu)
    opened = []
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args))
    assert sysfs.read(1.0).zones["gpu"].temperature_c is None
    assert opened == []  # it costs no more than any other
    assert sysfs.read(1.5).zones["cpu"].temperature_c == 57.125
    off[0] = False
    assert sysfs.read(2.0).zones["gpu"].temperature_c == 58.625
    sysfs.close()


def test_drivers_that_are_loaded_later_are_found_within_a_minute(tmp_path):
    board = orin_nano(tmp_path)
    hwmon = board.root / "sys/class/hwmon"
    hwmon.rename(board.root / "later")
    sysfs = SysfsBoard(board.root)
    assert sysfs.read(0.0).power_w is None
    (board.root / "later").rename(hwmon)
    assert sysfs.read(59.0).power_w is None
    assert sysfs.read(60.0).power_w == pytest.approx(16.319, abs=0.001)
    sysfs.close()


def test_a_driver_that_is_loaded_again_is_read_again(tmp_path, monkeypatch):
    board = orin_nano(tmp_path)
    sysfs = SysfsBoard(board.root)
    sysfs.read(0.0)

    def gone(descriptor, size, offset):
        raise OSError(19, "No such device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", gone)
        assert sysfs.read(1.0).rails_w == {}
    assert len(sysfs.read(2.0).rails_w) == 3
    sysfs.close()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("CPU-therm", "cpu"),
        ("cpu-thermal", "cpu"),
        ("tj-thermal", "tj"),
        ("soc012-thermal", "soc012"),
        ("x86_pkg_temp", "x86_pkg_temp"),
        ("Tboard_tegra", "tboard_tegra"),
        ("thermal", "thermal"),
        ("PMIC-Die", None),
        ("", None),
    ],
)
def test_names_of_zones(kind, name):
    assert zone_name(kind) == name


def test_rails_that_are_not_known_to_be_the_whole_have_no_sum():
    assert total_power({"VDD_CPU_GPU_CV": 3.0, "VDD_SOC": 1.0}) == (None, ())
    assert total_power({}) == (None, ())
