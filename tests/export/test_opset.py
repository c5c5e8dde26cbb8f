"""Each opset-18 form and its opset-17 form give the same numbers in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from differseg.errors import InputError
from differseg.export.opset import convert_opset


def model_of(nodes, shape, constants=(), outputs=("y",)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model)
    return model


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    convert_opset(graph, 17)
    result = ir.to_proto(graph)
    assert result.opset_import[0].version == 17
    assert result.ir_version == 8
    onnx.checker.check_model(result, full_check=True)
    return result


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def int64(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare",
)  # fmt: skip
node = helper.make_node
CASES = {
    **{
        op: (node(op, ["x", "axes"], ["y"], keepdims=1), [("axes", int64(-1, 2))], ("y",))
        for op in REDUCTIONS
    },
    "reduce everything": (node("ReduceMean", ["x"], ["y"], keepdims=1), [], ("y",)),
    "equal parts": (
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), [], ("a", "b"),
    ),
    "unequal parts": (
        node("Split", ["x"], ["a", "b", "c"], axis=3, num_outputs=3), [], ("a", "b", "c"),
    ),
    "sizes given": (
        node("Split", ["x", "s"], ["a", "b"], axis=1), [("s", int64(1, 5))], ("a", "b"),
    ),
    "pad two axes": (
        node("Pad", ["x", "p", "", "axes"], ["y"]),
        [("p", int64(1, 2, 0, 3)), ("axes", int64(-1, 2))],
        ("y",),
    ),
    "pad with a value": (
        node("Pad", ["x", "p", "v"], ["y"]),
        [("p", int64(0, 0, 1, 1, 0, 0, 2, 2)), ("v", np.float32(0.5))],
        ("y",),
    ),
    "resize": (
        node(
            "Resize", ["x", "", "s"], ["y"], mode="linear", antialias=0,
            keep_aspect_ratio_policy="stretch",
        ),
        [("s", np.array([1, 1, 2, 1.5], dtype=np.float32))],
        ("y",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_numbers_stay_the_same(case):
    operation, constants, outputs = case
    model = model_of([operation], [1, 6, 4, 8], constants, outputs)
    x = np.random.default_rng(0).uniform(0.5, 1.5, (1, 6, 4, 8)).astype(np.float32)
    for before, after in zip(run(model, x), run(converted(model), x), strict=True):
        np.testing.assert_array_equal(before, after)


REFUSED = {
    "Mish": (node("Mish", ["x"], ["y"]), [], "Mish"),
    "antialias": (
        node("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1),
        [("s", np.ones(4, np.float32))],
        "antialias=1",
    ),
    "Resize axes": (
        node("Resize", ["x", "", "s"], ["y"], mode="linear", axes=[2, 3]),
        [("s", np.ones(2, np.float32))],
        "axes, which exist from opset 18",
    ),
    "ScatterND max": (
        node("ScatterND", ["x", "i", "u"], ["y"], reduction="max"),
        [("i", int64(0).reshape(1, 1)), ("u", np.ones((1, 6, 4, 8), np.float32))],
        "reduction max",
    ),
}


@pytest.mark.parametrize(("operation", "constants", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_has_no_opset_17_form_is_refused(operation, constants, said):
    model = ir.from_proto(model_of([operation], [1, 6, 4, 8], constants))
    with pytest.raises(InputError, match=said):
        convert_opset(model, 17)


def test_axes_that_are_computed_are_refused():
    shape = node("Shape", ["x"], ["axes"], start=1, end=2)
    reduce = node("ReduceMean", ["x", "axes"], ["y"])
    with pytest.raises(InputError, match=r"input 1 of ReduceMean .* must be constant"):
        convert_opset(ir.from_proto(model_of([shape, reduce], [1, 1, 4, 8])), 17)


def test_opset_18_stays_as_it_is():
    model = ir.from_proto(model_of([node("Mish", ["x"], ["y"])], [1, 6, 4, 8]))
    convert_opset(model, 18)
    assert model.opset_imports[""] == 18
