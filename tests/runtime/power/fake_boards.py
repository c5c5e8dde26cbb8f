"""Trees of sysfs as boards have them, small enough to read.

Names, units and most numbers are those of public logs: Orin Nano Super with L4T 36.5 (zones, rails,
over-current counters, devfreq, nvpmodel), AGX Thor with L4T 38.4 (zones, cooling devices, INA238),
the device tree of Tegra234 (trip points), rbonghi/jetson_stats (Xavier, bwmgr).  The passive trip
points of Xavier and Thor are assumed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NVPMODEL_CONF = """\
# nvpmodel configuration
< PARAM TYPE=CLOCK NAME=CPU_A78_0 >
FREQ_TABLE /sys/devices/system/cpu/cpufreq/policy0/scaling_available_frequencies
MAX_FREQ /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq

< PARAM TYPE=CLOCK NAME=EMC >
MAX_FREQ /sys/kernel/nvpmodel_emc_cap/emc_iso_cap
MAX_FREQ_KNEXT /sys/kernel/nvpmodel_clk_cap/emc

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 240
CPU_A78_0 MIN_FREQ 729600
CPU_A78_0 MAX_FREQ 1497600
CPU_A78_4 MAX_FREQ 1497600
GPU MIN_FREQ 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=1 NAME=25W >
CPU_A78_0 MAX_FREQ 1344000
GPU MAX_FREQ 918000000
EMC MAX_FREQ 3199000000

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_A78_0 MAX_FREQ -1
GPU MAX_FREQ -1
EMC MAX_FREQ -1

