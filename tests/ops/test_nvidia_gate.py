"""NVIDIA's own parser and builder take every operator's graph, and the lint agrees with them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from operator_networks import SINGLE, SMALL

from differseg.export import export_onnx, rtx
from differseg.export.check import check
from differseg.export.lint import levels_by_target
from differseg.export.lowering.plugin_nodes import PLUGIN_NODES
from differseg.export.targets import TARGETS

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not rtx.is_available(), reason=f"NVIDIA's parser: {rtx.INSTALL_HINT}"),
]
CASES = SINGLE | SMALL
DTYPES = [torch.float32, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_portable_graphs_build(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "f.onnx"
    export_onnx(case.module(dtype), case.inputs(dtype), path)
    report = check(path, "rtx1", real=True)
    assert report.rtx is not None
    assert report.rtx.passed, report.rtx.reason
    assert report.passed, report.reasons()
    refusing = {name for name, level in report.targets.items() if level == "no"}
    assert not refusing, f"{name}: refused by {refusing}"


@pytest.mark.parametrize("name", SMALL)
def test_function_graphs_build(name: str, tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    export_onnx(
        SMALL[name].module(torch.float32), SMALL[name].inputs(torch.float32), path, ops="function"
    )
    model = onnx.load(path)
    called = [node.op_type for node in model.graph.node if node.domain == "differseg"]
    assert sorted({function.name for function in model.functions}) == sorted(set(called))
    report = check(path, "rtx1", real=True)
    assert report.passed, report.reasons()
    levels = levels_by_target(model)
    assert all(
        (levels[n] == "no") == (TARGETS[n].version < (9, 0)) for n in TARGETS if n != "onnxruntime"
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", SMALL)
def test_plugin_graphs_build_with_our_library_and_not_without(
    name: str, dtype: torch.dtype, tmp_path: Path, plugin_library: Path
) -> None:
    case, path = SMALL[name], tmp_path / "f.onnx"
    export_onnx(case.module(dtype), case.inputs(dtype), path, ops="plugin")
    bare = {n.op_type for n in onnx.load(path).graph.node if n.domain == "differseg"}
    assert bare <= set(PLUGIN_NODES)
    report = check(path, "rtx1", real=True, plugins=[plugin_library])
    assert report.passed, report.reasons()
    without = check(path, "rtx1", real=True)
    assert without.passed == (not bare)


def test_every_plugin_node_occurs_in_the_networks(tmp_path: Path) -> None:
    found: set[str] = set()
    for name, case in SMALL.items():
        path = tmp_path / f"{name}.onnx"
        export_onnx(
            case.module(torch.float32), case.inputs(torch.float32), path, ops="plugin", verify=False
        )
        found |= {n.op_type for n in onnx.load(path).graph.node if n.domain == "differseg"}
    assert found == set(PLUGIN_NODES)


@pytest.mark.parametrize("opset", [17, 20])
def test_the_dft_operator_is_refused_below_11_2_by_both(opset: int, tmp_path: Path) -> None:
    inputs = ["x", "", "axis"] if opset >= 20 else ["x"]
    attributes = {"onesided": 1} | ({} if opset >= 20 else {"axis": 2})
    node = helper.make_node("DFT", inputs, ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "transform",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 30, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 2])],
        [helper.make_tensor("axis", TensorProto.INT64, [], [2])] if opset >= 20 else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, tmp_path / "dft.onnx")
    report = check(tmp_path / "dft.onnx", "rtx1", real=True)
    assert report.rtx is not None
    assert report.rtx.status == "refused"
    levels = levels_by_target(model)
    reads = {n: t for n, t in TARGETS.items() if t.engine == "tensorrt" and t.max_opset >= opset}
    assert {n for n in reads if levels[n] == "no"} == {
        n for n, target in reads.items() if target.version < (11, 2)
    }
