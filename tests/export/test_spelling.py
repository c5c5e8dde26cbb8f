"""One graph in three spellings: what differs between the files, and what must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export import export_onnx
from differseg.export.example_check import runnable
from differseg.export.lowering.plugin_nodes import PLUGIN_NODES
from differseg.export.lowering.registry import LOWERINGS
from differseg.export.lowering.spelling import lower
from differseg.ops import dwt2, gaussian_lowpass, idwt2, irfft2, rfft2

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
