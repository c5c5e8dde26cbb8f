"""One graph in three spellings: what differs between the files, and what must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from differseg.errors import InputError, ModelFileError
from differseg.export import export_onnx
from differseg.export.example_check import runnable
from differseg.export.lowering.plugin_nodes import PLUGIN_NODES
from differseg.export.lowering.registry import LOWERINGS
from differseg.export.lowering.spelling import lower
from differseg.ops import dwt2, fft, gaussian_lowpass, idwt2, irfft2, rfft2, warp

pytestmark = pytest.mark.usefixtures("one_thread")
FORMS = ("portable", "function", "plugin")


class Bands(nn.Module):
    """Gate a spectrum and the bands of a wavelet transform, between convolutions."""

    def __init__(self, wavelet: str = "db2") -> None:
        super().__init__()
        self.wavelet = wavelet
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.gate = nn.Parameter(torch.rand(4, 1, 12, 9))
        self.mix = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.stem(x)))
        y = irfft2(rfft2(y) * self.gate, width=y.shape[-1])
        bands = dwt2(gaussian_lowpass(y, 0.8), self.wavelet)
        mixed = self.mix(bands.flatten(1, 2)).unflatten(1, (4, 4))
        return idwt2(mixed, self.wavelet)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network in every spelling; the export compares each with PyTorch."""
    torch.manual_seed(3)
    module, folder = Bands(), tmp_path_factory.mktemp("spellings")
    paths = {form: folder / f"{form}.onnx" for form in FORMS}
    for form, path in paths.items():
        export_onnx(module, {"x": torch.rand(1, 3, 12, 16)}, path, ops=form)
    return paths


def _domains(model: onnx.ModelProto) -> set[str]:
    return {node.domain for node in model.graph.node}


def test_portable_has_standard_operators_alone(files: dict[str, Path]) -> None:
    model = onnx.load(files["portable"])
    assert _domains(model) == {""}
    assert not model.functions
    assert [opset.domain for opset in model.opset_import] == [""]
    assert not any(node.op_type == "Constant" for node in model.graph.node)


def test_function_reads_like_the_network(files: dict[str, Path]) -> None:
    model = onnx.load(files["function"])
    names = [node.op_type for node in model.graph.node if node.domain == "differseg"]
    assert names == [
        "DiffersegRfft2", "DiffersegIrfft2", "DiffersegGaussian", "DiffersegDwt2", "DiffersegIdwt2",
    ]  # fmt: skip
    assert {function.name for function in model.functions} == set(names)
    for function in model.functions:
        assert {node.domain for node in function.node} == {""}
        assert [opset.version for opset in function.opset_import if not opset.domain] == [17]
    norm = next(n for n in model.graph.node if n.op_type == "DiffersegRfft2").attribute[0]
    assert (norm.name, norm.s) == ("norm", b"ortho")


def test_plugin_leaves_nodes_with_a_kernel_bare(files: dict[str, Path]) -> None:
    model = onnx.load(files["plugin"])
    own = [node for node in model.graph.node if node.domain == "differseg"]
    assert not model.functions
    assert [node.op_type for node in own] == [
        "DiffersegRfft2", "DiffersegIrfft2", "DiffersegDwt2", "DiffersegIdwt2",
    ]  # fmt: skip
    for node in own:
        given = {a.name: a.s for a in node.attribute if a.type == onnx.AttributeProto.STRING}
        assert given["plugin_version"] == b"1"
        assert given["plugin_namespace"] == b"differseg"
    assert "Conv" in {node.op_type for node in model.graph.node}, "the Gaussian has no kernel"


def _parameters(model: onnx.ModelProto) -> dict[str, bytes]:
    named = ("stem.weight", "stem.bias", "mix.weight", "mix.bias", "gate")
    tensors = {t.name: numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}
    return {name: tensors[name] for name in named}


def test_weights_are_the_same_bits_in_every_spelling(files: dict[str, Path]) -> None:
    stored = {form: _parameters(onnx.load(path)) for form, path in files.items()}
    assert stored["portable"] == stored["function"] == stored["plugin"]


def test_functions_hold_the_constants_of_the_portable_form(files: dict[str, Path]) -> None:
    model = onnx.load(files["function"])
    inside = {
        numpy_helper.to_array(node.attribute[0].t).tobytes()
        for function in model.functions
        for node in function.node
        if node.op_type == "Constant"
    }
    portable = onnx.load(files["portable"])
    parameters = set(_parameters(portable).values())
    shared = {numpy_helper.to_array(t).tobytes() for t in portable.graph.initializer} - parameters
    assert shared <= inside | {numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}


