"""Memory of a graph's tensors, counted by hand and by a slow simulation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import model_of, node

from differseg.bench.layer_costs import layers_of
from differseg.fit.lifetimes import TensorMemory, tensor_memory

WEIGHT = np.ones((4, 4, 3, 3), np.float32)
MAP = 4 * 8 * 8 * 4
"""Bytes of one tensor of 4 channels of 8x8 in float32."""


def memory(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None
) -> TensorMemory:
    model = model_of(nodes, constants or {"w": WEIGHT}, (1, 4, 8, 8))
    return tensor_memory(model, layers_of(model))


def conv(inputs: str, output: str) -> onnx.NodeProto:
    return node("Conv", inputs, output, pads=[1, 1, 1, 1])


def test_a_chain_holds_two_tensors() -> None:
    nodes = [conv("x w", "a"), conv("a w", "b"), conv("b w", "c"), conv("c w", "y")]
    found = memory(nodes)
    assert found.activations == 2 * MAP  # a and b, then b and c; x and y are the buffers
    assert found.inputs_outputs == 2 * MAP
    assert found.weights == WEIGHT.nbytes
    assert found.peak_layer == "part/Conv_b"


def test_a_skip_connection_lives_until_it_is_read() -> None:
    nodes = [
        conv("x w", "a"), conv("a w", "b"), conv("b w", "c"), conv("c w", "d"),
        node("Concat", "a d", "e", axis=1), conv("e wide", "y"),
    ]  # fmt: skip
    wide = np.ones((4, 8, 3, 3), np.float32)
    found = memory(nodes, {"w": WEIGHT, "wide": wide})
    assert found.activations == (1 + 1 + 2) * MAP  # a, d and the concatenation of both
    assert found.peak_layer == "part/Concat_e"
    assert found.weights == WEIGHT.nbytes + wide.nbytes


def test_what_is_inside_a_layer_takes_nothing() -> None:
    nodes = [conv("x w", "a"), node("Relu", "a", "b"), conv("b w", "c"), node("Relu", "c", "y")]
    assert memory(nodes).activations == MAP  # b alone: a never reaches memory


def test_a_view_keeps_what_it_shows() -> None:
    shape = np.array([1, 8, 4, 8], np.int64)
    back = np.array([1, 4, 8, 8], np.int64)
    nodes = [
        conv("x w", "a"), node("Reshape", "a shape", "v"), conv("a w", "b"), conv("b w", "c"),
        node("Reshape", "v back", "u"), node("Concat", "u c", "d", axis=1), conv("d wide", "y"),
    ]  # fmt: skip
    constants = {
        "w": WEIGHT, "shape": shape, "back": back, "wide": np.ones((4, 8, 3, 3), np.float32),
    }  # fmt: skip
    assert memory(nodes, constants).activations == (1 + 1 + 2) * MAP


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_simulation_finds(seed: int) -> None:
    """Convolutions and concatenations at random, against a count of all tensors at each step."""
    draw = np.random.default_rng(seed)
    names, nodes, constants = ["x"], [], {"w": WEIGHT, "wide": np.ones((4, 8, 3, 3), np.float32)}
    for number in range(14):
        first, second = (
            names[int(i)] for i in draw.integers(max(0, len(names) - 5), len(names), 2)
        )
        if first != second:
            nodes.append(node("Concat", f"{first} {second}", f"j{number}", axis=1))
            nodes.append(conv(f"j{number} wide", f"t{number}"))
        else:
            nodes.append(conv(f"{first} w", f"t{number}"))
        names.append(f"t{number}")
    nodes[-1].output[0] = "y"
    size = {n.output[0]: (2 if n.op_type == "Concat" else 1) * MAP for n in nodes}
    used = {name for n in nodes for name in n.input}
    peak = 0
    for step in range(len(nodes)):
        made = {n.output[0] for n in nodes[: step + 1]} - {"y"}
        read_later = {name for n in nodes[step:] for name in n.input}
        now = {nodes[step].output[0]} & used
        peak = max(peak, sum(size[name] for name in made & (read_later | now)))
    assert memory(nodes, constants).activations == peak
