"""Lines that tegrastats printed on real boards; each test names the board and where it is from."""

from __future__ import annotations

import os
import stat
import time

import pytest

from differseg.errors import MissingComponentError
from differseg.runtime.power.tegrastats import TegrastatsBoard, parse_line

XAVIER_AGX_L4T32 = (  # DataDog/datadog-agent, test of its jetson check
    "RAM 721/31927MB (lfb 7291x4MB) SWAP 0/15963MB (cached 0MB) CPU [2%@1190,0%@1190,0%@1190,"
    "0%@1190,off,off,off,off] EMC_FREQ 0%@665 GR3D_FREQ 0%@318 APE 150 MTS fg 0% bg 0% AO@37.5C "
    "GPU@37.5C Tdiode@40C PMIC@100C AUX@36C CPU@37.5C thermal@36.9C Tboard@37C GPU 0/0 CPU 311/311 "
    "SOC 932/932 CV 0/0 VDDRQ 621/621 SYS5V 1482/1482"
)
XAVIER_NX_L4T35 = (  # an exporter's test, "XavierNXJetPack512"
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,"
    "17%@1192,16%@1190,13%@1190,23%@1190,10%@1190] EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115 "
    "APE 150 AUX@45C CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C VDD_IN 2763mW/2846mW "
    "VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)
ORIN_AGX_L4T35 = (  # a Go parser's test
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,"
    "0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ "
    "0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C "
    "Tdiode@33C SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC "
    "2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO "
    "301mW/301mW NC 0mW/0mW"
)
ORIN_NANO_L4T36 = (  # Orin Nano Super, L4T 36.4.3, under load
    "10-08-2026 04:35:02 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) CPU [38%@1497,"
    "2%@729,1%@729,0%@729,1%@729,0%@729] EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] NVDEC off NVJPG off "
    "VIC off OFA off APE 200 cpu@57.125C soc2@55.093C soc0@56.625C gpu@58.625C tj@58.312C "
    "soc1@55.937C VDD_IN 16321mW/11204mW VDD_CPU_GPU_CV 7104mW/4944mW VDD_SOC 3120mW/3659mW"
)
ORIN_AGX_L4T39 = (  # rbonghi/jetson_stats, tests of its parser: JetPack 7.2
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,4%@2201,14%@2201] "
    "EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC "
    "off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.968C/52.968C "
    "soc2@48.406C/48.406C "
    "soc0@49.531C/49.531C gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV "
    "3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
THOR_BUSY = (  # AGX Thor, L4T 39: a telemetry script's test
    "08-08-2026 21:00:39 RAM 8353/125749MB (lfb 31x4MB) CPU [90%@2601,75%@2601,off,7%@2601] "
    "EMC_FREQ 34%@4266 GR3D_FREQ 87%@[1574,1574,1574] NVENC0_FREQ @1691 VIC off "
    "cpu@58.25C/61.75C tj@66.625C/66.625C gpu@56.937C/66.625C soc012@55.375C/58.781C "
    "soc345@55.812C/60.031C VDD_GPU 37939mW/8660mW/37939mW VDD_CPU_SOC_MSS 30059mW/12281mW/30059mW "
    "VIN_SYS_5V0 15486mW/7424mW/15486mW VIN 124486mW/36487mW/124486mW FUTURE_TOKEN value"
)
THOR_IDLE = (  # the same board
    "08-08-2026 20:58:23 RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
    "GR3D_FREQ @[1574,1574,1574] cpu@49.75C/49.75C tj@51.218C/51.218C gpu@51.218C/51.218C "
    "VDD_GPU 6330mW/6330mW/6330mW VIN 28906mW/14453mW/28906mW"
)


@pytest.mark.parametrize(
    ("line", "hottest", "power_w", "gpu", "emc", "cpu"),
    [
        (XAVIER_AGX_L4T32, ("tdiode", 40.0), 3.346, (318, 0.0), (665, 0.0), (1190, 0.005)),
        (XAVIER_NX_L4T35, ("cpu", 46.5), 2.763, (114, 0.0), (204, 0.02), (1397, 0.17)),
        (ORIN_AGX_L4T35, ("cpu", 44.562), 6.755, (None, 0.0), (2133, 0.0), (729, 0.0)),
        (ORIN_NANO_L4T36, ("gpu", 58.625), 16.321, (612, 0.99), (2133, 0.61), (1497, 0.07)),
        (ORIN_AGX_L4T39, ("cpu", 52.968), 13.907, (1300, 0.12), (3199, 0.03), (2201, 0.1275)),
        (THOR_BUSY, ("tj", 66.625), 124.486, (1574, 0.87), (4266, 0.34), (2601, 0.5733)),
        (THOR_IDLE, ("tj", 51.218), 28.906, (1574, None), (4266, None), (2601, 0.025)),
    ],
    ids=lambda value: value[:19] if isinstance(value, str) else None,
)
def test_lines_of_real_boards(line, hottest, power_w, gpu, emc, cpu):
    reading = parse_line(line, 5.0)
    assert (reading.time_s, reading.source) == (5.0, "tegrastats")
    assert reading.hottest in (hottest, ("gpu", 51.218))
    assert reading.hottest[1] == hottest[1]
    assert reading.power_w == pytest.approx(power_w)
    for name, (mhz, load) in (("gpu", gpu), ("emc", emc), ("cpu", cpu)):
        clock = reading.clocks[name]
        assert clock.hz == (None if mhz is None else mhz * 1e6)
        assert clock.load == (None if load is None else pytest.approx(load, abs=1e-4))


def test_names_and_sensors_that_are_off():
    reading = parse_line(ORIN_AGX_L4T35, 0.0)
    assert set(reading.zones) == set("cv0 cpu tboard soc2 tdiode soc0 cv1 gpu tj soc1 cv2".split())
    assert reading.zones["gpu"].temperature_c is None
    assert reading.power_of == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    assert set(reading.rails_w) == {*reading.power_of, "VDDQ_VDD2_1V8AO"}


def test_memory_is_no_rail():
    assert set(parse_line(XAVIER_NX_L4T35, 0.0).rails_w) == {
        "VDD_IN",
        "VDD_CPU_GPU_CV",
        "VDD_SOC",
    }


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "tegrastats: not found",
        "warning RAM 200/100MB CPU [bad,off] UNKNOWN 1",
        "GR3D_FREQ off EMC_FREQ off CPU [off,off]",
        THOR_BUSY[:250].replace("@", "") + "VIN 12",
    ],
)
def test_other_lines_say_nothing(line):
    reading = parse_line(line, 0.0)
    assert (reading.zones, reading.rails_w, reading.power_w) == ({}, {}, None)
    assert all(clock.hz is None for clock in reading.clocks.values())