def test_spellings_compute_the_same(files: dict[str, Path]) -> None:
    x = np.random.default_rng().random((1, 3, 12, 16), dtype=np.float32)
    found = {}
    for form, path in files.items():
        with runnable(path) as file:
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (found[form],) = session.run(None, {"x": x})
    for form in ("function", "plugin"):
        assert np.abs(found[form] - found["portable"]).max() <= 1e-6


def test_constants_are_shared(tmp_path: Path) -> None:
    twice = _Twice()
    export_onnx(twice, {"x": torch.rand(1, 3, 12, 16)}, tmp_path / "f.onnx")
    tensors = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "f.onnx").graph.initializer]
    kept = [(array.dtype, array.shape, array.tobytes()) for array in tensors]
    assert len(set(kept)) == len(kept)


class _Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return rfft2(x) + rfft2(torch.relu(x))


def test_calls_of_one_shape_share_a_function(tmp_path: Path) -> None:
    export_onnx(_Twice(), {"x": torch.rand(1, 3, 12, 16)}, tmp_path / "f.onnx", ops="function")
    assert [function.name for function in onnx.load(tmp_path / "f.onnx").functions] == [
        "DiffersegRfft2"
    ]


def test_filters_too_long_for_the_kernel_are_written_portable(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 12, 16)}
    result = export_onnx(Bands("db21"), example, tmp_path / "f.onnx", ops="plugin")
    own = [n.op_type for n in onnx.load(tmp_path / "f.onnx").graph.node if n.domain == "differseg"]
    assert own == ["DiffersegRfft2", "DiffersegIrfft2"]
    reasons = {d.what: d.reason for d in result.decisions}
    assert reasons["DiffersegDwt2"] == "the kernel takes filters of at most 40 taps, these have 42"


class Normed(nn.Module):
    """A norm behind an operator that a convolution stands for, another behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.own_norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.norm, self.low_norm = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for part in (self.own_norm, self.norm, self.low_norm):
            nn.init.uniform_(part.weight, 0.5, 2.0)
            nn.init.uniform_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.low_norm(gaussian_lowpass(self.own_norm(self.conv(x)), 1.0, 5))
        return self.norm(idwt2(dwt2(y, "db2"), "db2"))


def _numbers(path: Path) -> dict[str, bytes]:
    """Return every constant of the graph itself that is a real number, by its name."""
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    return {name: a.tobytes() for name, a in tensors.items() if a.dtype == np.float32}


def test_a_norm_behind_an_operator_is_the_same_in_every_spelling(tmp_path: Path) -> None:
    module, stored = Normed(), {}
    for form in FORMS:
        path = tmp_path / f"{form}.onnx"
        export_onnx(module, {"x": torch.rand(1, 3, 12, 16)}, path, ops=form)
        stored[form] = _numbers(path)
    stored["function"].pop("const/float32_1")  # the width of the Gaussian
    assert set(stored["function"]) == {
        "conv.weight", "conv.bias", "norm.factor", "norm.shift", "low_norm.factor",
        "low_norm.shift",
    }  # fmt: skip
    for form in ("portable", "plugin"):
        assert stored[form].items() >= stored["function"].items()


def test_functions_are_chosen_like_the_portable_form(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 12, 16)}
    found = {
        form: export_onnx(Bands(), example, tmp_path / "f.onnx", ops=form, verify=False).decisions
        for form in ("portable", "function")
    }
    assert "DiffersegRfft2 of 4x12x16" in {decision.what for decision in found["function"]}
    assert found["function"] == found["portable"]


def test_a_network_without_our_operators_says_so(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 12, 16)}
    for form, what in (("function", "functions"), ("plugin", "plugins")):
        result = export_onnx(nn.Conv2d(3, 4, 3), example, tmp_path / "f.onnx", ops=form)
        assert (what, "none") in {(d.what, d.value) for d in result.decisions}


def test_types_without_a_kernel_are_written_portable(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 12, 16, dtype=torch.float64)}
    result = export_onnx(_Twice(), example, tmp_path / "f.onnx", ops="plugin")
    assert _domains(onnx.load(tmp_path / "f.onnx")) == {""}
    reasons = {d.what: d.reason for d in result.decisions}
    assert reasons["DiffersegRfft2"].startswith("the kernel takes FLOAT or FLOAT16")


class _Fixed(nn.Module):
    """Operators on parameters alone, one on the result of another."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.rand(1, 3, 12, 16))

    def forward(self, x: Tensor) -> Tensor:
        read = warp(self.map, self.map[:, :2] * 9)
        there = fft(rfft2(read, "forward"), -2, inverse=True, norm="forward")
        return x * (read.mean() + there.mean())


