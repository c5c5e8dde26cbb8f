"""Runs of ``differseg robustness`` on pairs of a few pixels."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from differseg.options import run_main
from differseg.robustness.command import RobustnessOptions, main

SIZE_HW = (16, 24)
STEMS = [f"{number:05d}D" for number in (1, 20, 21, 22, 23, 24, 25)]
QUIET = Console(file=io.StringIO())


def options(model: Path, folder: Path, out: Path, **changes: Any) -> RobustnessOptions:
    base = RobustnessOptions(file=model, out=out, data=str(folder), label_rule="nonzero")
    return dataclasses.replace(base, **changes)


def refused(*argv: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that a user got wrong; returns the one line."""
    assert run_main(main, [str(word) for word in argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said
