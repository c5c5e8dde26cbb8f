"""The check verb: exit status, one-line errors, and the report as JSON."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from planted_graphs import UINT8, dft, doubling_function, planted, quantised

from differseg import export
from differseg.cli import main
from differseg.errors import MissingComponentError, ModelFileError
from differseg.export import rtx

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    model = planted("Relu")
    onnx.save(model, tmp_path / "good.onnx")
    return tmp_path / "good.onnx"


@pytest.fixture
def fourier(tmp_path: Path) -> Path:
    onnx.save(dft(), tmp_path / "dft.onnx")
    return tmp_path / "dft.onnx"


def test_a_good_file_passes(good, capsys):
    assert main(["check", str(good), "--target", "jetpack5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["passed"]
    assert document["targets"]["trt11.4"] == "yes"
    assert [node["level"] for node in document["nodes"]] == ["yes"]
    assert document["rtx"] is None


def test_a_planted_fourier_transform_is_refused(fourier, capsys):
    assert main(["check", str(fourier)]) == 1
    out = capsys.readouterr().out
    assert "DFT" in out
    assert "constant cosines" in out
    assert "trt8.5 to trt11.1" in " ".join(out.split())


@needs_rtx
def test_nvidia_refuses_the_planted_fourier_transform_too(fourier):
    report = export.check(fourier, "onnxruntime", real=True)
    assert [v.level for v in report.nodes] == ["yes"], "the lint alone lets it pass here"
    assert report.rtx is not None
    assert report.rtx.status == "refused"
    assert report.rtx.errors[0].op == "DFT"
    assert not report.passed


@needs_rtx
def test_nvidia_builds_a_dynamic_graph_with_a_profile_of_our_own(tmp_path):
    onnx.save(planted("Relu", shape=("n", 4, 8, 8)), tmp_path / "dynamic.onnx")
    report = export.check(tmp_path / "dynamic.onnx", "rtx1", real=True)
    assert report.passed, report.reasons()


def test_an_invalid_graph_is_refused_by_the_checker(tmp_path):
    model = planted("Relu")
    model.graph.node[0].input[0] = "nowhere"
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    report = export.check(tmp_path / "bad.onnx")
    assert not report.passed
    assert "nowhere" in report.reasons()[0]


def test_the_checker_says_which_name_and_no_target_is_said_to_take_the_file(tmp_path, capsys):
    model = planted("Relu")
    model.graph.node[0].input[0] = "nowhere"
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    assert main(["check", str(tmp_path / "bad.onnx")]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "however input 'nowhere' of node: name: net/planted" in said
    assert "over all targets: ONNX itself refuses it" in said


def contradicting(op: str, **attributes) -> onnx.ModelProto:
    """Return a product of matrices that do not fit, or a sum of two element types."""
    weight = {"MatMul": np.ones((7, 3), np.float32), "Add": np.ones((4, 8), np.float16)}[op]
    return planted(op, shape=(4, 8), inputs=("x", "w"), constants=[("w", weight)], **attributes)


@pytest.mark.parametrize("op", ["MatMul", "Add"])
def test_shapes_and_types_that_contradict_are_refused(op, tmp_path):
    onnx.save(contradicting(op), tmp_path / "f.onnx")
    report = export.check(tmp_path / "f.onnx", "jetpack6")
    assert not report.passed
    assert f"(op_type:{op}, node name: net/planted)" in report.checker


@needs_rtx
@pytest.mark.parametrize("op", ["MatMul", "Add"])
def test_nvidia_refuses_what_contradicts_too(op, tmp_path):
    onnx.save(contradicting(op), tmp_path / "f.onnx")
    report = export.check(tmp_path / "f.onnx", "rtx1", real=True)
    assert report.rtx is not None
    assert report.rtx.status == "refused"


def test_a_wrongly_declared_shape_and_an_unknown_operator_are_no_contradiction(tmp_path):
    declared = planted("Relu")
    declared.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 9
    unknown = planted("Wavelet", domain="acme")
    unknown.graph.node.append(onnx.helper.make_node("MatMul", ["y", "y"], ["z"]))
    for model in (declared, unknown):
        onnx.save(model, tmp_path / "f.onnx")
        assert export.check(tmp_path / "f.onnx").checker == ""


def test_damaged_bytes_never_end_in_a_traceback(tmp_path):
    rng = random.Random(0)
    sources = [
        quantised(UINT8), dft(), sliced(external=False), contradicting("MatMul"),
        planted("GridSample", inputs=("x", "grid"), opset=20, mode="linear"),
        planted("Double", domain="differseg", functions=[doubling_function()]),
    ]  # fmt: skip
    path = tmp_path / "f.onnx"
    for _ in range(400):
        data = bytearray(rng.choice(sources).SerializeToString())
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(ModelFileError):
            export.check(path)


def test_names_that_are_no_text_and_constants_without_a_name_are_reasons(tmp_path):
    damaged = planted("GridSample", inputs=("x", "grid"), opset=20, mode="linear")
    damaged.graph.node[0].attribute[0].s = b"\xff\xfe"
    nameless = planted("Relu")
    nameless.graph.node.append(onnx.helper.make_node("Constant", [], []))
    shouted = planted("Relu").SerializeToString().replace(b"net/planted", b"net\xff\xfelanted")
    shouted = shouted.replace(b"Relu", b"\xffelu")
    for data in (damaged.SerializeToString(), nameless.SerializeToString(), shouted):
        (tmp_path / "f.onnx").write_bytes(data)
        assert not export.check(tmp_path / "f.onnx").passed


BAD = {
    "missing": (None, "there is no such file"),
    "empty": (b"", "the file is empty"),
    "text": (b"hello, I am not a model\n" * 9, "not an ONNX file"),
    "truncated": (planted("Relu").SerializeToString()[:-9], "truncated"),
    "another protobuf": (onnx.TensorProto(dims=[1]).SerializeToString(), "not an ONNX file"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("flags", [[], ["--real"]], ids=["lint", "real"])
def test_a_bad_file_is_one_line_and_status_2(tmp_path, capsys, content, said, flags):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    if flags and not rtx.is_available():
        pytest.skip("TensorRT-RTX is not installed")
    assert main(["check", str(path), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error[E_MODEL]: ")
    assert said in captured.err


def sliced(*, external: bool) -> onnx.ModelProto:
    """Return a slice with constant axes, and a quantised weight with a zero point per channel."""
    model = planted(
        "Slice",
        inputs=("x", "start", "end", "axes"),
        constants=[
            (name, np.array([number])) for name, number in (("start", 0), ("end", 8), ("axes", 1))
        ],
    )
    weights = (np.ones((4, 2), np.int8), np.ones(4, np.float32), np.zeros(4, np.int8))
    names = ("w", "scale", "zero")
    for name, values in zip(names, weights, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", names, ["d"], axis=0))
    if external:
        options = {"all_tensors_to_one_file": True, "location": "w.data", "size_threshold": 0}
        onnx.external_data_helper.convert_model_to_external_data(model, **options)
    return model


def test_external_data_lies_beside_the_file_and_not_where_one_stands(tmp_path, monkeypatch):
    onnx.save(sliced(external=True), str(tmp_path / "f.onnx"))
    assert (tmp_path / "w.data").exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    report = export.check(tmp_path / "f.onnx", "jetpack6.0")
    assert report.passed, report.reasons()


def test_external_data_that_is_missing_is_a_reason(tmp_path, capsys):
    onnx.save(sliced(external=True), str(tmp_path / "f.onnx"))
    (tmp_path / "w.data").unlink()
    assert main(["check", str(tmp_path / "f.onnx")]) == 1
    assert "w.data" in capsys.readouterr().out


def test_a_damaged_constant_is_a_reason(tmp_path, capsys):
    model = planted("TopK", inputs=("x", "k"), outputs=("y", "i"), constants=[("k", [1])])
    model.graph.initializer[0].raw_data = b"123"
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    assert main(["check", str(tmp_path / "f.onnx")]) == 1
    assert "raw_data" in capsys.readouterr().out


def test_an_operator_is_called_what_the_file_calls_it(tmp_path, capsys):
    model = planted("Foo[/]")
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    assert main(["check", str(tmp_path / "f.onnx")]) == 1
    assert "Foo[/]" in capsys.readouterr().out


@needs_rtx
def test_what_nvidia_warns_of_is_told_on_a_pass_too(tmp_path, capsys):
    onnx.save(quantised(UINT8), tmp_path / "f.onnx")
    main(["check", str(tmp_path / "f.onnx"), "--target", "onnxruntime", "--real"])
    said = " ".join(capsys.readouterr().out.split())
    assert "engine built" in said
    assert said.count("Defaulting to INT8") == 1


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(ModelFileError, match="is a folder"):
        export.check(tmp_path)


def test_real_without_the_package_is_status_3(good, monkeypatch, capsys):
    monkeypatch.setattr(rtx, "PACKAGE", "a_package_that_is_not_there")
    assert main(["check", str(good), "--real"]) == 3
    assert "pip install 'differseg[rtx]'" in capsys.readouterr().err
    with pytest.raises(MissingComponentError):
        export.check(good, real=True)


def test_the_package_is_light_and_its_names_are_functions():
    code = (
        "import sys, differseg.export as e\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'cv2'} & set(sys.modules)\n"
        "first = e.check\n"
        "import differseg.export.check, differseg.export.parity\n"
        "assert e.check is first and callable(e.check) and callable(e.parity)\n"
        "assert callable(e.export_onnx)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
