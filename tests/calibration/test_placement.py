"""Where a graph is quantised: operands of learned kernels, the other side of a sum, and no more."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from small_graphs import model_of, node
from torch import nn
from torch.nn import functional as F

from differseg.calibration.calibrated import graph_of
from differseg.calibration.placement import place
from differseg.export import export_onnx
from differseg.export.modelfile import read_model

W = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
ONE = np.random.default_rng(1).normal(size=(1, 16, 1, 1)).astype(np.float32)


def placed(nodes, constants, shape=(1, 16, 8, 8), **options):
    return place(ir.from_proto(model_of(nodes, constants, shape)), **options)


def conv(x, weight, y, **options):
    return node("Conv", f"{x} {weight}", y, pads=[1, 1, 1, 1], **options)


HEAD = node("Conv", "z head.weight", "y")
"""Makes the logits of every graph here."""


def test_operands_of_a_convolution_and_not_its_result():
    found = placed(
        [conv("x", "a.weight", "a"), node("Relu", "a", "z"), HEAD],
        {"a.weight": W, "head.weight": ONE},
    )
    assert set(found.kernels) == {"part/Conv_a"}
    kernel = found.kernels["part/Conv_a"]
    assert (kernel.data, kernel.weight, kernel.axis) == ("x", "a.weight", 0)
    assert kernel.macs == 16 * 16 * 9 * 8 * 8
    assert found.edges == {"x": (("part/Conv_a", 0),)}
    assert found.excluded == {"part/Conv_y": "makes the logits"}


def test_the_other_side_of_a_sum_is_read_as_int8():
    nodes = [conv("x", "a.weight", "a"), node("Relu", "a", "r"), conv("r", "b.weight", "b"),
             node("Add", "r b", "z"), HEAD]  # fmt: skip
    found = placed(nodes, {"a.weight": W, "b.weight": W, "head.weight": ONE})
    assert found.edges["r"] == (("part/Conv_b", 0), ("part/Add_z", 0))
    assert "b" not in found.edges


def test_of_two_kernels_the_shortcut_is_read_as_int8():
    nodes = [conv("x", "a.weight", "a"), conv("x", "b.weight", "b"), node("Add", "a b", "z"), HEAD]
    found = placed(nodes, {"a.weight": W, "b.weight": W, "head.weight": ONE})
    assert found.edges["a"] == (("part/Add_z", 0),)


def test_a_result_that_others_read_as_well_is_not_fused():
    nodes = [conv("x", "a.weight", "a"), node("Add", "x a", "s"), node("Mul", "s a", "z"), HEAD]
    found = placed(nodes, {"a.weight": W, "head.weight": ONE})
    assert set(found.edges) == {"x"}
    assert found.edges["x"] == (("part/Conv_a", 0),)


def test_what_a_concat_joins_has_one_scale():
    nodes = [
        conv("x", "a.weight", "a"), node("Relu", "a", "r"), conv("r", "b.weight", "b"),
        node("Concat", "r b", "c", axis=1), conv("c", "c.weight", "z"), HEAD,
    ]  # fmt: skip
    wide = np.concatenate([W, W], 1)
    constants = {"a.weight": W, "b.weight": W, "c.weight": wide, "head.weight": ONE}
    found = placed(nodes, constants)
    assert [set(group) for group in found.shared] == [{"r", "c"}]


def test_what_is_never_quantised_and_why():
    small = W[:4]
    nodes = [
        node("MatMul", "x part/MatMul_t.B", "t"),
        node("Conv", "t few.weight", "f"),
        node("Conv", "f wide.weight", "w"),
        node("ReduceMean", "w", "m", axes=[2, 3], keepdims=1),
        node("Conv", "m gate.weight", "g"),
        node("MatMul", "w w", "p"),
        node("Mul", "p g", "z"),
        HEAD,
    ]
    constants = {
        "part/MatMul_t.B": np.eye(8, dtype=np.float32),
        "few.weight": small,
        "wide.weight": np.ones((16, 4, 1, 1), np.float32),
        "gate.weight": W[:, :, :1, :1].copy(),
        "head.weight": ONE,
    }
    found = placed(nodes, constants)
    assert found.kernels == {}
    reasons = found.excluded
    assert reasons["part/MatMul_t"].startswith("its numbers are fixed")
    assert reasons["part/Conv_f"].startswith("fewer than 16")
    assert reasons["part/Conv_w"].startswith("fewer than 16")
    assert reasons["part/Conv_g"].startswith("works on one pixel")
    assert reasons["part/MatMul_p"] == "both operands are computed"


def test_nothing_inside_a_frequency_operator():
    first = node("Conv", "x low.weight", "z", pads=[1, 1, 1, 1])
    first.name = "filter/rfft2/Conv"
    found = placed([first, HEAD], {"low.weight": W, "head.weight": ONE})
    assert found.excluded["filter/rfft2/Conv"].startswith("part of rfft2")


def test_nothing_that_computes_positions():
    nodes = [
        conv("x", "a.weight", "a"),
        node("Conv", "a offset.weight", "o"),
        node("Transpose", "o", "grid", perm=[0, 2, 3, 1]),
        node("GridSample", "a grid", "z"),
        HEAD,
    ]
    offset = np.ones((2, 16, 1, 1), np.float32)
    found = placed(nodes, {"a.weight": W, "offset.weight": offset, "head.weight": ONE})
    assert set(found.kernels) == {"part/Conv_a"}
    assert found.excluded["part/Conv_o"] == "computes positions for 'part/GridSample_z'"


def test_an_image_of_one_channel_is_read_in_full():
    nodes = [conv("x", "a.weight", "a"), conv("a", "b.weight", "z"), HEAD]
    first = np.ones((16, 1, 3, 3), np.float32)
    found = placed(nodes, {"a.weight": first, "b.weight": W, "head.weight": ONE}, (1, 1, 8, 8))
    assert set(found.kernels) == {"part/Conv_z"}


def test_depthwise_and_transposed_convolutions():
    depthwise = conv("x", "d.weight", "d", group=16)
    up = node("ConvTranspose", "d u.weight", "z", strides=[2, 2])
    constants = {
        "d.weight": np.ones((16, 1, 3, 3), np.float32),
        "u.weight": np.ones((16, 16, 2, 2), np.float32),
        "head.weight": ONE,
    }
    found = placed([depthwise, up, HEAD], constants)
    assert {name: k.axis for name, k in found.kernels.items()} == {
        "part/Conv_d": 0, "part/ConvTranspose_z": 1,
    }  # fmt: skip
    assert found.kernels["part/ConvTranspose_z"].macs == 16 * 16 * 4 * 64


def test_nodes_are_left_out_when_asked():
    nodes = [conv("x", "a.weight", "a"), conv("a", "b.weight", "z"), HEAD]
    constants = {"a.weight": W, "b.weight": W, "head.weight": ONE}
    found = placed(nodes, constants, without=frozenset({"part/Conv_a"}))
    assert set(found.kernels) == {"part/Conv_z"}
    assert "asked for" in found.excluded["part/Conv_a"]


def test_the_head_lies_before_what_only_enlarges_its_result():
    rows = np.ones((16, 8), np.float32) / 8
    nodes = [conv("x", "a.weight", "a"), node("Conv", "a head.weight", "s"),
             node("MatMul", "part/MatMul_y.A s", "y")]  # fmt: skip
    constants = {"a.weight": W, "head.weight": ONE, "part/MatMul_y.A": rows}
    found = placed(nodes, constants)
    assert set(found.kernels) == {"part/Conv_a"}
    assert found.excluded["part/Conv_s"] == "makes the logits"
    assert "its numbers are fixed" in found.excluded["part/MatMul_y"]


class Filtered(nn.Module):
    """A learned convolution around a fixed filter and a fixed product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3)
        self.last = nn.Conv2d(32, 32, 3)
        self.head = nn.Conv2d(32, 1, 1)
        self.register_buffer("taps", torch.rand(32, 1, 3, 3))
        self.register_buffer("columns", torch.rand(26, 26))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(self.first(x), self.taps, groups=32)
        return self.head(self.last(x @ self.columns))


def test_a_buffer_is_no_weight(tmp_path):
    export_onnx(Filtered(), {"x": torch.rand(1, 3, 30, 30)}, tmp_path / "a.onnx")
    found = place(graph_of(read_model(tmp_path / "a.onnx")))
    assert set(found.kernels) == {"first/Conv", "last/Conv"}
    fixed = {name for name, reason in found.excluded.items() if "fixed" in reason}
    assert fixed == {"Conv", "MatMul"}
