"""Runs of a few seconds for the tests of training, and what they are compared by."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from differseg.train import TrainOptions, resume_command
from differseg.training.snapshot import read_snapshot

SIZE_HW = (64, 96)


def short_run(out: Path, scenes: Path, **changes: object) -> TrainOptions:
    base = TrainOptions(
        out=out, size=SIZE_HW, synthetic_size=SIZE_HW, synthetic_count=16, synthetic_cache=scenes,
        epochs=2, batch=4, workers=0, device="cpu",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def as_command(run: TrainOptions) -> list[str]:
    return [sys.executable, "-m", "differseg.cli", *resume_command(run).split()[1:]]


def same_state(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)  # type: ignore
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_state, a, b))  # type: ignore[arg-type]
    return a == b


def assert_same_run(resumed: Path, whole: Path) -> None:
    assert (resumed / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    one, other = read_snapshot(resumed / "last.pt"), read_snapshot(whole / "last.pt")
    for state in (one, other):
        for line in state["position"]["history"]:
            line.pop("images_per_s")  # wall time
    for part in ("model", "average", "optimizer", "random", "position"):
        assert same_state(one[part], other[part]), part
    assert same_state(one.get("adapter", {}), other.get("adapter", {}))  # of a teacher's maps


def wait_for_snapshots(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until a run has written its snapshot this often.

    Looks at the file's identity only: reading it would take longer than some steps.
    """
    seen: set[tuple[int, int]] = set()
    deadline_s = time.monotonic() + 240
    while time.monotonic() < deadline_s:
        if (run / "last.pt").exists():
            found = (run / "last.pt").stat()
            seen.add((found.st_ino, found.st_mtime_ns))
        if len(seen) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    pytest.fail("the run made no progress")


def start(run: TrainOptions) -> subprocess.Popen[str]:
    return subprocess.Popen(
        as_command(run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of a run's workers (Linux)."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


def write_folder(root: Path) -> None:
    """Write 8 pairs in two runs of frame numbers, MFNet ids, one size."""
    random = np.random.default_rng(0)
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir(parents=True)
    for number in (*range(4), *range(100, 104)):
        stem, label = f"{number:05d}D.png", np.zeros((48, 64), np.uint8)
        y, x = random.integers(0, 24, 2)
        label[y : y + 20, x : x + 30] = 2
        label[:4] = 6
        cv2.imwrite(str(root / "rgb" / stem), random.integers(0, 255, (48, 64, 3), np.uint8))
        cv2.imwrite(str(root / "thermal" / stem), (label == 2).astype(np.uint8) * 90 + 40)
        cv2.imwrite(str(root / "labels" / stem), label)