@pytest.mark.parametrize("form", FORMS)
def test_operators_on_parameters_are_constants(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(_Fixed(), {"x": torch.rand(1, 3, 12, 16)}, tmp_path / "f.onnx", ops=form)
    assert [node.op_type for node in onnx.load(tmp_path / "f.onnx").graph.node] == ["Mul"]
    assert "Evaluation failed" not in capfd.readouterr().err


def _edited(files: dict[str, Path], folder: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    """Return a copy of the file of the plugin form that someone has edited."""
    model = onnx.load(files["plugin"])
    edit(model)
    onnx.save(model, folder / "edited.onnx")
    return folder / "edited.onnx"


def _own(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op_type)


def _without(op_type: str, name: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        node = _own(model, op_type)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend(kept)

    return edit


def _with(op_type: str, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        _without(op_type, name)(model)
        _own(model, op_type).attribute.append(helper.make_attribute(name, value))

    return edit


def _without_shapes(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]


def _without_operand(model: onnx.ModelProto) -> None:
    del _own(model, "DiffersegRfft2").input[:]


def _with_a_spectrum(model: onnx.ModelProto) -> None:
    _own(model, "DiffersegRfft2").input[:] = _own(model, "DiffersegIrfft2").input


def _without_kernel(model: onnx.ModelProto) -> None:
    _own(model, "DiffersegRfft2").op_type = "DiffersegRfft"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_without("DiffersegDwt2", "mode"), "refuses the attribute mode: it is missing"),
        (
            _with("DiffersegDwt2", "mode", 3),
            "refuses the attribute mode: it is INT, expected STRING",
        ),
        (
            _with("DiffersegRfft2", "norm", "orto"),
            "attribute norm: it is 'orto', expected one of backward, ",
        ),
        (
            _with("DiffersegIrfft2", "width", 0),
            "attribute width: it is 0, expected 1 to 2147483647",
        ),
        (_with("DiffersegIrfft2", "width", 18), "width is 18, expected 16 or 17 for 9 bins"),
        (
            _with("DiffersegIdwt2", "height", 14),
            "bands have the size (6, 8), expected (7, 8) for a map of (14, 16)",
        ),
        (_with_a_spectrum, "(norm ortho) do not go with operands of shape [1,4,2,12,9]"),
        (_without_shapes, "the type or shape of operand 0 is not known"),
        (_without_operand, "(norm ortho) do not go with operands of shape no"),
        (_without_kernel, "the plugin library has no kernel for it, and the file no definition"),
    ],
    ids=[
        "missing",
        "type",
        "word",
        "number",
        "width",
        "height",
        "rank",
        "shapes",
        "operands",
        "kernel",
    ],
)
def test_an_edited_file_is_refused(
    edit: Callable[[onnx.ModelProto], None], words: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = _edited(files, tmp_path, edit)
    named = r"edited.onnx: Differseg.* \(node "
    with pytest.raises(ModelFileError, match=named) as caught, runnable(path):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _bare(op_type: str, shape: list[int | str]) -> ir.Model:
    """Return a graph of one node of ours."""
    node = helper.make_node(op_type, ["x"], ["y"], name="net/own", domain="differseg", norm="ortho")
    graph = helper.make_graph(
        [node],
        "bare",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("differseg", 1)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opsets))


def test_a_size_that_varies_is_refused() -> None:
    with pytest.raises(InputError, match=r"DiffersegRfft2 .* operand 0 has the shape \[1,3,h,8\]"):
        lower(_bare("DiffersegRfft2", [1, 3, "h", 8]), "portable")


def test_an_operator_that_is_not_ours_is_refused() -> None:
    with pytest.raises(InputError, match=r"DiffersegFoo .* no such operator; expected one of Diff"):
        lower(_bare("DiffersegFoo", [1, 3, 8, 8]), "portable")


def test_every_kernel_belongs_to_an_operator() -> None:
    assert set(PLUGIN_NODES) <= set(LOWERINGS)
