"""Element types against what each target has, and uint8 in every place; NVIDIA's word on each."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from planted_graphs import FLOAT, UINT8, cast, chain

from differseg.export import rtx
from differseg.export.check import check
from differseg.export.lint import lint, worst
from differseg.export.targets import TARGETS, element_types

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
TYPES = (
    "UINT8 INT8 UINT16 INT16 INT32 INT64 BOOL FLOAT16 DOUBLE UINT32 UINT64 BFLOAT16 FLOAT8E5M2 "
    "FLOAT8E4M3FN UINT4 INT4 STRING COMPLEX64"
).split()


def identity(before: str, after: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [before], [after])


def transpose(before: str, after: str) -> onnx.NodeProto:
    return helper.make_node("Transpose", [before], [after], perm=[0, 1, 2, 3])


BYTES = {
    "input, cast": (chain(cast("x", "y", FLOAT), x=UINT8), True),
    "input to output": (chain(identity("x", "y"), x=UINT8, y=UINT8), True),
    "cast at the output": (chain(cast("x", "y", UINT8), y=UINT8), True),
    "shape of the input": (
        chain(helper.make_node("Shape", ["x"], ["s"]), cast("x", "y", FLOAT), x=UINT8), True,
    ),
    "float to uint8 to float": (chain(cast("x", "u", UINT8), cast("u", "y", FLOAT)), False),
    "copied input": (chain(identity("x", "u"), cast("u", "y", FLOAT), x=UINT8), False),
    "moved input": (chain(transpose("x", "u"), cast("u", "y", FLOAT), x=UINT8), False),
    "moved output": (chain(cast("x", "u", UINT8), transpose("u", "y"), y=UINT8), False),
}  # fmt: skip


@pytest.mark.parametrize(("model", "accepted"), BYTES.values(), ids=list(BYTES))
@pytest.mark.parametrize("target", ["jetpack5", "jetpack6", "rtx1"])
def test_uint8_is_for_inputs_and_outputs(model, accepted, target):
    assert worst(lint(model, TARGETS[target])) == ("yes" if accepted else "no")


def test_uint8_inside_a_branch_is_seen_in_a_graph_that_says_its_types():
    def branch(result: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        info = helper.make_tensor_value_info(result, FLOAT, [1, 4, 8, 8])
        return helper.make_graph(list(nodes), result, [], [info])

    through = branch("t", cast("x", "u", UINT8), transpose("u", "v"), cast("v", "t", FLOAT))
    direct = branch("e", transpose("x", "e"))
    model = chain(helper.make_node("If", ["c"], ["y"], then_branch=through, else_branch=direct))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    verdicts = lint(model, TARGETS["jetpack6"])
    assert {v.op for v in verdicts if v.level == "no"} == {"Cast", "Transpose"}


@pytest.mark.parametrize("name", TYPES)
def test_inputs_outputs_and_casts_are_of_types_that_the_target_has(name):
    dtype = getattr(TensorProto, name)
    for target in ("jetpack5", "jetpack6", "trt11.4"):
        has = name in element_types(TARGETS[target].version)
        same = chain(identity("x", "y"), x=dtype, y=dtype, opset=17)
        expected = {"yes", "condition"} if has else {"no"}
        assert worst(lint(same, TARGETS[target])) in expected
        verdicts = lint(chain(cast("x", "a", dtype), cast("a", "y", FLOAT)), TARGETS[target])
        between = has and name not in ("UINT8", "FLOAT8E4M3FN", "INT4")
        assert worst(verdicts) == ("yes" if between else "no")
    assert worst(lint(same, TARGETS["onnxruntime"])) == "yes"


def test_brain_floats_came_with_9_0():
    model = chain(identity("x", "y"), x=TensorProto.BFLOAT16, y=TensorProto.BFLOAT16)
    (verdict, _) = [v for v in lint(model, TARGETS["jetpack5"]) if v.level == "no"]
    assert verdict.reason == (
        "the input is bfloat16, a type that JetPack 5.1 (TensorRT 8.5) does not have"
    )
    assert worst(lint(model, TARGETS["jetpack6"])) == "yes"


def test_a_constant_counts_even_where_nothing_reads_it():
    model = chain(identity("x", "y"))
    model.graph.initializer.append(helper.make_tensor("c", TensorProto.INT16, [1], [1]))
    assert worst(lint(model, TARGETS["rtx1"])) == "no"
    held = helper.make_node("Constant", [], ["c"], value=model.graph.initializer[0])
    assert worst(lint(chain(held, identity("x", "y")), TARGETS["rtx1"])) == "no"


def _nvidia_agrees(model: onnx.ModelProto, folder: Path) -> None:
    onnx.save(model, folder / "f.onnx")
    report = check(folder / "f.onnx", "rtx1", real=True)
    assert report.rtx is not None
    objections = [v.reason for v in (*report.findings, *report.nodes) if v.level == "no"]
    assert report.rtx.passed == (not objections), (objections, report.rtx.reason)


@needs_rtx
@pytest.mark.parametrize("model", [m for m, _ in BYTES.values()], ids=list(BYTES))
def test_nvidia_agrees_on_uint8(model, tmp_path):
    _nvidia_agrees(model, tmp_path)


@needs_rtx
@pytest.mark.parametrize("name", TYPES)
def test_nvidia_agrees_on_types(name, tmp_path):
    dtype = getattr(TensorProto, name)
    _nvidia_agrees(chain(cast("x", "a", dtype), cast("a", "y", FLOAT), opset=21), tmp_path)
