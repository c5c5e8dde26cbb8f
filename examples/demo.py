"""From a network to a segmented RGB-thermal video, in the commands that a user would type.

Exports the shipped edge network, proves the file against PyTorch, holds it against the Jetson
targets, and runs it on a synthetic camera pair.  No GPU, no download.  ``make demo`` runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("jetpack6", "jetpack7")


def run(title: str, command: str) -> dict[str, Any]:
    """Show and run one command; returns the JSON document on its last line."""
    print(f"\n== {title}\n$ {command}", flush=True)
    words = shlex.split(command)
    if words[0] == "differseg":
        words = ["python", "-m", "differseg.cli", *words[1:]]
    # Chosen here and not by each program, which sees a pipe instead of the terminal.
    environment = {**os.environ, "COLUMNS": "100"}
    start_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words[1:], "--json"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        if last:
            print(last, flush=True)
        last = line.rstrip("\n")
    status = process.wait()
    if status != 0:
        print(last)
        sys.exit(f"demo: this command ended with status {status}: {command}")
    print(f"({time.perf_counter() - start_s:.1f} s)", flush=True)
    return json.loads(last)


def main() -> None:
    """Run the steps and print where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the camera run")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    model, report = out / "differseg-edge.onnx", out / "parity.html"
    file = _quoted(model)

    start_s = time.perf_counter()
    run(
        "PyTorch to one ONNX file",
        f"python export/to_onnx.py --model differseg-edge -o {file}",
    )
    parity = run(
        "Was anything lost on the way?",
        f"differseg parity differseg-edge {file} --report {_quoted(report)}",
    )
    for target in TARGETS:
        run(f"Does {target} take the file?", f"differseg check {file} --target {target}")
    camera = run(
        "Two cameras in, masks out",
        f"python runtime/run_camera.py --model {file} --rgb synthetic: --thermal synthetic: "
        f"--headless --seconds {options.seconds:g} --out {_quoted(out / 'run')}",
    )
    print(summary(model, report, parity["overall"], camera))
    print(f"\ndone in {time.perf_counter() - start_s:.0f} s")


def _quoted(path: Path) -> str:
    """Return a path as a word of a command that runs in the repository's root."""
    path = path.resolve()
    return shlex.quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))


def summary(model: Path, report: Path, overall: dict[str, Any], camera: dict[str, Any]) -> str:
    """Return the closing lines: what lies where, and the figures that matter."""
    skew = camera["skew_ms"] or {"p50": float("nan")}
    infer = camera["stages_ms"]["infer"]
    (video,) = [path for path in camera["files"] if path.endswith(".mp4")]
    rows = [
        ("video", video, f"{camera['frames']} masks, {camera['fps']:.1f} a second"),
        ("parity report", report, f"max error {overall['max_error']:.1e}, "
         f"{overall['flipped_pixels']} flipped pixels"),
        ("for the Jetson", model, f"accepted by {' and '.join(TARGETS)}; copy it as it is"),
    ]  # fmt: skip
    width = 2 + max(len(str(path)) for _, path, _ in rows)
    lines = [f"  {name:<15}{path!s:<{width}}{what}" for name, path, what in rows]
    lines.append(
        f"  on this CPU    {infer['p50']:.0f} ms a frame in the network, "
        f"cameras paired within {skew['p50']:.1f} ms"
    )
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