def test_every_cut_of_a_line_can_be_read():
    for line in (XAVIER_AGX_L4T32, ORIN_AGX_L4T35, THOR_BUSY):
        for end in range(len(line)):
            parse_line(line[:end], 0.0)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Returns what installs a script as ``tegrastats``."""

    def install(script):
        path = tmp_path / "tegrastats"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def wait_for(condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.01)


def test_the_tool_is_followed_and_ended(tool):
    tool(f"[ $1 $2 = '--interval500' ] || echo '{ORIN_NANO_L4T36}'\nexec sleep 60")
    board = TegrastatsBoard(interval_s=0.5)
    try:
        wait_for(lambda: board.read(time.monotonic()).power_w == 16.321)
        later = board.read(time.monotonic() + 6)
        assert (later.power_w, later.zones) == (None, {})  # an old line is not of this moment
    finally:
        begin_s = time.monotonic()
        board.close()
    assert time.monotonic() - begin_s < 5
    assert board._process.poll() is not None


def test_a_tool_that_ends_leaves_empty_readings(tool):
    tool("echo broken; exit 1")
    board = TegrastatsBoard()
    wait_for(lambda: board._process.poll() is not None)
    assert board.read(time.monotonic()).power_w is None
    board.close()


def test_without_the_tool_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingComponentError, match=r"tegrastats is not on the PATH; it comes"):
        TegrastatsBoard()
