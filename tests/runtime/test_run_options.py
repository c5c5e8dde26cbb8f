"""Options of a camera run: what is refused before anything is opened."""

import pytest

from differseg.errors import InputError
from differseg.options import parse
from differseg.runtime.run_options import RunOptions

TWO = ("--model", "m.onnx", "--rgb", "0", "--thermal", "1")


def options(*words, base=TWO):
    return parse(RunOptions, [*base, *words], "differseg run")


@pytest.mark.parametrize(
    ("words", "known_ms", "finds"),
    [
        ((), None, False),
        (("--thermal-offset-ms", "auto"), None, True),
        (("--thermal-offset-ms", "35.5"), 35.5, False),
        (("--thermal-offset-ms", "-20"), -20.0, False),
        (("--thermal-offset-ms", "0"), 0.0, False),
    ],
)
def test_thermal_offset(words, known_ms, finds):
    chosen = options(*words)
    assert chosen.known_offset_ms == known_ms
    assert chosen.finds_offset == finds


@pytest.mark.parametrize("value", ["automatic", "nan", "10001", "-1e9", ""])
def test_a_wrong_thermal_offset_is_refused(value):
    with pytest.raises(InputError, match="--thermal-offset-ms: expected -10000 to 10000, or auto"):
        options(f"--thermal-offset-ms={value}")


@pytest.mark.parametrize(
    "words", [("--thermal-offset-ms", "auto"), ("--thermal-correction",), ("--thermal-stripes",)]
)
def test_thermal_options_need_a_thermal_camera(words):
    with pytest.raises(InputError, match=f"{words[0]}: goes with --thermal, which is not given"):
        options(*words, base=TWO[:4])
