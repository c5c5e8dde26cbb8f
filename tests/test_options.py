"""Command lines from dataclasses: flags, types, help texts and one-line errors."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from differseg.errors import InputError
from differseg.options import (
    attribute_docs,
    build_parser,
    option,
    parse,
    unwinding_on_sigterm,
)


@dataclass(frozen=True)
class Base:
    """Options shared by two verbs."""

    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True)
class Sample(Base):
    """Do a thing."""

    file: Path = option(Path("x.onnx"), positional=True)
    """Which file,
    100 % of it."""

    output: Path | None = option(None, short="-o")
    """Where to."""

    size: tuple[int, int] | None = (480, 640)
    """Image size."""

    mode: Literal["fast", "exact"] = "fast"
    """How."""

    vs: tuple[str, ...] = ()
    """Peers; repeat the flag."""

    headless: bool = False
    """No window."""

    checks: bool = True
    """Run the checks."""

    freeze: bool | None = None
    """Hold still; decided by the rest when not given."""


def test_defaults_are_the_dataclass():
    assert parse(Sample, [], "do") == Sample()


def test_every_kind_of_field():
    got = parse(
        Sample,
        "m.onnx -o out --size 96x128 --mode exact --vs a --vs b --headless --no-checks "
        "--seed 3".split(),
        "do",
    )
    assert got == Sample(
        3, Path("m.onnx"), Path("out"), (96, 128), "exact", ("a", "b"), True, False
    )


@pytest.mark.parametrize(
    ("line", "expected"), [("", None), ("--freeze", True), ("--no-freeze", False)]
)
def test_a_switch_of_three_states(line, expected):
    assert parse(Sample, line.split(), "do").freeze is expected


def test_help_comes_from_the_strings_under_the_fields():
    assert attribute_docs(Sample)["file"] == "Which file, 100 % of it."
    text = build_parser(Sample, "do").format_help()
    assert "Seed of everything random." in text
    assert "(default: 480x640)" in text
    assert "(default: 0)" in text  # equal to False, but no switch
    assert "100 % of it" in " ".join(text.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--sed 3", "unknown option --sed; did you mean --seed?"),
        ("--size 96", "expected HEIGHTxWIDTH such as 480x640, got '96'"),
        ("--mode slow", "invalid choice: 'slow'"),
        ("--seed x", "invalid int value: 'x'"),
        ("--seed", "expected one argument"),
    ],
)
def test_mistakes_are_one_line(line, expected):
    with pytest.raises(InputError, match="do: ") as caught:
        parse(Sample, line.split(), "do")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sigterm_unwinds_once_and_the_old_handler_comes_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    left = tmp_path / "part"

    def work():
        with unwinding_on_sigterm():
            try:
                left.touch()
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                left.unlink()
                assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # a second one forces

    with pytest.raises(SystemExit) as stop:
        work()
    assert stop.value.code == 143
    assert not left.exists()
    assert signal.getsignal(signal.SIGTERM) == before
