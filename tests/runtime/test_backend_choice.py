"""The table of engines: which one a file gets, why, and that a named one is never replaced."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from differseg.errors import (
    DifferSegError,
    InputError,
    ManifestError,
    MissingComponentError,
    ModelFileError,
)
from differseg.runtime import Segmenter
from differseg.runtime.backends import BackendName, choice, open_backend
from differseg.runtime.backends.choice import Candidate, outlook


class Opened:
    """What a stand-in for an engine opens."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.reason = name, why


def engine(name: Any, *, fails: str = "", **changes: Any) -> Candidate:
    """A stand-in for an engine that reads .onnx files."""

    def load(path: Path, options: Any, why: str) -> Any:
        if fails:
            raise ModelFileError(f"model {path}: {fails}")
        return Opened(name, why)

    def start() -> str:
        if fails:
            raise MissingComponentError(fails)
        return f"{name} 1.0"

    plain = Candidate(
        name=name,
        label=f"the {name}",
        suffixes=(".onnx",),
        merit=f"{name} is good",
        install=f"pip install {name}",
        missing=lambda: None,
        open=load,
        start=start,
        precisions=("f32",),
    )
    return replace(plain, **changes)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the table hold these engines."""

    def install(*candidates: Candidate) -> None:
        monkeypatch.setattr(choice, "CANDIDATES", candidates)

    return install


def test_the_order_is_the_names_order() -> None:
    assert tuple(entry.name for entry in choice.CANDIDATES) == get_args(BackendName)[1:]
    assert get_args(BackendName) == (
        "auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-rtx", "openvino", "onnxruntime",
    )  # fmt: skip


def test_the_first_that_can_is_chosen_and_says_why_not_the_earlier_ones(
    tiny_model: Path, table: Callable[..., None]
) -> None:
    table(
        engine("tensorrt", suffixes=(".engine", ".plan")),
        engine("onnxruntime-cuda", unsuited=lambda: "no NVIDIA GPU"),
        engine("onnxruntime-rtx", unsuited=lambda: "no NVIDIA GPU"),
        engine("openvino", missing=lambda: "not installed"),
        engine("onnxruntime"),
    )
    backend = open_backend(tiny_model)
    assert backend.name == "onnxruntime"
    assert backend.reason == (
        "chosen because onnxruntime is good (the tensorrt: reads .engine or .plan files; "
        "the onnxruntime-cuda, the onnxruntime-rtx: no NVIDIA GPU; the openvino: not installed)"
    )


def test_one_that_does_not_load_is_passed_over_with_a_warning(
    tiny_model: Path, table: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    table(engine("openvino", fails="no operator X"), engine("onnxruntime"))
    with caplog.at_level(logging.WARNING, "differseg.runtime"):
        backend = open_backend(tiny_model)
    expected = f"the openvino is passed over for the onnxruntime: model {tiny_model}: no operator X"
    assert [record.message for record in caplog.records] == [expected]
    assert "the openvino: does not load this file: model" in backend.reason


def test_a_run_reports_what_was_passed_over(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = next(entry for entry in choice.CANDIDATES if entry.name == "onnxruntime")
    monkeypatch.setattr(choice, "CANDIDATES", (engine("openvino", fails="no operator X"), real))
    with Segmenter(tiny_model, threads=1) as segmenter:
        (warning,) = segmenter.warnings
    assert warning.startswith("the openvino is passed over for ONNX Runtime: ")


def test_where_all_fail_the_last_ones_words_are_told(
    tiny_model: Path, table: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    table(
        engine("openvino", fails="first"),
        engine("onnxruntime-rtx", fails="second"),
        engine("onnxruntime", missing=lambda: "not installed"),
    )
    with pytest.raises(ModelFileError, match="second"):
        open_backend(tiny_model)
    assert not caplog.records


def test_without_any_engine_all_that_would_do_are_named(
    tiny_model: Path, table: Callable[..., None]
) -> None:
    table(
        engine("tensorrt", suffixes=(".engine",)),
        engine("onnxruntime-cuda", unsuited=lambda: "no NVIDIA GPU"),
        engine("openvino", missing=lambda: "not installed"),
        engine("onnxruntime", missing=lambda: "not installed"),
    )
    with pytest.raises(MissingComponentError) as caught:
        open_backend(tiny_model)
    text = str(caught.value)
    assert text.endswith("install one with: pip install openvino or pip install onnxruntime")
    assert "the openvino, the onnxruntime: not installed" in text


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"missing": lambda: "not installed"}, MissingComponentError, "pip install openvino"),
        ({"fails": "no operator X"}, ModelFileError, "no operator X"),
    ],
    ids=["missing", "does not load"],
)
def test_a_named_engine_is_never_replaced(
    tiny_model: Path,
    table: Callable[..., None],
    changes: dict[str, Any],
    kind: type[DifferSegError],
    said: str,
) -> None:
    table(engine("openvino", **changes), engine("onnxruntime"))
    with pytest.raises(kind, match=said):
        open_backend(tiny_model, "openvino")


def test_a_named_engine_is_taken_where_auto_would_not(
    tiny_model: Path, table: Callable[..., None]
) -> None:
    table(engine("openvino", unsuited=lambda: "not x86"), engine("onnxruntime"))
    backend = open_backend(tiny_model, "openvino")
    assert (backend.name, backend.reason) == ("openvino", "asked for")


def test_a_named_engine_refuses_files_of_another(tmp_path: Path) -> None:
    for path, name, reads in (
        (tmp_path / "m.onnx", "tensorrt", r"\.engine, \.plan or \.rtx files"),
        (tmp_path / "m.engine", "openvino", r"\.onnx files"),
    ):
        with pytest.raises(ModelFileError, match=f"--backend {name} reads {reads}"):
            open_backend(path, name)  # type: ignore[arg-type]


def test_a_precision_is_asked_of_engines_that_have_it(
    tiny_model: Path, table: Callable[..., None]
) -> None:
    both = engine("openvino", precisions=("f32", "bf16"))
    table(engine("onnxruntime-cuda", precisions=()), both, engine("onnxruntime"))
    backend = open_backend(tiny_model, cpu_precision="bf16")
    assert backend.name == "openvino"
    assert "the onnxruntime-cuda: cannot be told to compute in bf16" in backend.reason
    with pytest.raises(InputError, match=r"--cpu-precision bf16: .* --backend openvino"):
        open_backend(tiny_model, "onnxruntime", cpu_precision="bf16")
    table(replace(both, missing=lambda: "not installed"), engine("onnxruntime"))
    with pytest.raises(MissingComponentError, match=r"install one with: pip install openvino$"):
        open_backend(tiny_model, cpu_precision="bf16")
    assert open_backend(tiny_model, cpu_precision="f32").name == "onnxruntime"


def test_a_fault_of_the_file_is_told_once_and_tries_no_engine(
    tmp_path: Path, table: Callable[..., None]
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("an engine was tried")

    table(engine("onnxruntime", open=never))
    path = tmp_path / "two.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="empty"):
        open_backend(path)
    with pytest.raises((ModelFileError, ManifestError), match="no such file"):
        open_backend(tmp_path / "absent.onnx")


def test_openvino_is_the_choice_on_x86_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(entry for entry in choice.CANDIDATES if entry.name == "openvino")
    monkeypatch.setattr(choice, "is_x86", lambda: False)
    assert entry.unsuited() == "measured on x86 processors alone"
    monkeypatch.setattr(choice, "is_x86", lambda: True)
    assert entry.unsuited() is None


def test_the_outlook_says_what_would_be_faster(table: Callable[..., None]) -> None:
    table(
        engine("onnxruntime-cuda", unsuited=lambda: "no NVIDIA GPU"),
        engine("openvino", missing=lambda: "not installed"),
        engine("onnxruntime"),
    )
    found = outlook()
    assert (found.chosen, found.advice) == ("onnxruntime: onnxruntime 1.0", "pip install openvino")
    assert "the openvino: not installed" in found.reason


def test_the_outlook_starts_the_engine(table: Callable[..., None]) -> None:
    table(engine("openvino", fails="libtbb.so is missing"), engine("onnxruntime"))
    assert outlook().reason.endswith("(the openvino: libtbb.so is missing)")
    table(engine("openvino", fails="libtbb.so is missing"))
    assert outlook().chosen is None


@pytest.mark.parametrize("script", ["run_camera", "run_images"])
def test_a_missing_named_engine_ends_a_run_with_status_3(tiny_model: Path, script: str) -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        f"from differseg.runtime.{script} import main\n"
        "from differseg.options import run_main\n"
        "sys.exit(run_main(main))"
    )
    rgb = ["synthetic:"] if script == "run_camera" else [str(tiny_model)]
    thermal = ["--thermal", *rgb]
    command = [sys.executable, "-c", code, "--model", str(tiny_model), "--rgb", *rgb, *thermal]
    command += ["--backend", "openvino"]
    command += ["--headless"] if script == "run_camera" else ["--out", str(tiny_model.parent / "o")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr == (
        "error[E_MISSING]: --backend openvino: not installed; "
        "install it with: pip install 'differseg[openvino]'\n"
    )
