"""The README as a test: every command in it runs, and every file that it links to exists.

A fence that opens with ``bash`` is run line by line from the repository's root.  ``bash camera``
needs hardware, so its options are parsed and nothing more; ``bash test`` is the command that runs
this very test, so only its recipe is asked for.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from differseg import cli
from differseg.options import parse
from differseg.runtime.run_camera import RunOptions

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```bash *(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(kind):
    return [line for name, body in FENCES if name == kind for line in body.splitlines() if line]


def environment():
    bin_folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"]}


def in_this_environment(command):
    """Let ``make`` use the interpreter that runs the tests, and take its set-up as done."""
    if command.startswith("make "):
        stamps = f"-o {sys.prefix}/.demo -o {sys.prefix}/.test"
        return command.replace("make ", f"make VENV={shlex.quote(sys.prefix)} {stamps} ", 1)
    return command


@pytest.mark.early
@pytest.mark.readme
def test_every_command_runs_in_order():
    assert len(commands("")) >= 10
    # Of an earlier run: a recorded scene is never written over, and a training goes on.
    for folder in ("scene", "train"):
        shutil.rmtree(ROOT / "demo" / folder, ignore_errors=True)
    for command in commands(""):
        if command.startswith("pip install"):
            command += " --no-deps --dry-run --quiet --no-build-isolation"
        run = subprocess.run(
            ["bash", "-c", in_this_environment(command)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=900,
        )
        tail = (run.stdout + run.stderr)[-3000:]
        assert run.returncode == 0, f"$ {command}\n{tail}"


def test_the_test_command_is_what_ci_runs():
    (command,) = commands("test")
    assert command in (ROOT / ".ci" / "run").read_text()
    run = subprocess.run(
        ["bash", "-c", in_this_environment(command).replace("make ", "make -n ", 1)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for step in ("ruff format --check", "ruff check", "mypy", "pytest"):
        assert step in run.stdout


def test_camera_commands_parse():
    for command in commands("camera"):
        program, verb, *arguments = shlex.split(command)
        assert (program, verb) == ("differseg", "run")
        assert parse(RunOptions, arguments, "differseg run").thermal is not None


def test_every_verb_is_in_the_table():
    for verb in cli.VERBS:
        assert f"`{verb}`" in README


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target
