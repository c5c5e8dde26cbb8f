"""Measure what a camera run needs of the host's memory, stage by stage.

Every stage is a fresh process, and holds all of the one before it: the interpreter, numpy and
OpenCV, the runtime with a model file read, the engine with a frame computed; then camera runs with
two synthetic cameras, with files written, and with a preview that is watched.  Memory is resident
memory of the process and its children: the median of the second half of a run and the highest.

    differseg export --model differseg-edge -o edge.onnx
    python benchmarks/memory_stages.py edge.onnx
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil

from differseg.bench.machine import cpu_name
from differseg.runtime.model_file import read_manifest

MIB = 1 << 20
STEP_S = 0.1

STEPS = {
    "Python": "",
    "numpy and OpenCV": "import numpy, cv2\n",
    "runtime, model file read": (
        "from differseg.runtime import Segmenter\n"
        "from differseg.runtime.model_file import read_manifest\n"
        "read_manifest(MODEL)\n"
    ),
}
ENGINE = """
import numpy
segmenter = Segmenter(MODEL, backend=BACKEND, threads=2)
frames = {}
for spec in read_manifest(MODEL).inputs:
    height, width = spec.size_hw
    frames[spec.modality] = (
        numpy.zeros((height, width, 3), "uint8") if spec.modality == "rgb"
        else numpy.full((height, width), 30000, "uint16"))
for _ in range(3):
    segmenter(**frames)
"""


class Watched:
    """Resident memory of a process and its children, sampled while it lives."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.samples: list[float] = []
        self._process = process
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            while self._process.poll() is None:
                total = parent.memory_info().rss
                for child in parent.children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        total += child.memory_info().rss
                self.samples.append(total / MIB)
                time.sleep(STEP_S)

    def figures(self) -> tuple[float, float]:
        """Return the median of the second half and the highest, in MiB."""
        self._thread.join()
        settled = self.samples[len(self.samples) // 2 :]
        return statistics.median(settled), max(self.samples)


def measure(command: list[str], log: Path) -> tuple[float, float]:
    """Run a command to its end.

    Raises:
        RuntimeError: It fails.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        watched = Watched(process)
        if process.wait() != 0:
            raise RuntimeError(f"{' '.join(command)}: {log.read_text()[-2000:]}")
    return watched.figures()


def step(code: str, model: Path, backend: str, log: Path) -> tuple[float, float]:
    """Measure a process that runs some code and then waits for a second."""
    head = f"MODEL, BACKEND = {str(model)!r}, {backend!r}\n"
    return measure([sys.executable, "-c", f"{head}{code}\nimport time\ntime.sleep(1)"], log)


def viewer(log: Path, stop: threading.Event) -> None:
    """Read the preview's picture stream, as soon as the run has said where it is."""
    while not stop.is_set():
        found = re.search(r"http://[\w.]+:\d+", log.read_text() if log.exists() else "")
        if found is None:
            time.sleep(STEP_S)
            continue
        stream = f"{found[0]}/stream.mjpg"
        with contextlib.suppress(OSError), urllib.request.urlopen(stream, timeout=10) as pictures:
            while not stop.is_set() and pictures.read(1 << 14):
                pass
        return


def files(folder: Path, number: int) -> list[str]:
    """Return options that write a video and masks."""
    return [
        "--video", str(folder / f"{number}.mkv"), "--masks", str(folder / f"masks{number}"),
    ]  # fmt: skip


def main() -> None:
    """Print the table of one model on one engine."""
    parser = argparse.ArgumentParser(description="host memory of a camera run, stage by stage")
    parser.add_argument("model", type=Path)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    manifest = read_manifest(options.model)
    height, width = manifest.inputs[0].size_hw
    rows: list[tuple[str, tuple[float, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = ""
        for label, more in STEPS.items():
            code += more
            rows.append((label, step(code, options.model, options.backend, folder / "log")))
        label = f"{options.backend}, one frame at a time"
        rows.append((label, step(code + ENGINE, options.model, options.backend, folder / "log")))
        thermal = manifest.input("thermal") is not None
        run = [
            sys.executable, "-m", "differseg.cli", "run", "--model", str(options.model),
            "--backend", options.backend, "--threads", "2", "--live", "--headless",
            "--seconds", str(options.seconds), "--rgb", "synthetic:seed=3,fps=15",
            *(["--thermal", "synthetic:seed=3,fps=15"] if thermal else []),
        ]  # fmt: skip
        cameras = "two synthetic cameras" if thermal else "a synthetic camera"
        rows.append((f"run: {cameras}", measure(run, folder / "log")))
        rows.append(("and a video and masks", measure([*run, *files(folder, 1)], folder / "log")))
        log, stop = folder / "preview.log", threading.Event()
        threading.Thread(target=viewer, args=(log, stop), daemon=True).start()
        preview = [*files(folder, 2), "--preview", "127.0.0.1:0"]
        rows.append(("and a preview, watched", measure([*run, *preview], log)))
        stop.set()
    print(f"{manifest.model} at {height}x{width}, {options.backend}, 2 threads, {cpu_name()}\n")
    print("| stage | MiB | added | highest MiB |")
    print("|---|---|---|---|")
    before = 0.0
    for label, (settled, highest) in rows:
        print(f"| {label} | {settled:.0f} | {settled - before:+.0f} | {highest:.0f} |")
        before = settled


if __name__ == "__main__":
    main()
