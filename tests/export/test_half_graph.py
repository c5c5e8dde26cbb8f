"""A typed float16 graph: every node has one type, Casts stand where types differ."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_graphs import FLOAT, HALF, model_of, node, run, tiny_network

from differseg.errors import InputError
from differseg.export.half_graph import to_half


def typed(model, kept=(), **options):
    copy = ir.from_proto(model)
    count = to_half(copy, kept, **options)
    proto = ir.to_proto(copy)
    onnx.checker.check_model(proto, full_check=True)
    return proto, count


def types_of(model):
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    infos = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    return {info.name: info.type.tensor_type.elem_type for info in infos}


def test_everything_but_the_kept_is_float16():
    half, count = typed(tiny_network(), {"part/ReduceMean_m", "part/Sigmoid_y"})
    assert count == 5
    types = types_of(half)
    assert {types[name] for name in ("a", "r", "g", "s", "c")} == {HALF}
    assert types["m"] == types["y"] == types["x"] == FLOAT
    casts = {n.name: n for n in half.graph.node if n.op_type == "Cast"}
    assert set(casts) == {
        "x/float16", "part/Relu_r/float32", "part/ReduceMean_m/float16", "part/Conv_c/float32",
    }  # fmt: skip
    assert {t.data_type for t in half.graph.initializer} == {HALF}
    assert {t.name for t in half.graph.initializer} == {
        t.name for t in tiny_network().graph.initializer
    }


def test_outputs_keep_their_names_and_follow_the_wish():
    for wish, expected in (("fp32", FLOAT), ("fp16", HALF)):
        half, _ = typed(tiny_network(), inputs_outputs=wish)
        types = types_of(half)
        assert types["y"] == types["x"] == expected
        assert [entry.name for entry in half.graph.output] == ["y"]


def test_a_constant_of_two_types_is_there_twice():
    constants = {"k": np.float32(0.3), "w": np.ones((1, 1, 1, 1), np.float32)}
    model = model_of(
        [node("Mul", "x k", "a"), node("Conv", "a w", "b"), node("Mul", "b k", "y")],
        constants, (1, 1, 4, 4),
    )  # fmt: skip
    half, _ = typed(model, {"part/Mul_y"})
    assert {t.name: t.data_type for t in half.graph.initializer} == {
        "k": FLOAT, "k.float16": HALF, "w": HALF,
    }  # fmt: skip


def test_resize_scales_stay_float32():
    constants = {"scales": np.array([1, 1, 2, 2], np.float32)}
    resize = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"], name="up", mode="linear")
    model = model_of([resize], constants, (1, 1, 4, 4))
    half, _ = typed(model)
    assert {t.name: t.data_type for t in half.graph.initializer} == {"scales": FLOAT}
    assert np.allclose(run(half, np.ones((1, 1, 4, 4), np.float32)), 1)


def test_a_cast_from_bytes_makes_float16_at_once():
    model = tiny_network()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    first = node("Cast", "x", "f", to=FLOAT)
    model.graph.node[0].input[0] = "f"
    model.graph.node.insert(0, first)
    model = onnx.shape_inference.infer_shapes(model)
    half, _ = typed(model)
    casts = [n for n in half.graph.node if n.op_type == "Cast"]
    assert [n.name for n in casts] == ["part/Cast_f", "part/Sigmoid_y/float32"]
    assert types_of(half)["f"] == HALF


def test_numbers_are_those_of_float32_to_half_precision():
    model, x = tiny_network(), np.random.default_rng(1).random((1, 3, 40, 48), np.float32)
    half, _ = typed(model, {"part/ReduceMean_m"})
    assert np.abs(run(half, x) - run(model, x)).max() < 2e-3


def test_a_constant_beyond_float16_is_refused_by_name():
    model = model_of([node("Mul", "x big", "y")], {"big": np.float32(1e5)}, (1, 1, 2, 2))
    with pytest.raises(InputError, match=r"'big' of node 'part/Mul_y' holds 1e\+05, float16 ends"):
        typed(model)
    typed(model, {"part/Mul_y"})