< PM_CONFIG DEFAULT=1 >
"""


class FakeBoard:
    """A folder that looks like ``/`` of a board; a value is changed with :meth:`put`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hwmons = self._zones = self._coolers = 0

    def put(self, path: str, value: object) -> None:
        """Write a file as the kernel shows it, with its line feed."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def zone(self, kind: str, milli_c: int, trips: Mapping[str, int] | None = None) -> str:
        """Add a thermal zone; returns the path of its temperature."""
        folder = f"sys/class/thermal/thermal_zone{self._zones}"
        self._zones += 1
        self.put(f"{folder}/type", kind)
        self.put(f"{folder}/temp", milli_c)
        for number, (name, limit) in enumerate((trips or {}).items()):
            self.put(f"{folder}/trip_point_{number}_type", name.rstrip("0123456789"))
            self.put(f"{folder}/trip_point_{number}_temp", limit)
        return f"{folder}/temp"

    def cooler(self, kind: str, state: int = 0, most: int = 2) -> str:
        """Add a cooling device; returns the path of its state."""
        folder = f"sys/class/thermal/cooling_device{self._coolers}"
        self._coolers += 1
        for name, value in (("type", kind), ("cur_state", state), ("max_state", most)):
            self.put(f"{folder}/{name}", value)
        return f"{folder}/cur_state"

    def hwmon(self, name: str, values: Mapping[str, object]) -> str:
        """Add a hwmon device, a link into its parent as in a real tree; returns its folder."""
        device = f"sys/devices/platform/{name}/hwmon/hwmon{self._hwmons}"
        link = self.root / f"sys/class/hwmon/hwmon{self._hwmons}"
        self._hwmons += 1
        for key, value in {"name": name, **values}.items():
            self.put(f"{device}/{key}", value)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(self.root / device, link.parent))
        return device

    def ina3221(self, rails: Mapping[str, tuple[int, int]]) -> str:
        """Add a monitor of up to three rails (mV, mA), and its sum of shunt voltages."""
        values: dict[str, object] = {"in7_label": "sum of shunt voltages", "in7_input": 3200}
        for channel, (label, (milli_v, milli_a)) in enumerate(rails.items(), 1):
            values |= {
                f"in{channel}_label": label,
                f"in{channel}_input": milli_v,
                f"curr{channel}_input": milli_a,
                f"curr{channel}_max": "32760 ma",
            }
        return self.hwmon("ina3221", values)

    def devfreq(self, name: str, parent: str, hz: int, limit: int, steps: str, load: int) -> str:
        """Add a GPU; returns the folder with its clock."""
        folder = f"{parent}/{name}/devfreq/{name}"
        self.put(f"{folder}/cur_freq", hz)
        self.put(f"{folder}/max_freq", limit)
        self.put(f"{folder}/available_frequencies", steps)
        if load >= 0:
            self.put(f"{parent}/{name}/load", load)
        (self.root / folder / "device").symlink_to("../..")
        link = self.root / "sys/class/devfreq" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(self.root / folder, link.parent))
        return folder

    def policy(self, first: int, khz: int, limit_khz: int, top_khz: int) -> None:
        """Add cores with one clock."""
        folder = f"sys/devices/system/cpu/cpufreq/policy{first}"
        self.put(f"{folder}/scaling_cur_freq", khz)
        self.put(f"{folder}/scaling_max_freq", limit_khz)
        self.put(f"{folder}/cpuinfo_max_freq", top_khz)


ORIN_TRIPS = {"passive": 99000, "critical": 104500}


def orin_nano(root: Path) -> FakeBoard:
    """Jetson Orin Nano Super, L4T 36.5 (JetPack 6.2), mode MAXN_SUPER, busy."""
    board = FakeBoard(root)
    for kind, milli_c in (
        ("cpu-thermal", 57125),
        ("gpu-thermal", 58625),
        ("cv0-thermal", -256000),
        ("cv1-thermal", -256000),
        ("cv2-thermal", -256000),
        ("soc0-thermal", 56625),
        ("soc1-thermal", 55937),
        ("soc2-thermal", 55093),
    ):
        board.zone(kind, milli_c, ORIN_TRIPS)
    active = {"active0": 51000, "active1": 74000, "active2": 95000, "critical": 104500}
    board.zone("tj-thermal", 58312, active)
    for kind in ("cpufreq-cpu0", "cpufreq-cpu4", "devfreq-17000000.gpu"):
        board.cooler(kind, 0, 20)
    board.cooler("pwm-fan", 3, 3)
    for part in ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2"):
        board.cooler(f"{part}-throttle-alert")
    board.cooler("hot-surface-alert")
    board.ina3221({"VDD_IN": (4992, 3269), "VDD_CPU_GPU_CV": (4992, 1423), "VDD_SOC": (4992, 625)})
    board.hwmon(
        "soctherm_oc",
        {
            f"oc{k}_{what}": value
            for k in (1, 2, 3)
            for what, value in (("event_cnt", 0), ("throt_en", 1))
        },
    )
    board.devfreq(
        "17000000.gpu",
        "sys/devices/platform/bus@0",
        1020000000,
        1020000000,
        "306000000 408000000 510000000 612000000 714000000 816000000 918000000 1020000000",
        990,
    )
    board.policy(0, 1728000, 1728000, 1728000)
    board.policy(4, 1728000, 1728000, 1728000)
    board.put("sys/kernel/nvpmodel_clk_cap/emc", 3199000000)
    board.put("etc/nvpmodel.conf", NVPMODEL_CONF)
    board.put("var/lib/nvpmodel/status", "pmode:0002\nfmode:fanmode_quiet")
    return board


def agx_orin(root: Path) -> FakeBoard:
    """Jetson AGX Orin, L4T 35 (JetPack 5.1): two power monitors, older names; read as root."""
    board = FakeBoard(root)
    for kind, milli_c in (("CPU-therm", 44562), ("GPU-therm", -256000), ("tj-therm", 44343)):
        board.zone(kind, milli_c, ORIN_TRIPS)
    board.zone("Tboard_tegra", 32000)
    for kind in ("thermal-cpufreq-0", "thermal-devfreq-0", "gpu-throttle-alert"):
        board.cooler(kind)
    board.ina3221(
        {"VDD_GPU_SOC": (19800, 118), "VDD_CPU_CV": (19800, 20), "VIN_SYS_5V0": (5000, 805)}
    )
    board.ina3221({"NC": (0, 0), "VDDQ_VDD2_1V8AO": (5000, 60)})
    board.hwmon("soctherm_oc", {f"oc{number}_event_cnt": 0 for number in (1, 2, 3)})
    board.devfreq("17000000.ga10b", "sys/devices", 306000000, 1300500000, "306000000 1300500000", 0)
    board.policy(0, 729600, 2201600, 2201600)
    board.put("sys/kernel/debug/bpmp/debug/clk/emc/rate", 2133000000)
    board.put("sys/kernel/debug/bpmp/debug/clk/emc/max_rate", 3199000000)
    board.put("sys/kernel/nvpmodel_emc_cap/emc_iso_cap", 0)
    return board


def xavier(root: Path) -> FakeBoard:
    """Jetson AGX Xavier, L4T 35 (JetPack 5.1)."""
    board = FakeBoard(root)
    trips = {"passive": 95500, "critical": 101000}
    for kind, milli_c in (("CPU-therm", 37500), ("GPU-therm", 37500), ("AUX-therm", 36000)):
        board.zone(kind, milli_c, trips)
    board.zone("PMIC-Die", 50000)
    board.ina3221({"GPU": (19000, 16), "CPU": (19000, 17), "SOC": (19000, 49)})
    board.ina3221({"CV": (19000, 0), "VDDRQ": (19000, 33), "SYS5V": (19000, 78)})
    board.devfreq(
        "17000000.gv11b", "sys/devices", 318750000, 1377000000, "114750000 1377000000", 120
    )
    board.policy(0, 1190400, 2265600, 2265600)
    return board


def thor(root: Path) -> FakeBoard:
    """Jetson AGX Thor, L4T 38.4 (JetPack 7.1), idle: its GPU is switched off."""
    board = FakeBoard(root)
    trips = {"passive": 109000, "critical": 114500}
    for kind, milli_c in (
        ("tj-thermal", 55100),
        ("soc012-thermal", 55100),
        ("cpu-thermal", 53700),
        ("soc345-thermal", 53700),
    ):
        board.zone(kind, milli_c, trips)
    # The sensor of a GPU that is switched off cannot be read: a folder fails as it does.
    off = board.root / board.zone("gpu-thermal", 0, trips)
    off.unlink()
    off.mkdir()
    board.cooler("cpufreq-cpu0", 0, 48)
    board.cooler("pwm-fan", 0, 4)
    for part in ("cpu", "gpu", "soc012"):
        board.cooler(f"{part}-throttle-alert")
    board.cooler("devfreq-gpu-gpc-0", 0, 169)
    board.ina3221(
        {"VDD_GPU": (19700, 0), "VDD_CPU_SOC_MSS": (19700, 330), "VIN_SYS_5V0": (5000, 1304)}
    )
    board.hwmon("ina238", {"in1_label": "VIN", "in1_input": 19600, "power1_input": 28906000})
    board.hwmon(
        "soctherm_oc", {f"oc{k}_event_cnt": count for k, count in ((1, 0), (2, 8), (3, 813))}
    )
    board.devfreq("gpu-nvd-0", "sys/devices/pci0000:00", 0, 1700000000, "1700000000", -1)
    board.devfreq("gpu-gpc-0", "sys/devices/pci0000:01", 0, 1575000000, "315000000 1575000000", -1)
    board.policy(0, 2601000, 2601000, 2601000)
    board.put("sys/class/devfreq/bwmgr/cur_freq", 4266000000)
    board.put("sys/kernel/nvpmodel_clk_cap/emc", 4266000000)
    return board


def pc(root: Path) -> FakeBoard:
    """A laptop with an x86 processor."""
    board = FakeBoard(root)
    board.zone("acpitz", 47000, {"critical": 119000})
    board.zone("acpitz", 25000)
    board.zone("iwlwifi_1", 41000)
    board.zone("x86_pkg_temp", 49000, {"passive": 0, "passive1": -274000})
    for _ in range(2):
        board.cooler("Processor", 0, 3)
    board.cooler("intel_powerclamp", -1, 50)
    board.cooler("TCC Offset", 10, 63)
    board.hwmon("nvme", {"temp1_input": 38850, "temp1_label": "Composite"})
    board.policy(0, 1400000, 4600000, 4600000)
    board.put("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", 7)
    return board
