"""Measure the highest resident memory of training each edge network.

Every network is trained for a few steps by ``differseg train`` in a process of its own, at its own
size and without loader processes, on random images.  Printed is the process's highest resident
memory, and how much of it is there before the first batch: interpreter, PyTorch and the network.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --batch 8 --network differseg-edge
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from differseg.bench.machine import cpu_name
from differseg.models import create_model, list_models
from differseg.models.spec import ModelSpec

MIB = 1 << 20
START = """
import sys
import torch
from differseg.models import create_model
from differseg.training.optimizer import create_optimizer
import differseg.train
network = create_model(sys.argv[1])
"""


def write_images(folder: Path, spec: ModelSpec, count: int) -> None:
    """Write random samples of every input, and labels of every class."""
    rng = np.random.default_rng(0)
    height, width = spec.size_hw
    for name in [*(modality.name for modality in spec.modalities), "labels"]:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            if name == "labels":
                blocks = rng.integers(0, max(2, len(spec.classes)), (8, 8), dtype=np.uint8)
                image = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
            elif name in ("rgb", "flow"):
                image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            else:
                image = rng.integers(0, 65536, (height, width), dtype=np.uint16)
            cv2.imwrite(str(folder / name / f"{index * 1000:06d}.png"), image)


def peak_mib(command: list[str], log: Path) -> float:
    """Run a command to its end; returns its highest resident memory.

    Raises:
        RuntimeError: It fails.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {log.read_text()[-2000:]}")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="highest memory of training the edge networks")
    parser.add_argument("--network", action="append", help="may be repeated; all edge networks")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    names = options.network or [n.name for n in list_models() if n.name.endswith("-edge")]
    print(
        f"batch {options.batch}, {options.steps} steps, {torch.get_num_threads()} threads, "
        f"PyTorch {torch.__version__}, {cpu_name()}\n"
    )
    print("| network | size | parameters, M | highest MiB | of it before the first batch |")
    print("|---|---|---|---|---|")
    for name in names:
        network = create_model(name)
        spec = network.spec
        millions = sum(each.numel() for each in network.parameters()) / 1e6
        del network
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            train = options.batch * options.steps
            write_images(folder / "data", spec, train + 2)
            start = peak_mib([sys.executable, "-c", START, name], folder / "start.log")
            command = [
                sys.executable, "-m", "differseg.cli", "train", "--model", name,
                "--data", str(folder / "data"), "--out", str(folder / "run"), "--epochs", "1",
                "--batch", str(options.batch), "--workers", "0", "--holdout", str(2 / (train + 2)),
                "--label-rule", "nonzero" if spec.binary else "ids",
            ]  # fmt: skip
            highest = peak_mib(command, folder / "train.log")
        height, width = spec.size_hw
        print(
            f"| `{name}` | {height}x{width} | {millions:.2f} | {highest:.0f} | {start:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
