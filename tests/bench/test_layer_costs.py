"""Operations and bytes of small graphs, against figures computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from differseg.bench.layer_costs import layers_of, totals
from differseg.errors import ModelFileError

FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8


def graph(nodes, inputs, outputs, constants=(), kind=FLOAT, opset=17):
    """A model; inputs and outputs are name -> shape, constants name -> array."""
    made = helper.make_graph(
        [helper.make_node(op, list(ins), list(outs), name=outs[0], **more)
         for op, ins, outs, more in nodes],
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])


def conv_weight(out, per_group, side, dtype=np.float32):
    return np.ones((out, per_group, side, side), dtype)


def test_a_convolution_with_bias_and_activation_is_one_pass():
    """16x16 images, 8 channels to 4, 3x3: 2 * 4*256 * 8*9 products, 1024 biases, 1024 Relu."""
    model = graph(
        [("Conv", ("x", "w", "b"), ("c",), {"pads": [1, 1, 1, 1]}), ("Relu", ("c",), ("y",), {})],
        {"x": [1, 8, 16, 16]},
        {"y": [1, 4, 16, 16]},
        {"w": conv_weight(4, 8, 3), "b": np.ones(4, np.float32)},
    )
    (layer,) = layers_of(model)
    assert layer.nodes == ("c", "y")
    assert (layer.kind, layer.precision, layer.units) == ("convolution", "fp32", "matrix")
    assert layer.flops == 2 * 4 * 256 * 72 + 1024 + 1024
    assert layer.bytes == 4 * (8 * 256 + 4 * 8 * 9 + 4 + 4 * 256)
    assert layer.intensity == layer.flops / layer.bytes


def test_float16_halves_the_bytes():
    nodes = [("Conv", ("x", "w"), ("y",), {"kernel_shape": [1, 1]})]
    sizes = {"x": [1, 8, 16, 16]}, {"y": [1, 4, 16, 16]}
    (half,) = layers_of(graph(nodes, *sizes, {"w": conv_weight(4, 8, 1, np.float16)}, HALF))
    (full,) = layers_of(graph(nodes, *sizes, {"w": conv_weight(4, 8, 1)}))
    assert (half.precision, full.precision) == ("fp16", "fp32")
    assert half.flops == full.flops
    assert 2 * half.bytes == full.bytes


def test_depthwise_and_transposed_convolutions():
    model = graph(
        [
            ("Conv", ("x", "w"), ("d",), {"group": 8, "pads": [1, 1, 1, 1]}),
            ("ConvTranspose", ("d", "v"), ("y",), {"strides": [2, 2], "kernel_shape": [2, 2]}),
        ],
        {"x": [1, 8, 16, 16]},
        {"y": [1, 4, 32, 32]},
        {"w": conv_weight(8, 1, 3), "v": np.ones((8, 4, 2, 2), np.float32)},
    )
    depthwise, transposed = layers_of(model)
    assert (depthwise.kind, depthwise.units) == ("depthwise convolution", "vector")
    assert depthwise.flops == 2 * 8 * 256 * 9
    assert transposed.kind == "convolution"
    assert transposed.flops == 2 * (8 * 256) * 4 * 4  # every input number meets 4x4 weights
    assert transposed.bytes == 4 * (8 * 256 + 8 * 4 * 4 + 4 * 1024)


def test_products():
    model = graph(
        [
            ("MatMul", ("x", "w"), ("m",), {}),
            ("Softmax", ("m",), ("s",), {}),
            ("Gemm", ("s", "v", "b"), ("y",), {}),
        ],
        {"x": [5, 7]},
        {"y": [5, 2]},
        {
            "w": np.ones((7, 3), np.float32),
            "v": np.ones((3, 2), np.float32),
            "b": np.ones(2, np.float32),
        },
    )
    product, softmax, gemm = layers_of(model)
    assert product.flops == 2 * 5 * 3 * 7
    assert (softmax.kind, softmax.flops, softmax.bytes) == ("normalisation", 5 * 15, 4 * 30)
    assert gemm.flops == 2 * 5 * 2 * 3 + 10


def test_a_residual_is_fused_and_its_other_reader_keeps_the_tensor():
    """y = relu(conv(a) + a), a = relu(conv(x)): a is written once and read twice."""
    pads = {"pads": [1, 1, 1, 1]}
    model = graph(
        [
            ("Conv", ("x", "w"), ("c",), pads),
            ("Relu", ("c",), ("a",), {}),
            ("Conv", ("a", "w"), ("e",), pads),
            ("Add", ("e", "a"), ("s",), {}),
            ("Relu", ("s",), ("y",), {}),
        ],
        {"x": [1, 8, 16, 16]},
        {"y": [1, 8, 16, 16]},
        {"w": conv_weight(8, 8, 3)},
    )
    first, second = layers_of(model)
    image, weight = 4 * 8 * 256, 4 * 8 * 8 * 9
    assert first.nodes == ("c", "a")
    assert second.nodes == ("e", "s", "y")
    assert first.bytes == 2 * image + weight
    assert second.bytes == 2 * image + weight  # a, which is the residual too, and y


def test_a_convolution_takes_one_extra_tensor_only():
    pads = {"pads": [1, 1, 1, 1]}
    model = graph(
        [
            ("Conv", ("x", "w"), ("c",), pads),
            ("Add", ("c", "p"), ("s",), {}),
            ("Mul", ("s", "q"), ("y",), {}),
        ],
        {"x": [1, 8, 16, 16], "p": [1, 8, 16, 16], "q": [1, 8, 16, 16]},
        {"y": [1, 8, 16, 16]},
        {"w": conv_weight(8, 8, 3)},
    )
    assert [layer.nodes for layer in layers_of(model)] == [("c", "s"), ("y",)]


def test_a_chain_that_meets_itself_is_one_pass():
    """SiLU, x * sigmoid(x), joins its convolution; the gate of a pooled map cannot."""
    model = graph(
        [
            ("Conv", ("x", "w"), ("c",), {"kernel_shape": [1, 1]}),
            ("Sigmoid", ("c",), ("g",), {}),
            ("Mul", ("c", "g"), ("a",), {}),
            ("ReduceMean", ("a",), ("m",), {"axes": [2, 3]}),
            ("Sigmoid", ("m",), ("t",), {}),
            ("Mul", ("a", "t"), ("y",), {}),
        ],
        {"x": [1, 8, 16, 16]},
        {"y": [1, 8, 16, 16]},
        {"w": conv_weight(8, 8, 1)},
    )
    assert [layer.nodes for layer in layers_of(model)] == [("c", "g", "a"), ("m", "t"), ("y",)]
    assert layers_of(model)[2].bytes == 4 * (2 * 8 * 256 + 8)


def test_views_and_constants_cost_nothing_and_moves_cost_memory():
    model = graph(
        [
            ("Reshape", ("x", "shape"), ("r",), {}),
            ("Transpose", ("r",), ("t",), {"perm": [1, 0]}),
            ("Transpose", ("k",), ("f",), {"perm": [1, 0]}),
            ("MatMul", ("t", "f"), ("y",), {}),
        ],
        {"x": [1, 6, 4]},
        {"y": [4, 2]},
        {"shape": np.array([6, 4]), "k": np.ones((2, 6), np.float32)},
    )
    move, product = layers_of(model)
    assert (move.kind, move.flops, move.bytes) == ("movement", 0, 4 * 48)
    assert (product.flops, product.bytes) == (2 * 8 * 6, 4 * (24 + 12 + 8))


def test_a_slice_reads_what_it_writes():
    model = graph(
        [("Slice", ("x", "a", "b"), ("y",), {})],
        {"x": [1, 100]},
        {"y": [1, 10]},
        {"a": np.array([0, 0]), "b": np.array([1, 10])},
    )
    (layer,) = layers_of(model)
    assert layer.bytes == 4 * 20


def test_int8_reads_bytes_and_the_next_layer_too():
    """Q/DQ around two convolutions: the tensor between them is stored as int8."""
    scale, zero = np.float32(0.1), np.int8(0)
    weight = conv_weight(8, 8, 3, np.int8)
    pads = {"pads": [1, 1, 1, 1]}
    model = graph(
        [
            ("QuantizeLinear", ("x", "s", "z"), ("xq",), {}),
            ("DequantizeLinear", ("xq", "s", "z"), ("xd",), {}),
            ("DequantizeLinear", ("w", "s", "z"), ("wd",), {}),
            ("Conv", ("xd", "wd"), ("c",), pads),
            ("Relu", ("c",), ("a",), {}),
            ("QuantizeLinear", ("a", "s", "z"), ("aq",), {}),
            ("DequantizeLinear", ("aq", "s", "z"), ("ad",), {}),
            ("Conv", ("ad", "wd"), ("y",), pads),
        ],
        {"x": [1, 8, 16, 16]},
        {"y": [1, 8, 16, 16]},
        {"s": scale, "z": zero, "w": weight},
    )
    quantize, first, second = layers_of(model)
    image = 8 * 256
    assert quantize.bytes == 4 * image + image + 4 + 1  # scale and zero point, too
    assert (first.precision, second.precision) == ("int8", "int8")
    assert first.nodes == ("c", "a", "aq")
    assert first.bytes == image + weight.size + image + 4 + 1
    assert second.bytes == image + weight.size + 4 * image


def test_an_unknown_operator_is_a_pass_over_memory():
    model = graph(
        [("Einsum", ("x",), ("y",), {"equation": "ab->ba"})], {"x": [3, 5]}, {"y": [5, 3]}
    )
    (layer,) = layers_of(model)
    assert (layer.kind, layer.flops, layer.bytes) == ("unknown", 0, 4 * 30)


def test_free_shapes_are_refused_in_one_line():
    model = graph([("Relu", ("x",), ("y",), {})], {"x": [1, "height"]}, {"y": [1, "height"]})
    with pytest.raises(ModelFileError, match=r"shape of 'y' is not fixed.*--size HxW"):
        layers_of(model)


def test_totals_and_a_file(tmp_path):
    model = graph([("Relu", ("x",), ("y",), {})], {"x": [4, 4]}, {"y": [4, 4]})
    path = tmp_path / "relu.onnx"
    onnx.save(model, str(path))
    assert totals(layers_of(path)) == totals(layers_of(model)) == (16, 128)
