"""The command table: help, wrong verbs, missing components, and how errors end a process."""

import importlib.util
import subprocess
import sys
import time

import pytest

from differseg import cli
from differseg.errors import (
    CheckFailedError,
    DifferSegError,
    InputError,
    MissingComponentError,
)
from differseg.options import BUG_STATUS, run_main


def test_help_lists_every_verb(capsys):
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in cli.VERBS)


def test_every_verb_has_a_module_with_main_and_a_one_page_help(capsys):
    for verb, (module, _) in cli.VERBS.items():
        assert importlib.util.find_spec(module), f"{verb}: no module {module}"
        with pytest.raises(SystemExit) as stop:
            cli.main([verb, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert verb in text
        page = 130 if verb == "train" else 100  # its many options stand under headings
        assert len(text.splitlines()) <= page, f"{verb} --help is longer than a page"


def test_wrong_verb_names_the_nearest(capsys):
    assert cli.main(["exprot"]) == 2
    error = capsys.readouterr().err
    assert error == "error[E_INPUT]: differseg: there is no verb 'exprot'; did you mean 'export'?\n"


def test_wrong_flag_names_the_nearest(capsys):
    assert cli.main(["doctor", "--jsom"]) == 2
    assert "unknown option --jsom; did you mean --json?" in capsys.readouterr().err


def test_missing_package_names_the_extra(capsys, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("no torch", name="torch")

    monkeypatch.setattr(cli, "import_module", absent)
    assert cli.main(["train"]) == 3
    assert "pip install 'differseg[export]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [(InputError, 2), (CheckFailedError, 1), (MissingComponentError, 3), (DifferSegError, 2)],
)
def test_errors_end_in_one_line_and_their_status(capsys, error, status):
    def fail(argv):
        raise error("first line\nsecond line")

    assert run_main(fail) == status
    assert capsys.readouterr().err == f"error[{error.code}]: first line second line\n"


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (OSError(28, "No space left on device", "/full/f.onnx"), "/full/f.onnx: "),
        (OSError(27, "No space left on device"), ""),
    ],
)
def test_a_full_disk_is_one_line_and_no_failed_check(capsys, error, place):
    def fail(argv):
        raise error

    assert run_main(fail) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error[E_INPUT]: {place}No space left on device; ")
    assert text.count("\n") == 1


def test_a_closed_pipe_is_no_error(capsys):
    def fail(argv):
        raise BrokenPipeError

    assert run_main(fail) == 0
    assert capsys.readouterr().err == ""


def test_a_bug_is_told_as_one_and_is_no_failed_check(capsys):
    def fail(argv):
        raise TypeError("unforeseen")

    assert run_main(fail) == BUG_STATUS == 70
    text = capsys.readouterr().err
    assert "TypeError: unforeseen" in text
    assert text.splitlines()[-1].startswith("error[E_BUG]: TypeError: this is a bug in differseg")


def test_codes_are_unique_and_at_most_eight():
    own = [DifferSegError, *DifferSegError.__subclasses__()]
    kinds = [kind for kind in own if kind.__module__ == "differseg.errors"]
    assert len(kinds) <= 8
    codes = {kind.code for kind in kinds}
    assert len(codes) == len(kinds)
    assert {kind.code for kind in own} == codes  # other packages add none


def test_packages_are_attributes_that_load_on_first_use():
    script = (
        "import sys, differseg; assert not [m for m in sys.modules if m.startswith('differseg.')];"
        "print(differseg.export.export_onnx.__name__, differseg.runtime.Segmenter.__name__,"
        " differseg.calibration.__name__)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "export_onnx Segmenter differseg.calibration\n", run.stderr


def test_import_is_light_and_fast():
    script = (
        "import sys, time; t = time.perf_counter(); import differseg, differseg.manifest, "
        "differseg.errors; s = time.perf_counter() - t; "
        "heavy = {'torch', 'onnx', 'cv2', 'tensorrt', 'numpy', 'timm', 'onnxruntime'} "
        "& set(sys.modules); assert not heavy, heavy; print(s)"
    )
    seconds = []
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        seconds.append(float(run.stdout))
        time.sleep(0.05)
    assert min(seconds) < 0.2


@pytest.mark.parametrize(("package", "extra"), [("onnxruntime", "runtime"), ("timm", "timm")])
def test_package_missed_in_the_middle_of_the_work_is_named(package, extra, monkeypatch, capsys):
    def work(argv):
        raise ModuleNotFoundError(f"No module named '{package}.part'", name=f"{package}.part")

    monkeypatch.setattr("differseg.models.listing.main", work)
    assert cli.main(["models"]) == 3
    assert f"pip install 'differseg[{extra}]'" in capsys.readouterr().err
