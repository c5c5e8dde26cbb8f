"""The command that a run prints is the command that goes on with it."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from differseg.options import parse
from differseg.train import TrainOptions, resume_command


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze_norm": True, "init": Path("a b.safetensors")},
        {"freeze_norm": False, "init": Path("w.safetensors"), "lr": 5e-4},
        {"largest_crop": 1.0, "epochs": 3},
        {"size": (64, 96), "synthetic_size": (96, 128), "holdout": 0.25, "data": "my data"},
    ],
)
def test_the_command_gives_the_same_options(changes: dict[str, object]) -> None:
    run = TrainOptions(out=Path("runs/x y"), **changes)  # type: ignore[arg-type]
    told = dataclasses.replace(run, resume=True, json=True)
    words = shlex.split(resume_command(told))
    assert words[:2] == ["differseg", "train"]
    assert parse(TrainOptions, words[2:], "differseg train") == run
