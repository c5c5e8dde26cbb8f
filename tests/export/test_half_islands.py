"""Which nodes stay in float32: each rule on a graph that needs it, and on one that does not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from small_graphs import model_of, node, tiny_network

from differseg.export.half_islands import find_islands
from differseg.export.tensor_ranges import TensorRange, tensor_ranges


def islands_of(model, x=None):
    ranges = {} if x is None else tensor_ranges(model, [{"x": x}])
    return find_islands(ir.from_proto(model), ranges)


def test_nothing_stays_without_a_reason():
    x = np.random.default_rng(0).random((1, 3, 40, 48), np.float32)
    islands = islands_of(tiny_network(), x)
    assert islands == {"part/ReduceMean_m": "a sum of 1920 numbers"}


def test_a_tensor_beyond_float16_keeps_both_sides():
    constants = {"k": np.float32(1e4), "d": np.float32(1e-4)}
    nodes = [node("Mul", "x k", "big"), node("Mul", "big d", "small"), node("Relu", "small", "y")]
    model = model_of(nodes, constants, (1, 1, 4, 4))
    islands = islands_of(model, np.full((1, 1, 4, 4), 7, np.float32))
    assert set(islands) == {"part/Mul_big", "part/Mul_small"}
    assert "'big' reaches 7e+04" in islands["part/Mul_big"]


def test_room_is_left_for_other_images():
    model = model_of([node("Mul", "x k", "a"), node("Relu", "a", "y")], {"k": np.float32(1)},
                     (1, 1, 2, 2))  # fmt: skip
    assert not islands_of(model, np.full((1, 1, 2, 2), 16000, np.float32))
    assert islands_of(model, np.full((1, 1, 2, 2), 17000, np.float32))


def test_numbers_that_float16_flushes():
    model = model_of([node("Mul", "x k", "a"), node("Mul", "a a", "y")], {"k": np.float32(1)},
                     (1, 1, 8, 8))  # fmt: skip
    islands = islands_of(model, np.full((1, 1, 8, 8), 3e-5, np.float32))
    assert "'y' loses 1e+02 % in float16" in islands["part/Mul_y"]


def test_a_small_epsilon():
    nodes = [node("Add", "x eps", "s"), node("Sqrt", "s", "y")]
    model = model_of(nodes, {"eps": np.float32(1e-8)}, (1, 1, 2, 2))
    assert islands_of(model) == {"part/Add_s": "its constant 1e-08 is none in float16"}
    usual = model_of(nodes, {"eps": np.float32(1e-3)}, (1, 1, 2, 2))
    assert not islands_of(usual)


def test_positions_back_to_what_they_are_computed_from():
    constants = {
        "w": np.ones((2, 1, 1, 1), np.float32),
        "half": np.float32(0.5),
        "base": np.zeros((1, 4, 4, 2), np.float32),
    }
    nodes = [
        node("Conv", "x w", "offset"),
        node("Mul", "offset half", "scaled"),
        node("Transpose", "scaled", "places", perm=[0, 2, 3, 1]),
        node("Add", "places base", "grid"),
        node("GridSample", "x grid", "y"),
    ]
    islands = islands_of(model_of(nodes, constants, (1, 1, 4, 4)))
    assert set(islands) == {
        "part/Mul_scaled", "part/Transpose_places", "part/Add_grid", "part/GridSample_y",
    }  # fmt: skip


def test_a_norm_over_many_numbers_with_its_square_and_root():
    nodes = [
        node("Mul", "x x", "square"),
        node("ReduceMean", "square", "mean", axes=[2, 3], keepdims=1),
        node("Add", "mean eps", "guarded"),
        node("Sqrt", "guarded", "root"),
        node("Div", "x root", "normal"),
        node("Relu", "normal", "y"),
    ]
    model = model_of(nodes, {"eps": np.float32(1e-3)}, (1, 2, 40, 40))
    islands = islands_of(model)
    assert set(islands) == {f"part/{n.op_type}_{n.output[0]}" for n in nodes[:-1]}
    assert not islands_of(model_of(nodes, {"eps": np.float32(1e-3)}, (1, 2, 8, 8)))


def test_a_softmax_over_a_whole_map():
    shape = {"s": np.array([1, 2, 1600], np.int64)}
    nodes = [node("Reshape", "x s", "r"), node("Softmax", "r", "y", axis=-1)]
    assert islands_of(model_of(nodes, shape, (1, 2, 40, 40))) == {
        "part/Softmax_y": "a sum of 1600 numbers"
    }
    nodes = [node("Reshape", "x s", "r"), node("Softmax", "r", "y", axis=1)]
    assert not islands_of(model_of(nodes, shape, (1, 2, 40, 40)))


def test_pointwise_nodes_between_kept_ones_stay_too():
    nodes = [
        node("ReduceMean", "x", "m", axes=[2, 3], keepdims=1),
        node("Mul", "m k", "between"),
        node("Add", "between tiny", "y"),
    ]
    constants = {"k": np.float32(2), "tiny": np.float32(1e-9)}
    islands = islands_of(model_of(nodes, constants, (1, 2, 40, 40)))
    assert islands["part/Mul_between"] == "between nodes in float32"


def test_ranges_of_two_images_are_those_of_both():
    model = model_of([node("Relu", "x", "y")], {}, (1, 1, 2, 2))
    low, high = (np.full((1, 1, 2, 2), v, np.float32) for v in (1, 9))
    found = tensor_ranges(model, [{"x": low}, {"x": high}])["y"]
    assert (found.low, found.high, found.count, found.nonfinite) == (1, 9, 8, 0)
    assert found.rms == np.sqrt(41)


def test_range_counts_what_is_not_finite():
    found = TensorRange("t")
    found.add(np.array([np.nan, np.inf, -2, 1e-9], np.float32))
    assert (found.nonfinite, found.low, found.largest, found.flushed) == (2, -2, 2, 1)
