"""The tutorials run from top to bottom on tiny data, and leave what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "examples" / "tutorials"
SMALL = {
    "train_on_your_folder": ["--epochs", "1", "--size", "64x96", "--scenes", "12"],
    "checkpoint_to_camera": ["--size", "64x96", "--seconds", "1"],
    "own_network": ["--steps", "12"],
    "own_operator": [],
}
LEFT = {
    "train_on_your_folder": ["folder/rgb/000000.png", "run/metrics.csv", "judged/report.html"],
    "checkpoint_to_camera": ["model.onnx", "parity.html", "mask.png", "seen/results.jsonl"],
    "own_network": ["tiny.safetensors", "tiny.onnx"],
    "own_operator": ["sharpened.onnx"],
}


def test_every_tutorial_is_here():
    assert {path.stem for path in TUTORIALS.glob("*.py")} == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_it_runs_and_leaves_what_it_says(name, tmp_path):
    run = subprocess.run(
        [sys.executable, TUTORIALS / f"{name}.py", "--out", tmp_path, *SMALL[name]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    missing = [file for file in LEFT[name] if not (tmp_path / file).is_file()]
    assert missing == []
    if name == "own_network":
        first, last = run.stdout.split("loss ")[1].split(" after")[0].split(" -> ")
        assert float(last) < float(first)
        assert "parity passed: True" in run.stdout
    if name == "own_operator":
        assert "nodes: Conv, Concat, Conv;" in run.stdout
        assert "jetpack6 takes it: True" in run.stdout
    if name == "checkpoint_to_camera":
        assert cv2.imread(str(tmp_path / "mask.png")).shape == (480, 640, 3)
