"""Check and time the plugins' CUDA kernels on the present GPU; TensorRT is not needed.

    python benchmarks/gpu/kernels.py [--out DIR] [--quick] [--sanitizer]

Compiles the kernels with nvcc for this GPU, then: every kernel against PyTorch in float64 on random
and adversarial inputs; the same under stream capture; on request under compute-sanitizer; times
by device events beside a copy of as many bytes, the PyTorch form and torch.fft. Full figures go to
DIR, a short table is printed last. The status is 1 when a check fails.

Needs PyTorch with CUDA, nvcc and g++; runs from a checkout without installation as well.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if importlib.util.find_spec("differseg") is None:  # a checkout that is not installed
    sys.path.insert(0, str(ROOT))
import differseg  # noqa: E402

if importlib.util.find_spec("differseg.export") is None:
    differseg.__path__.append(str(ROOT))

from differseg.errors import InputError, MissingComponentError  # noqa: E402
from differseg.export.plugin_library import build_library  # noqa: E402
from differseg.options import option, parse, run_main  # noqa: E402


@dataclass(frozen=True)
class KernelsOptions:
    """Check and time the CUDA kernels on the present GPU."""

    out: Path = option(Path("runs/gpu-kernels"), metavar="DIR")
    """Folder for the library, log.txt and results.json."""
    library: Path | None = option(None, metavar="LIB.so")
    """A libdifferseg_kernels.so to use; by default one is built for this GPU."""
    size: tuple[int, int] = (240, 320)
    """Size of the maps that are timed."""
    channels: int = 64
    """Channels of the maps that are timed."""
    replays: int = 30
    """Replays that a time is the median of."""
    quick: bool = False
    """Small sizes only, and no times."""
    sanitizer: bool = False
    """Repeat the quick checks under compute-sanitizer: memory, races, barriers."""
    json: bool = False
    """Print one JSON document as the last line."""


UNCACHED = "PYTORCH_NO_CUDA_MEMORY_CACHING"
"""Environment variable by which PyTorch gives each tensor an allocation of its own."""

OURS = ("--kernel-regex", "kns=differseg")
SANITIZERS = {"memcheck": OURS, "initcheck": (), "racecheck": OURS, "synccheck": OURS}
"""Tools of compute-sanitizer; initcheck has to watch PyTorch as well, which fills the inputs."""


class Log:
    """Lines that go to the screen and, with more detail, to a file."""

    def __init__(self, path: Path, quiet: bool) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._screen = sys.stderr if quiet else sys.stdout

    def say(self, text: str) -> None:
        """Write a line to both."""
        print(text, file=self._screen, flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Write a line to the file."""
        print(text, file=self._file, flush=True)


def check_machine() -> str:
    """Return the GPU's name and what it runs, or say in one line what is missing."""
    if importlib.util.find_spec("torch") is None:
        raise MissingComponentError(
            "PyTorch is not installed; install torch with CUDA from https://pytorch.org"
        )
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise MissingComponentError(
            f"no CUDA GPU: torch {torch.__version__} ({built}) sees none; run this on a machine "
            "with an NVIDIA GPU and a PyTorch that is built for CUDA"
        )
    major, minor = torch.cuda.get_device_capability()
    return (
        f"{torch.cuda.get_device_name()}, SM {major}.{minor}, torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}"
    )


def run_checks(kernels: Any, log: Log, *, quick: bool, device: str = "cuda") -> dict[str, Any]:
    """Hold every kernel against float64; returns the worst error of each operator and dtype."""
    import torch
    from kernel_checks import INPUTS, LIMITS, cases, error_of

    worst: dict[str, dict[str, Any]] = {}
    for dtype, limit in LIMITS.items():
        for kind in INPUTS:
            seed = torch.seed()
            log.note(f"torch.manual_seed({seed})  # {dtype}, {kind}")
            for case in cases(kernels, dtype, kind, device=device, quick=quick):
                error = error_of(case)
                key = f"{case.operator} {str(dtype)[6:]}"
                entry = worst.setdefault(key, {"cases": 0, "failed": 0, "error": 0.0})
                entry["cases"] += 1
                entry["error"] = max(entry["error"], error)
                where = f"{key}, {kind}, {tuple(case.launch.out.shape)}, {case.text}"
                log.note(f"{where}: error {error:.3g}")
                if not error <= limit:
                    entry["failed"] += 1
                    log.say(f"FAILED {where}: error {error:.3g}, limit {limit:g}")
    return worst


def run_captures(kernels: Any, log: Log) -> int:
    """Replay one case of every operator from a CUDA graph; returns how many fail."""
    import torch
    from kernel_checks import LIMITS, capture_error, cases

    failed = 0
    for dtype, limit in LIMITS.items():
        seen: set[str] = set()
        for case in cases(kernels, dtype, "random", device="cuda", quick=True):
            if case.operator in seen or case.launch.out.numel() < 500:
                continue
            seen.add(case.operator)
            try:
                error = capture_error(case)
            except RuntimeError as problem:
                log.note(str(problem))
                error = float("inf")
            log.note(f"captured {case.operator} {dtype}: error {error:.3g}")
            if not error <= limit:
                failed += 1
                log.say(f"FAILED {case.operator} {dtype} under stream capture: {error:.3g}")
        torch.cuda.synchronize()
    return failed


