"""Quantised graphs: what they compute, how each target's form is spelled, and planted faults."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_graphs import model_of, node, run

from differseg.calibration.placement import place
from differseg.calibration.qdq import Form, write_qdq
from differseg.calibration.scales import tensor_scales
from differseg.export import check
from differseg.export.opset_up import raise_opset

SHAPE = (1, 16, 12, 12)


def network():
    draw = np.random.default_rng(0)
    constants = {
        "a.weight": draw.normal(size=(16, 16, 3, 3)).astype(np.float32) / 12,
        "a.bias": draw.normal(size=16).astype(np.float32),
        "b.weight": draw.normal(size=(16, 16, 3, 3)).astype(np.float32) / 12,
        "head.weight": draw.normal(size=(1, 16, 1, 1)).astype(np.float32),
    }
    nodes = [
        node("Conv", "x a.weight a.bias", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Conv", "r b.weight", "b", pads=[1, 1, 1, 1]),
        node("Add", "b r", "s"),
        node("ReduceMean", "s", "m", axes=[2, 3], keepdims=1),
        node("Mul", "s m", "z"),
        node("Conv", "z head.weight", "y"),
    ]
    return model_of(nodes, constants, SHAPE)


def image():
    return np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)


def quantised(form=Form(), scales=None, opset=17):  # noqa: B008  frozen
    model = network()
    placement = place(ir.from_proto(model))
    groups = [(name,) for name in placement.edges]
    found = tensor_scales(model, groups, [{"x": image()}], method="min-max")
    graph = ir.from_proto(model)
    write_qdq(graph, placement, {**found, **(scales or {})}, form)
    if opset == 19:
        raise_opset(graph)
    result = ir.to_proto(graph)
    onnx.checker.check_model(result, full_check=True)
    return result


FORMS = {
    "codes": Form(),
    "weights": Form(weights_as_codes=False),
    "half": Form(half_scales=True),
    "seven bits": Form(reduce_range=True),
    "unsigned": Form(unsigned=True),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_it_computes_what_float32_computes_to_eight_bits(form):
    exact, found = run(network(), image()), run(quantised(form), image())
    relative = np.sqrt(np.mean((found - exact) ** 2)) / exact.std()
    assert 1e-4 < relative < (0.04 if form.reduce_range else 0.03)


def test_every_pair_is_int8_with_a_zero_point_of_zero():
    graph = quantised().graph
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    kinds = [n.op_type for n in graph.node]
    assert kinds.count("QuantizeLinear") == 2  # of x and r
    assert kinds.count("DequantizeLinear") == 4  # and of both weights
    for n in graph.node:
        if n.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert numbers[n.input[2]].dtype == np.int8
            assert not numbers[n.input[2]].any()
    assert numbers["a.weight.int8"].dtype == np.int8
    assert "a.weight" not in numbers
    assert numbers["a.bias"].dtype == np.float32
    assert numbers["a.weight.scale"].shape == (16,)


def test_unsigned_activations_are_the_same_numbers():
    """Those of int8 plus 128; weights stay signed."""
    graph = quantised(FORMS["unsigned"]).graph
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for n in graph.node:
        if n.op_type == "QuantizeLinear":
            assert numbers[n.input[2]].dtype == np.uint8
            assert numbers[n.input[2]] == 128
    assert numbers["a.weight.int8"].dtype == np.int8
    signed, unsigned = run(quantised(), image()), run(quantised(FORMS["unsigned"]), image())
    assert np.array_equal(signed, unsigned)


def test_the_sum_reads_the_same_int8_tensor_as_the_convolution():
    by_name = {n.name: n for n in quantised().graph.node}
    assert list(by_name["part/Add_s"].input) == ["b", "r.dequantized"]
    assert by_name["part/Conv_b"].input[0] == "r.dequantized"
    assert list(by_name["part/ReduceMean_m"].input) == ["s"]


def test_tensorrt_8_reads_float32_weights_and_scales(tmp_path):
    model = quantised(FORMS["weights"])
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    assert check(tmp_path / "old.onnx", "jetpack5").passed
    floats = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert {"a.weight", "b.weight", "x.scale", "a.weight.scale"} <= floats


def test_opset_19_computes_the_same():
    old, new = quantised(), quantised(opset=19)
    assert new.opset_import[0].version == 19
    assert np.array_equal(run(old, image()), run(new, image()))
    assert [n.name for n in old.graph.node] == [n.name for n in new.graph.node]


def test_scales_of_float16_never_cut_the_range():
    model = quantised(FORMS["half"], {"x": 0.0123457})
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    scale = numbers["x.scale"]
    assert scale == np.float16(scale)
    assert 0.0123457 <= scale < 0.01237


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("without", [frozenset(), frozenset({"part/Conv_b"})])
def test_two_nodes_may_read_one_weight(form, without):
    weight = np.random.default_rng(0).normal(size=(16, 16, 1, 1)).astype(np.float32) / 4
    nodes = [node("Conv", "x w", "a"), node("Conv", "a w", "b"), node("Conv", "b head", "y")]
    model = model_of(nodes, {"w": weight, "head": weight[:1]}, SHAPE)
    graph = ir.from_proto(model)
    placement = place(graph, without)
    write_qdq(graph, placement, dict.fromkeys(placement.edges, 0.05), form)
    result = ir.to_proto(graph)
    onnx.checker.check_model(result, full_check=True)
    names = [entry.name for entry in result.graph.initializer]
    assert len(names) == len(set(names))
    assert ("w" in names) == (bool(without) or not form.weights_as_codes)
    exact = run(model, image())
    assert 0 < np.abs(run(result, image()) - exact).max() < 0.1 * np.abs(exact).max()
