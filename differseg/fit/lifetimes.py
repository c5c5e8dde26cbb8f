"""How much memory a graph's tensors need at once: each lives from its layer to its last reader.

Tensors inside a layer (:mod:`differseg.bench.layer_costs`) never reach memory.  A view is the
tensor that it shows.  Inputs and outputs live all the time, because the runtime keeps their
buffers.  The figure is what a planner reaches that packs without a gap; TensorRT needs more where
kernels want workspace and other layouts, and packs with gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from differseg.bench.layer_costs import Layer
from differseg.bench.layer_flops import VIEWS, numel
from differseg.export.graph_view import GraphView

_SHOWING = VIEWS | {"DequantizeLinear"}


@dataclass(frozen=True)
class TensorMemory:
    """Bytes on the device.

    Attributes:
        weights: Constants, in the types that the graph has them in.
        activations: What lives at once, at most, inputs and outputs left out.
        inputs_outputs: The buffers that the runtime keeps.
        peak_layer: Name of the layer at which ``activations`` is reached.
    """

    weights: int
    activations: int
    inputs_outputs: int
    peak_layer: str


def tensor_memory(model: onnx.ModelProto, layers: Sequence[Layer]) -> TensorMemory:
    """Add up what a graph needs.

    Args:
        model: With shapes.
        layers: Of the same model, in its order.
    """
    view = GraphView.of(model)
    maker = {name: number for number, layer in enumerate(layers) for name in layer.makes}
    origin: dict[str, str] = {}
    for node in view.nodes:
        if node.op_type in _SHOWING and node.input:
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
    numbers = {name: n for n, layer in enumerate(layers) for name in layer.nodes}
    last: dict[str, int] = {}
    for node in view.nodes:
        number = numbers.get(node.name or node.output[0])
        if number is None:  # a view, or computed from constants alone
            continue
        for name in node.input:
            shown = origin.get(name, name)
            last[shown] = max(last.get(shown, 0), number)
    kept = {origin.get(name, name) for name in view.outputs}
    change = [0] * (len(layers) + 1)
    for name, number in maker.items():
        if name in kept or last.get(name, number) == number:
            continue  # an output, or inside its layer
        size = _bytes(view, name)
        change[number] += size
        change[last[name] + 1] -= size
    live, peak, where = 0, 0, ""
    for layer, step in zip(layers, change, strict=False):
        live += step
        if live > peak:
            peak, where = live, layer.name
    inputs = [info.name for info in model.graph.input if info.name not in view.constants]
    return TensorMemory(
        weights=sum(_bytes(view, name) for name in view.constants),
        activations=peak,
        inputs_outputs=sum(_bytes(view, name) for name in {*inputs, *view.outputs}),
        peak_layer=where,
    )


def _bytes(view: GraphView, name: str) -> int:
    dtype = view.dtypes.get(name)
    if not dtype:
        return 0
    return numel(view.shapes.get(name)) * onnx.helper.tensor_dtype_to_np_dtype(dtype).itemsize
