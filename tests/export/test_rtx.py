"""NVIDIA's parser and builder: verdicts, and containment of what native code can do."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest
from planted_graphs import dft, doubling_function, planted

from differseg.errors import InputError, MissingComponentError
from differseg.export import rtx

pytestmark = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")


@pytest.fixture
def saved(tmp_path):
    def save(model: onnx.ModelProto):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


def test_a_small_graph_is_built(saved):
    report = rtx.build(saved(planted("Relu")))
    assert report.passed, report.reason
    assert report.version.count(".") == 2
    assert report.layer_types == {"activation": 1}
    (x,) = report.inputs
    assert x == {"name": "x", "shape": [1, 4, 8, 8], "dtype": "float32", "makes_shape": False}
    assert report.engine_bytes > 500
    assert "scratch" in report.memory


def test_a_refused_node_is_named(saved):
    report = rtx.build(saved(dft()))
    assert report.status == "refused"
    (error,) = report.errors
    assert (error.node, error.name, error.op) == (0, "net/planted", "DFT")
    assert "Plugin not found" in report.reason


def test_a_refused_node_inside_a_function_is_named(saved):
    function = doubling_function()
    function.node[0].CopyFrom(onnx.helper.make_node("DFT", ["x"], ["y"], axis=1))
    model = planted("Double", shape=(1, 4, 8, 2), domain="differseg", functions=[function])
    report = rtx.build(saved(model))
    assert report.status == "refused"
    assert report.errors[0].functions
    assert "in function" in str(report.errors[0])


def test_what_is_no_model_is_refused_though_the_library_calls_it_a_success(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a model " * 20)
    report = rtx.build(path)
    assert report.status == "refused"
    assert "no graph" in report.reason or "Failed to parse" in report.reason


def test_dynamic_shapes_need_a_profile(saved):
    path = saved(planted("Relu", shape=("n", 4, 8, 8)))
    report = rtx.build(path)
    assert report.status == "build_failed"
    assert "input x has no profile" in report.reason
    shapes = [[1, 4, 8, 8], [2, 4, 8, 8], [4, 4, 8, 8]]
    assert rtx.build(path, profiles={"x": shapes}).passed
    report = rtx.build(path, profiles={"x": [[1, 4, 8, 9]] * 3})
    assert not report.passed


def test_a_timeout_is_a_report(saved):
    report = rtx.build(saved(planted("Relu")), timeout_s=0.01)
    assert report.status == "timeout"
    assert "0.01 s" in report.reason


def test_a_crash_is_a_report(saved, monkeypatch):
    monkeypatch.setattr(
        rtx, "_COMMAND", ("-c", "import os; print('{\"stage\": \"build\", \"version\": \"1.7.1\"}',"
                          " flush=True); os.kill(os.getpid(), 11)"),
    )  # fmt: skip
    report = rtx.build(saved(planted("Relu")))
    assert report.status == "crashed"
    assert "in stage build with SIGSEGV" in report.reason


def test_a_process_that_does_not_start_says_why(saved, monkeypatch):
    monkeypatch.setattr(rtx, "_COMMAND", ("-c", "import a_module_that_is_not_there"))
    said = r"does not start .*exit status 1: ModuleNotFoundError: .*a_module_that_is_not_there.*pip"
    with pytest.raises(MissingComponentError, match=said) as caught:
        rtx.build(saved(planted("Relu")))
    assert "\n" not in str(caught.value)


def test_the_process_imports_nothing_from_the_current_folder(saved, tmp_path, monkeypatch):
    path = saved(planted("Relu"))
    (tmp_path / "differseg").mkdir()
    (tmp_path / "differseg" / "__init__.py").write_text("raise SystemExit('another differseg')")
    monkeypatch.chdir(tmp_path)
    assert rtx.build(path.name).passed


def test_the_process_imports_from_where_pythonpath_points(saved, tmp_path, monkeypatch):
    path = saved(planted("Relu"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a_module.py").write_text('print(\'{"stage": "a_module"}\', flush=True)')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "here")
    monkeypatch.setattr(rtx, "_COMMAND", ("-c", "import a_module"))
    with pytest.raises(MissingComponentError, match="in stage a_module with exit status 0"):
        rtx.build(path)


def test_an_unknown_version_must_pass_the_self_test(saved, monkeypatch):
    path = saved(planted("Relu"))
    monkeypatch.setattr(rtx, "TESTED_VERSIONS", frozenset())
    rtx._passes_self_test.cache_clear()
    assert rtx.build(path).passed
    monkeypatch.setattr(rtx, "_probe_model", lambda: planted("Tanh").SerializeToString())
    rtx._passes_self_test.cache_clear()
    with pytest.raises(MissingComponentError, match="self-test failed"):
        rtx.build(path)
    rtx._passes_self_test.cache_clear()


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        rtx.build(tmp_path / "none.onnx")


def test_another_platform_says_so(monkeypatch):
    monkeypatch.setattr(rtx.platform, "machine", lambda: "aarch64")
    assert not rtx.is_available()
    with pytest.raises(MissingComponentError, match="Linux on x86-64 only"):
        rtx.find_libraries()


def test_the_worker_needs_only_the_standard_library():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import differseg.export.rtx_worker\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - sys.stdlib_module_names))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('differseg')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    foreign, ours = done.stdout.splitlines()
    assert foreign == "differseg"
    assert ours.split() == [
        "differseg", "differseg.export", "differseg.export.rtx_abi", "differseg.export.rtx_worker",
    ]  # fmt: skip
