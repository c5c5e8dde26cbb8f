"""Measure whether the loader keeps the trainer fed.

On a folder of 640x480 PNG pairs, made for it: samples a second of the loader alone, reading,
augmentation and all, with no worker, one and two; samples a second of the trainer alone, on one
batch over and over; and of both together, with the share of the time that the trainer waited for
a batch.  Rounds of the three take turns.

    python benchmarks/loader_speed.py
    python benchmarks/loader_speed.py --network differseg-edge --size 256x320 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

from differseg.bench.machine import cpu_name
from differseg.data.folder import FolderDataset
from differseg.data.loader import make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.models import create_model
from differseg.options import size_hw
from differseg.training.loop import Recipe, Trainer

WORKERS = (0, 1, 2)
Batch = dict[str, torch.Tensor]


def write_folder(folder: Path, count: int) -> FolderDataset:
    """Write scenes as PNG pairs of 640x480 with masks."""
    scenes = SyntheticDataset(count, seed=5, size_hw=(480, 640))
    for name in ("rgb", "thermal", "labels"):
        (folder / name).mkdir()
    for index in range(count):
        sample, name = scenes[index], f"{index:06d}.png"
        cv2.imwrite(str(folder / "rgb" / name), sample["rgb"][:, :, ::-1])
        cv2.imwrite(str(folder / "thermal" / name), sample["thermal"])
        cv2.imwrite(str(folder / "labels" / name), (sample["mask"] == 1).astype("uint8"))
    return FolderDataset(folder, label_rule="1")


class Timed:
    """Batches of a loader, and how long their taker waited for them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            start_s = time.perf_counter()
            batch = next(self._batches, None)
            self.waited_s += time.perf_counter() - start_s
            if batch is None:
                return
            yield batch


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="speed of the loader and of the trainer")
    parser.add_argument("--network", default="differseg-edge")
    parser.add_argument("--size", type=size_hw, default=None, help="its own when not given")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    network = create_model(options.network)
    spec, size = network.spec, options.size or network.spec.size_hw
    recipe = Recipe(1e-4, 1e-4, 0.99, 0, 10_000)
    trainer = Trainer(network, recipe, torch.device("cpu"), "fp32")
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place), options.samples)

        def epoch(number: int, workers: int) -> Iterator[Batch]:
            loader = make_loader(
                folder, spec, size, options.batch, 0, number, train=True, workers=workers
            )
            return iter(loader)

        rates: dict[str, list[float]] = {f"loader, {w} workers": [] for w in WORKERS}
        rates |= {"trainer": []} | {f"together, {w} workers": [] for w in WORKERS}
        waits: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        (batch, *_) = epoch(0, 0)
        trainer.step(batch)  # warms up
        for number in range(options.rounds):
            for workers in WORKERS:
                start_s = time.perf_counter()
                images = sum(len(found["mask"]) for found in epoch(number, workers))
                rate = images / (time.perf_counter() - start_s)
                rates[f"loader, {workers} workers"].append(rate)
            start_s = time.perf_counter()
            steps = options.samples // options.batch
            for _ in range(steps):
                trainer.step(batch)
            rates["trainer"].append(steps * options.batch / (time.perf_counter() - start_s))
            for workers in WORKERS:
                start_s = time.perf_counter()
                timed = Timed(epoch(number, workers))
                images = 0
                for found in timed:
                    trainer.step(found)
                    images += len(found["mask"])
                passed_s = time.perf_counter() - start_s
                rates[f"together, {workers} workers"].append(images / passed_s)
                waits[workers].append(timed.waited_s / passed_s)
    print(
        f"{options.network} at {size[0]}x{size[1]}, batch {options.batch}, "
        f"{options.samples} PNG pairs of 640x480, medians of {options.rounds} rounds\n"
        f"{cpu_name()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}\n"
    )
    print("| what | images a second | waited for batches |\n|---|---|---|")
    for name, found in rates.items():
        share = ""
        if name.startswith("together"):
            share = f"{statistics.median(waits[int(name.split()[1])]):.1%}"
        print(f"| {name} | {statistics.median(found):.1f} | {share} |")


if __name__ == "__main__":
    main()
