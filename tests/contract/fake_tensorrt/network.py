"""``INetworkDefinition``, ``ITensor``, ``ILayer``: what a parser filled from an ONNX file.

Sources: ``pyGraph.cpp``; ``NvInfer.h`` (``getInput`` and its like return null out of range and
log).
"""

from __future__ import annotations

from typing import Any

import onnx
from contract.fake_tensorrt.values import data_type
from contract.pybind import made, takes

_LAYER_TYPES = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "Relu": "ACTIVATION",
    "Sigmoid": "ACTIVATION",
    "Tanh": "ACTIVATION",
    "Softmax": "SOFTMAX",
    "Concat": "CONCATENATION",
    "MaxPool": "POOLING",
    "AveragePool": "POOLING",
    "Resize": "RESIZE",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
    "Slice": "SLICE",
    "Gather": "GATHER",
    "GridSample": "GRID_SAMPLE",
    "ArgMax": "TOPK",
    "TopK": "TOPK",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "ReduceMean": "REDUCE",
    "ReduceSum": "REDUCE",
    "Constant": "CONSTANT",
    "Add": "ELEMENTWISE",
    "Sub": "ELEMENTWISE",
    "Mul": "ELEMENTWISE",
    "Div": "ELEMENTWISE",
}


class INetworkDefinition:
    """State: ``_flags``, ``_model`` (None until parsed), ``_inputs``, ``_outputs``, ``_layers``."""

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    @takes("str")
    def name(self, value: str) -> None:
        self._name = value

    @property
    def flags(self) -> int:
        return self._flags

    @takes("NetworkDefinitionCreationFlag")
    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    @property
    def has_implicit_batch_dimension(self) -> bool:
        return self._world.major < 10 and not self._flags & 1

    @property
    def builder(self) -> Any:
        return self._builder

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def _at(self, kept: list[Any], index: int, what: str) -> Any:
        if 0 <= index < len(kept):
            return kept[index]
        self._world.error(self._builder._logger, 3, f"{what}: index {index} out of range")
        return None

    @takes("int")
    def get_input(self, index: int) -> Any:
        return self._at(self._inputs, index, "INetworkDefinition::getInput")

    @takes("int")
    def get_output(self, index: int) -> Any:
        return self._at(self._outputs, index, "INetworkDefinition::getOutput")

    @takes("int")
    def get_layer(self, index: int) -> Any:
        return self._at(self._layers, index, "INetworkDefinition::getLayer")

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Any:
        found = index + len(self._layers) if index < 0 else index
        if not 0 <= found < len(self._layers):
            raise IndexError("Out of bounds")
        return self._layers[found]

    @takes("ITensor")
    def unmark_output(self, tensor: Any) -> None:
        self._outputs.remove(tensor)

    def _fill(self, model: onnx.ModelProto) -> None:
        """Take over a graph whose every tensor has an element type."""
        world, graph = self._world, model.graph
        initial = {entry.name for entry in graph.initializer}
        typed = {v.name: v for v in [*graph.value_info, *graph.input, *graph.output]}

        def tensor(name: str, role: str) -> Any:
            info = typed.get(name)
            elem = info.type.tensor_type.elem_type if info else onnx.TensorProto.FLOAT
            dims = info.type.tensor_type.shape.dim if info else []
            return made(
                world.classes["ITensor"],
                name=name,
                type_name=data_type(elem, world.generation.int64_io) or "FLOAT",
                numbers=[d.dim_value if d.HasField("dim_value") else -1 for d in dims],
                dimension_names=[d.dim_param for d in dims],
                role=role,
            )

        self._model = model
        self._inputs = [tensor(v.name, "input") for v in graph.input if v.name not in initial]
        self._outputs = [tensor(v.name, "output") for v in graph.output]
        self._layers = [
            made(
                world.classes["ILayer"],
                name=node.name or f"({node.op_type}) {index}",
                op=node.op_type,
                outputs=[tensor(name, "inner") for name in node.output],
                inputs=[tensor(name, "inner") for name in node.input if name],
                precision=None,
                output_types={},
                metadata="",
            )
            for index, node in enumerate(graph.node)
        ]


class ITensor:
    """A tensor of the network."""

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    @takes("str")
    def name(self, value: str) -> None:
        self._name = value

    @property
    def shape(self) -> Any:
        return self._world.classes["Dims"](self._numbers)

    @shape.setter
    @takes("dims")
    def shape(self, value: Any) -> None:
        self._numbers = list(value)

    @property
    def dtype(self) -> Any:
        return self._world.classes["DataType"].__members__[self._type_name]

    @dtype.setter
    @takes("DataType")
    def dtype(self, value: Any) -> None:
        self._type_name = value.name

    @property
    def is_network_input(self) -> bool:
        return self._role == "input"

    @property
    def is_network_output(self) -> bool:
        return self._role == "output"

    @property
    def is_shape_tensor(self) -> bool:
        return False

    @property
    def is_execution_tensor(self) -> bool:
        return True

    @property
    def location(self) -> Any:
        return self._world.classes["TensorLocation"].DEVICE

    @takes("int")
    def get_dimension_name(self, index: int) -> str | None:
        return self._dimension_names[index] or None


class ILayer:
    """A layer; its name is the ONNX node's."""

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    @takes("str")
    def name(self, value: str) -> None:
        self._name = value

    @property
    def metadata(self) -> str:
        return self._metadata

    @metadata.setter
    @takes("str")
    def metadata(self, value: str) -> None:
        self._metadata = value

    @property
    def type(self) -> Any:
        kind = _LAYER_TYPES.get(self._op, "UNARY")
        return self._world.classes["LayerType"].__members__[kind]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @takes("int")
    def get_input(self, index: int) -> Any:
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    @takes("int")
    def get_output(self, index: int) -> Any:
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    @property
    def precision(self) -> Any:
        return self._precision or self._world.classes["DataType"].FLOAT

    @precision.setter
    @takes("DataType")
    def precision(self, value: Any) -> None:
        self._precision = value

    @property
    def precision_is_set(self) -> bool:
        return self._precision is not None

    def reset_precision(self) -> None:
        self._precision = None

    @takes("int", "DataType")
    def set_output_type(self, index: int, dtype: Any) -> None:
        self._output_types[index] = dtype

    @takes("int")
    def get_output_type(self, index: int) -> Any:
        return self._output_types.get(index) or self._outputs[index].dtype

    @takes("int")
    def output_type_is_set(self, index: int) -> bool:
        return index in self._output_types

    @takes("int")
    def reset_output_type(self, index: int) -> None:
        self._output_types.pop(index, None)
