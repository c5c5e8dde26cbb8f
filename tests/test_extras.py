"""Without the extras: every way in says in one line which one is missing."""

import os
import subprocess
import sys

import pytest

from differseg import cli
from differseg.errors import MissingComponentError
from differseg.extras import EXTRAS, naming_the_extra


@pytest.fixture
def run_without(tmp_path):
    """Run Python where these packages cannot be imported."""

    def run(packages, *arguments):
        for name in packages:
            text = f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
            (tmp_path / f"{name}.py").write_text(text)
        search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": search},
            timeout=120,
        )

    return run


@pytest.mark.parametrize(
    ("package", "extra", "code"),
    [
        ("torch", "export", "from differseg import ops"),
        ("torch", "export", "import differseg.ops.fourier"),
        ("torch", "export", "from differseg.ops import rfft2"),
        ("torch", "export", "import differseg; differseg.create_model('differseg-edge')"),
        ("torch", "export", "from differseg.export import export_onnx"),
        ("onnx", "export", "from differseg.export import check; check('f.onnx')"),
        ("cv2", "runtime", "from differseg.runtime import Segmenter"),
        ("cv2", "runtime", "import differseg; differseg.runtime.ThermalMapper"),
    ],
)
def test_from_python(run_without, package, extra, code):
    done = run_without([package], "-c", code)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("differseg.errors.MissingComponentError: ")
    assert f"'{package}', which is not installed" in last
    assert f"pip install 'differseg[{extra}]'" in last


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("cv2", "-m differseg.data.synthetic --time"),
        ("onnx", "-m differseg.cli check f.onnx"),
        ("torch", "-m differseg.cli export -o f.onnx --model differseg-edge"),
    ],
)
def test_from_a_command_line(run_without, package, command):
    done = run_without([package], *command.split())
    assert done.returncode == 3
    assert done.stderr.startswith("error[E_MISSING]: ")
    assert done.stderr.count("\n") == 1
    assert "pip install 'differseg[" in done.stderr


@pytest.mark.parametrize(
    "verb", sorted(cli.VERBS.keys() - {"train", "evaluate", "robustness", "parity"})
)
def test_help_needs_no_extra(run_without, verb):
    done = run_without(EXTRAS.keys() - {"google"}, "-m", "differseg.cli", verb, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: differseg {verb}")


def test_an_unknown_package_is_nobodys_extra():
    with pytest.raises(ModuleNotFoundError), naming_the_extra("a test"):
        raise ModuleNotFoundError("no", name="somebodys_package")
    said = "a test needs the package 'onnx'"
    with pytest.raises(MissingComponentError, match=said), naming_the_extra("a test"):
        raise ModuleNotFoundError("no", name="onnx.checker")
