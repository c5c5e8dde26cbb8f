"""The graph that rounds as float16 does, in ONNX Runtime, which by itself leaves rounding out."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from small_graphs import FLOAT, model_of, node, run, tiny_network

from differseg.export.half_graph import to_half
from differseg.export.half_simulation import simulated


def typed(model, kept=(), **options):
    copy = ir.from_proto(model)
    to_half(copy, kept, **options)
    return ir.to_proto(copy)


def test_every_step_is_rounded_as_numpy_rounds():
    constants = {"k": np.float32(0.1), "b": np.float32(3.3)}
    nodes = [node("Mul", "x k", "a"), node("Add", "a b", "s"), node("Mul", "s s", "y")]
    x = np.random.default_rng(0).normal(size=(1, 4, 16, 16)).astype(np.float32) * 50
    h = np.float16
    expected = ((x.astype(h) * h(0.1)).astype(h) + h(3.3)).astype(h)
    expected = (expected.astype(np.float32) ** 2).astype(h).astype(np.float32)
    half = typed(model_of(nodes, constants, x.shape))
    assert np.array_equal(run(simulated(half), x), expected)


def test_onnx_runtime_alone_does_not_round():
    """If it did, the simulation would be superfluous."""
    model, x = tiny_network(), np.random.default_rng(1).random((1, 3, 40, 48), np.float32)
    half = typed(model)
    exact = run(model, x)
    own, rounded = (np.abs(run(m, x) - exact).mean() for m in (half, simulated(half)))
    assert own < 0.7 * rounded


def test_overflow_and_flush_are_seen():
    constants = {"k": np.float32(2)}
    model = model_of([node("Mul", "x k", "a"), node("Mul", "a k", "y")], constants, (1, 1, 1, 2))
    x = np.array([[[[4e4, 1e-8]]]], np.float32)
    result = run(simulated(typed(model)), x)
    assert np.isinf(result[0, 0, 0, 0])
    assert result[0, 0, 0, 1] == 0
    assert np.isfinite(run(simulated(typed(model, {n.name for n in model.graph.node})), x)).all()


def test_tensors_keep_their_names_and_inputs_are_float32():
    half = typed(tiny_network(), {"part/ReduceMean_m"}, inputs_outputs="fp16")
    rounding = simulated(half)
    onnx.checker.check_model(rounding, full_check=True)
    names = {name for n in rounding.graph.node for name in n.output}
    assert {"a", "r", "m", "g", "s", "c", "y"} <= names
    ends = (*rounding.graph.input, *rounding.graph.output)
    assert {entry.type.tensor_type.elem_type for entry in ends} == {FLOAT}
    assert all(t.data_type == FLOAT for t in rounding.graph.initializer)


def test_what_only_moves_numbers_is_not_rounded_again():
    nodes = [node("Relu", "x", "r"), node("Transpose", "r", "y", perm=[0, 2, 3, 1])]
    rounding = simulated(typed(model_of(nodes, {}, (1, 2, 3, 4))))
    assert sum(n.op_type == "Cast" for n in rounding.graph.node) == 2  # of x, narrow and wide