def run_sanitizer(library: Path, log: Log, out: Path) -> dict[str, str]:
    """Repeat the quick checks under compute-sanitizer; returns each tool's verdict."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if shutil.which(tool) is None:
        raise MissingComponentError(
            "compute-sanitizer is not on the path; it comes with the CUDA toolkit, or leave "
            "--sanitizer out"
        )
    environment = os.environ | {UNCACHED: "1"}  # or beyond a tensor lies another's memory
    verdicts = {}
    for name, flags in SANITIZERS.items():
        command = [tool, "--tool", name, *flags, "--error-exitcode", "9", sys.executable, __file__]
        command += ["--quick", "--library", str(library), "--out", str(out / name)]
        start = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
        log.note(done.stdout + done.stderr)
        verdicts[name] = "clean" if done.returncode == 0 else f"status {done.returncode}"
        log.say(f"compute-sanitizer {name}: {verdicts[name]}, {time.perf_counter() - start:.0f} s")
    return verdicts


def run_times(kernels: Any, options: KernelsOptions, log: Log) -> list[dict[str, Any]]:
    """Time every operator; returns one row each."""
    from kernel_times import contests, measure

    rows = []
    for contest in contests(kernels, options.size, options.channels):
        row = dataclasses.asdict(measure(contest, options.replays))
        row["gigabytes_per_s"] = row["bytes_moved"] / row["kernel_us"] / 1e3
        row["of_copy"] = row["copy_us"] / row["kernel_us"]
        rows.append(row)
        log.note(json.dumps(row))
    return rows


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Format the times; plain text, since a checkout may be without rich."""
    head = ("operator", "case", "dtype", "us", "GB/s", "of copy", "PyTorch", "torch.fft")
    cells = [head]
    for row in rows:
        others = [row["others_us"].get(name) for name in ("PyTorch", "torch.fft")]
        ratios = [f"{us / row['kernel_us']:.1f}x" if us else "-" for us in others]
        cells.append(
            (row["operator"], row["text"], row["dtype"], f"{row['kernel_us']:.1f}",
             f"{row['gigabytes_per_s']:.0f}", f"{row['of_copy']:.0%}", *ratios)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _library(options: KernelsOptions, log: Log) -> Path:
    """Return the library that is named, or build one for this GPU."""
    import torch

    if options.library is not None:
        return options.library.resolve()
    major, minor = torch.cuda.get_device_capability()
    return build_library(
        options.out.resolve() / "libdifferseg_kernels.so",
        architectures=(f"{major}{minor}",),
        kernels_only=True,
        say=log.say,
    )


def check_options(options: KernelsOptions) -> None:
    """Refuse what would fail only after the checks."""
    for name, value, least in (
        ("replays", options.replays, 1),
        ("channels", options.channels, 1),
        ("size", min(options.size), 2),
    ):
        if value < least:
            raise InputError(f"--{name}: got {value}, expected {least} or more; give a larger one")
    if options.library is not None and not options.library.is_file():
        raise InputError(
            f"{options.library}: there is no such library; leave --library out to build one"
        )


def load(library: Path) -> ctypes.CDLL:
    """Load a library of kernels.

    Raises:
        InputError: It is no library, or not one of kernels.
    """
    advice = "give a libdifferseg_kernels.so, or leave --library out to build one"
    try:
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise InputError(f"{library}: cannot be loaded ({error}); {advice}") from None
    if not hasattr(loaded, "differseg_rfft2"):
        raise InputError(f"{library}: has no function differseg_rfft2; {advice}")
    return loaded


def write_results(results: dict[str, Any], folder: Path) -> None:
    """Write results.json, whole or as far as they have come."""
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(KernelsOptions, argv, "kernels")
    check_options(options)
    machine = check_machine()
    options.out.mkdir(parents=True, exist_ok=True)
    log = Log(options.out / "log.txt", options.json)
    log.say(machine)
    sys.path.insert(0, str(Path(__file__).parent))
    from kernel_library import Kernels

    library = _library(options, log)
    kernels = Kernels(load(library))
    start = time.perf_counter()
    results: dict[str, Any] = {"machine": machine, "size": options.size}
    results["checks"] = run_checks(kernels, log, quick=options.quick)
    # Graphs need PyTorch's cache of allocations.
    results["captures_failed"] = 0 if UNCACHED in os.environ else run_captures(kernels, log)
    log.say(f"checked in {time.perf_counter() - start:.0f} s")
    if options.sanitizer:
        results["sanitizer"] = run_sanitizer(library, log, options.out)
    results["times"] = []
    write_results(results, options.out)  # the checks' verdicts stay should the timing fail
    if not options.quick:
        results["times"] = run_times(kernels, options, log)
        write_results(results, options.out)

    for line in _table(results["times"]) if results["times"] else ():
        log.say(line)
    for name, entry in results["checks"].items():
        verdict = f"{entry['failed']} FAILED" if entry["failed"] else "ok"
        log.say(f"{name:26} {entry['cases']:5} cases, worst {entry['error']:.2g}: {verdict}")
    failed = sum(entry["failed"] for entry in results["checks"].values())
    failed += results["captures_failed"]
    failed += sum(verdict != "clean" for verdict in results.get("sanitizer", {}).values())
    log.say(f"{options.out}/log.txt and results.json have all figures; {failed} failed")
    if options.json:
        print(json.dumps(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
