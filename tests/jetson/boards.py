"""Made-up boards: the files and commands by which jetson/install.sh knows one, in a folder.

The lines are those of real boards: ``/etc/nv_tegra_release`` and ``nvpmodel -q`` as public reports
of Orin and Thor show them, ``/etc/nvpmodel.conf`` as NVIDIA's guide describes the format.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

NVPMODEL_CONF = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
THOR_CONF = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n"


@dataclass(frozen=True)
class Board:
    """What a board is and has; None where it is missing."""

    model: str | None = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    soc: str | None = "tegra234"
    machine: str = "aarch64"
    l4t: str | None = "36.4.3"
    package: str | None = "36.4.3-20250107174145"
    python: str | None = "3.10.12"
    venv: bool = True
    tensorrt: str = "10.3.0"
    headers: str | None = "10.3"
    nvcc: bool = True
    opencv: str = "4.8.0"
    gstreamer: bool = True
    memory_mib: int = 7620
    available_mib: int = 5900
    swap_mib: int = 4096
    disk_mib: int = 40_000
    power_mode: str | None = "MAXN_SUPER"
    nvpmodel_conf: str = NVPMODEL_CONF
    fails: dict[str, int] = field(default_factory=dict)
    """Word of a command line -> exit status: the first one fails so."""
    hangs_at: str | None = None
    """Word of a command line that does not end by itself."""

    def but(self, **changes):
        """Return this board with other values."""
        return replace(self, **changes)


ORIN_62 = Board()
ORIN_60 = Board(
    model="NVIDIA Jetson AGX Orin Developer Kit", l4t="36.3.0", package="36.3.0-20240506102626",
    tensorrt="8.6.2", headers="8.6", memory_mib=62_800, available_mib=58_000, power_mode="MAXN",
)  # fmt: skip
ORIN_513 = Board(
    model="NVIDIA Jetson AGX Orin", l4t="35.5.0", package="35.5.0-20240613202628",
    python="3.8.10", tensorrt="8.5.2", headers="8.5", memory_mib=30_600, available_mib=28_000,
    power_mode="MAXN",
)  # fmt: skip
ORIN_72 = Board(l4t="39.2.0", package="39.2.0-20260601144207", python="3.12.3",
                tensorrt="10.16.2", headers="10.16")  # fmt: skip
THOR_71 = Board(
    model="NVIDIA Jetson AGX Thor Developer Kit", soc="tegra264", l4t="38.4.0",
    package="38.4.0-20251230160601", python="3.12.3", tensorrt="10.13.3", headers="10.13",
    opencv="4.6.0", memory_mib=125_700, available_mib=118_000, swap_mib=0, power_mode="MAXN",
    nvpmodel_conf=THOR_CONF,
)  # fmt: skip
THOR_72 = THOR_71.but(l4t="39.2.1", package="39.2.1-20260806224157", tensorrt="10.16.2",
                      headers="10.16")  # fmt: skip
DESKTOP = Board(
    model=None, soc=None, machine="x86_64", l4t=None, package=None, python="3.11.7",
    tensorrt="absent", headers=None, nvcc=False, opencv="absent", power_mode=None,
    memory_mib=24_000, available_mib=20_000, swap_mib=0,
)  # fmt: skip

_STAND_IN = Path(__file__).with_name("stand_in.py")


def _small_checkout(folder):
    """Return a checkout with the true scripts and packages of one small file each."""
    if not folder.exists():
        shutil.copytree(REPOSITORY / "jetson", folder / "jetson")
        for name in ("differseg", "export", "runtime", "calibration"):
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(f'"""The package {name}."""\n')
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            (folder / name).write_text(name)
    return folder


class Place:
    """A board laid out in a folder, and runs of the scripts on it."""

    def __init__(self, folder, board):
        self.root, self.commands, self.board = folder / "root", folder / "bin", board
        self.calls_file = folder / "calls.jsonl"
        self.checkout = _small_checkout(folder / "checkout")
        self.prefix = self.root / "opt" / "differseg"
        self.model = folder / "F.onnx"
        self.model.write_bytes(b"a model")
        self._lay_out()

    def _lay_out(self):
        board = self.board
        self.write("proc/meminfo", "".join(
            f"{name}: {mib * 1024:>10} kB\n"
            for name, mib in (("MemTotal", board.memory_mib), ("MemAvailable", board.available_mib),
                              ("SwapTotal", board.swap_mib))
        ))  # fmt: skip
        if board.l4t is not None:
            major, revision = board.l4t.split(".", 1)
            self.write(
                "etc/nv_tegra_release",
                f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, "
                "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
            )
        if board.model is not None:
            self.write("proc/device-tree/model", board.model + "\0")
            self.write(
                "proc/device-tree/compatible", f"nvidia,p3768-0000+p3767\0nvidia,{board.soc}\0"
            )
        if board.headers is not None:
            major, minor = board.headers.split(".")
            folder = "usr/include/aarch64-linux-gnu"
            if int(major) >= 10:
                text = (
                    f"#define TRT_MAJOR_ENTERPRISE {major}\n#define TRT_MINOR_ENTERPRISE {minor}\n"
                    "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE //!< TensorRT major version.\n"
                )
            else:
                text = (
                    f"#define NV_TENSORRT_MAJOR {major} //!< x\n#define NV_TENSORRT_MINOR {minor}\n"
                )
            self.write(f"{folder}/NvInferVersion.h", text)
        self.write("etc/nvpmodel.conf", board.nvpmodel_conf)
        self.command("uname", f"echo {board.machine}")
        self.command(
            "df",
            'echo "Filesystem 1024-blocks Used Available Capacity Mounted on"\n'
            f'echo "/dev/nvme0n1p1 960000000 1 {board.disk_mib * 1024} 1% /"',
        )
        self.command(
            "dpkg-query",
            f"echo {board.package}" if board.package else "echo no packages >&2; exit 1",
        )
        if board.power_mode is not None:
            self.command("nvpmodel", f"echo 'NV Power Mode: {board.power_mode}'; echo 1")
        if board.nvcc:
            self.command("nvcc", "exit 0", self.root / "usr/local/cuda/bin")
        facts = {
            "python": board.python, "venv": "yes" if board.venv else "no",
            "tensorrt": board.tensorrt, "opencv": board.opencv,
            "gstreamer": "yes" if board.gstreamer else "no",
        }  # fmt: skip
        settings = {
            "facts": facts, "fails": board.fails, "hangs_at": board.hangs_at,
            "calls": str(self.calls_file), "commands": str(self.commands),
        }  # fmt: skip
        (self.root.parent / "stand_in.json").write_text(json.dumps(settings))
        for name in ("python3", "apt-get", "systemctl", "journalctl", "udevadm", "useradd"):
            self.command(
                name,
                f'exec "{sys.executable}" -IS "{_STAND_IN}" '
                f'"{self.root.parent}/stand_in.json" {name} "$@"',
            )
        self.command("getent", "exit 2")
        if board.python is None:
            (self.commands / "python3").unlink()

    def write(self, path, text):
        """Write a file of the board."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def command(self, name, script, folder=None):
        """Write a command of the board."""
        folder = folder or self.commands
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return path

    def environment(self):
        """Return the environment of a run: the board's commands in front."""
        # Without the folders in which this machine may have nvcc or trtexec.
        return {"PATH": f"{self.commands}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.root),
                "LC_ALL": "C", "TERM": os.environ.get("TERM", "dumb")}  # fmt: skip

    def arguments(self, *arguments):
        """Return the command line of a run of the script."""
        python = self.commands / "python3"
        return [
            str(self.checkout / "jetson" / "install.sh"),
            "--root",
            str(self.root),
            "--python",
            str(python),
            *arguments,
        ]

    def install(self, *arguments):
        """Run the script to its end; gives status, output and problems."""
        return self.finished(self.arguments(*map(str, arguments)))

    def service(self, *arguments):
        """Run differseg-service to its end."""
        return self.finished(
            [
                str(self.checkout / "jetson" / "differseg-service"),
                "--root",
                str(self.root),
                *map(str, arguments),
            ]
        )

    def finished(self, command):
        """Run a command with the board's environment."""
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL, cwd=self.root,
        )  # fmt: skip

    def calls(self):
        """Return what was run, as lines of words."""
        if not self.calls_file.exists():
            return []
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]

    def report(self):
        """Return the report of the last run."""
        return json.loads((self.prefix / "report" / "report.json").read_text())


def problems(run):
    """Return the problems that a run has named."""
    return [line for line in run.stderr.splitlines() if line.startswith("problem: ")]


def warnings(run):
    """Return the warnings of a run."""
    return [line for line in run.stdout.splitlines() if line.startswith("warning: ")]


WHOLE = ["venv", "pip", "pip", "plugins", "build", "parity", "run"]
"""What a run on a complete board does."""


def verbs(place):
    """Return what was run in the environment: verbs of differseg, and the steps of Python."""
    found = []
    for name, *words in place.calls():
        if name == "differseg":
            found.append(words[0])
        elif "venv" in words:
            found.append("venv")
        elif "pip" in words:
            found.append("pip")
        elif "differseg.export.plugin_library" in words:
            found.append("plugins")
    return found
