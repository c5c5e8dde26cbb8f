"""The doctor: true statements about this machine, and advice for what is missing."""

import importlib.metadata
import json
import os

import numpy
import onnxruntime
import pytest

from differseg import doctor


def test_json_report_tells_the_truth(capsys):
    status = doctor.main(["--json"])
    report = {f["part"]: f for f in json.loads(capsys.readouterr().out.splitlines()[-1])}
    assert report["numpy"]["detail"] == numpy.__version__
    assert report["inference backend"]["state"] == "ok"
    assert status == 0


def test_what_is_missing_comes_with_its_extra(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", absent)
    findings = {f.part: f for f in doctor._package_findings()}
    assert findings["torch"].state == "absent"
    assert findings["torch"].advice == "pip install 'differseg[export]'"


def test_without_onnxruntime_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = doctor._onnxruntime_finding()
    assert (found.state, found.advice) == ("absent", "pip install 'differseg[runtime]'")


HIDDEN = "import sys\nfor name in {names!r}:\n    sys.modules[name] = None\n"


def without(monkeypatch, *names):
    """Let the doctor's child process miss these packages, and find no GPU."""
    hidden = HIDDEN.format(names=names)
    hidden += "from differseg.runtime import gpu\ngpu.find_gpu = lambda: None\n"
    monkeypatch.setattr(doctor, "_OUTLOOK", hidden + doctor._OUTLOOK)


def test_the_backend_is_the_one_that_a_run_would_take(monkeypatch):
    without(monkeypatch, "openvino")
    found = doctor._backend_finding()
    assert found.state == "ok"
    assert found.detail.startswith(f"onnxruntime: ONNX Runtime {onnxruntime.__version__}, chosen")
    assert "OpenVINO: not installed" in found.detail
    assert found.advice == "faster: pip install 'differseg[openvino]'"


def test_without_any_backend_nothing_can_run(monkeypatch, capsys):
    without(monkeypatch, "openvino", "onnxruntime")
    found = doctor._backend_finding()
    assert found.state == "problem"
    assert found.detail.startswith("none: TensorRT: ")
    wanted = "pip install 'differseg[openvino]' or pip install 'differseg[runtime]'"
    assert found.advice == wanted
    monkeypatch.setattr(doctor, "diagnose", lambda: [found])
    assert doctor.main(["--json"]) == 1
    capsys.readouterr()


def test_an_outlook_that_crashes_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "_OUTLOOK", "raise RuntimeError('illegal instruction')")
    found = doctor._backend_finding()
    assert (found.state, found.detail) == ("problem", "RuntimeError: illegal instruction")


def test_onnxruntime_is_what_can_be_imported_under_any_distribution(monkeypatch):
    def version(name):
        if name == "onnxruntime-gpu":
            return "1.23.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    found = doctor._onnxruntime_finding()
    assert (found.state, found.detail) == ("ok", onnxruntime.__version__)


def test_an_onnxruntime_that_does_not_load_is_a_problem(tmp_path, monkeypatch):
    package = tmp_path / "onnxruntime"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libcudart.so.12 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor._onnxruntime_finding()
    assert found.state == "problem"
    assert found.detail == "ImportError: libcudart.so.12 is missing"
    assert found.advice.startswith("pip uninstall onnxruntime")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\nexec sleep 60\n", "no answer within 0.5 s"),
        ("not a program", "cannot be run: Exec format error"),
        ("#!/bin/sh\necho 'no devices were found' >&2\nexit 6\n", "no devices were found"),
        ("#!/bin/sh\nexit 9\n", "exit status 9"),
    ],
    ids=["hangs", "not executable", "no device", "silent"],
)
def test_an_nvidia_smi_that_does_not_answer_is_a_problem(tmp_path, monkeypatch, program, said):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(program)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if said.startswith("no answer"):
        monkeypatch.setattr(doctor, "_PATIENCE_S", 0.5)
    found = doctor._gpu_finding()
    assert found.state == "problem"
    assert said in found.detail


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("# R36 (release)\nx", "# R36")])
def test_a_jetson_says_its_release(tmp_path, monkeypatch, text, said):
    release = tmp_path / "nv_tegra_release"
    release.write_text(text)
    monkeypatch.setattr(doctor, "_JETSON_RELEASE", release)
    found = doctor._jetson_finding()
    assert found.state == "ok"
    assert said in found.detail


def test_a_broken_package_is_a_problem_with_its_message():
    ok, text = doctor._probe("raise RuntimeError('operator nms does not exist')")
    assert not ok
    assert text == "RuntimeError: operator nms does not exist"


def test_table_names_every_part(capsys):
    doctor.main([])
    text = capsys.readouterr().out
    assert "OpenCV" in text
    assert "inference backend" in text
