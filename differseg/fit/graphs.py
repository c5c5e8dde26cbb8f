"""The graphs that are judged: named networks as ``differseg export`` writes them, or files.

Float16 and INT8 forms are made as ``differseg export --precision fp16`` and ``differseg quantize``
make them, but without images: nothing stays in float32 because of the numbers that it holds, every
node that may be INT8 is, and the scales are all one.  Shapes, types and therefore operations, bytes
and memory are those of the real file, give or take a few casts; it computes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import onnx
import onnx_ir as ir

from differseg.bench.layer_costs import Layer, layers_of
from differseg.calibration.calibrated import family_of, graph_of
from differseg.calibration.placement import place
from differseg.calibration.qdq import write_qdq
from differseg.errors import InputError
from differseg.export.exporter import write_graph
from differseg.export.finish import finish_graph
from differseg.export.half_graph import to_half
from differseg.export.half_islands import find_islands
from differseg.export.manifest_builder import output_spec
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.network_source import checked_size, load_network
from differseg.export.opset_up import raise_opset
from differseg.export.targets import find_target
from differseg.export.trace import trace
from differseg.models.deployment import lowered_for_export

PrecisionName = Literal["fp32", "fp16", "int8"]

_TARGET = "jetpack6"
_WRAPPER = "model."


@dataclass(frozen=True)
class Graph:
    """One form of one network.

    Attributes:
        name: The configuration, or the file's name.
        size_hw: Of its input.
        precision: Of its convolutions and products.
        model: With shapes.
    """

    name: str
    size_hw: tuple[int, int]
    precision: PrecisionName
    model: onnx.ModelProto

    @cached_property
    def layers(self) -> list[Layer]:
        """What an engine runs as one kernel each."""
        return layers_of(self.model)


def float_graph(name: str, size_hw: tuple[int, int] | None) -> Graph:
    """Return a named network as the float32 file that ``differseg export`` writes.

    Raises:
        InputError: There is no such network, or it does not take this size.
    """
    source = load_network(name, None)
    size_hw = checked_size(source.spec, size_hw)
    lowered = lowered_for_export(source.module, size_hw)
    example = source.module.raw_inputs_example(size_hw)
    output = output_spec(source.spec, size_hw).name
    graph = trace(lowered, example, output_names=[output])
    finish_graph(graph, ops="portable", strip=_WRAPPER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_graph(graph, path)
        return Graph(name, size_hw, "fp32", read_model(path))


def file_graph(path: Path) -> Graph:
    """Return a file as it is.

    Raises:
        ModelFileError: It cannot be read.
        InputError: It has no manifest.
    """
    model = read_model(path)
    manifest = manifest_of(model)
    if manifest is None:
        raise InputError(f"fit: {path} has no manifest; export it with 'differseg export'")
    return Graph(path.name, manifest.inputs[0].size_hw, manifest.precision, model)


def typed(graph: Graph, precision: PrecisionName) -> Graph:
    """Return the float16 or INT8 form of a float32 graph.

    Raises:
        InputError: Nothing of it may be INT8.
    """
    if precision == "fp32":
        return graph
    copy = graph_of(graph.model)
    if precision == "int8":
        _quantize(copy, graph.name)
    to_half(copy, find_islands(copy, {}))
    return Graph(graph.name, graph.size_hw, precision, ir.to_proto(copy))


def _quantize(model: ir.Model, name: str) -> None:
    placement = place(model)
    if not placement.kernels:
        raise InputError(f"fit: {name} has no convolution or product that may be INT8")
    form = family_of(find_target(_TARGET)).form
    write_qdq(model, placement, dict.fromkeys(placement.edges, 1.0), form)
    raise_opset(model)


def graphs_of(
    name: str, sizes_hw: tuple[tuple[int, int], ...], precisions: tuple[PrecisionName, ...]
) -> Iterator[Graph | InputError]:
    """Yield every form that is asked for, or why there is none.

    A file is given as it is: its size and precision are inside it.

    Args:
        name: A configuration, or an .onnx file.
        sizes_hw: Sizes; none stands for the configuration's own.
        precisions: Precisions of each.
    """
    if name.endswith(".onnx"):
        yield file_graph(Path(name))
        return
    for size_hw in sizes_hw or (None,):
        try:
            master = float_graph(name, size_hw)
        except InputError as error:
            yield error
            continue
        for precision in precisions:
            try:
                yield typed(master, precision)
            except InputError as error:
                yield error
