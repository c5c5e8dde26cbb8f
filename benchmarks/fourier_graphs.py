"""ONNX files of Fourier plans as they are, for benchmarks; the export writes its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from differseg.export.lowering.fourier_steps import Product, Reshape, Shape, Step, Steps, Take


class PlanGraph:
    """A chain of steps from the input ``x``."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._value = "x"

    def append(self, steps: Steps, shape: Shape) -> None:
        """Append steps, the first of which takes an operand of this shape."""
        for step in steps:
            self._append_step(step, len(shape))
            shape = step.shape_after(shape)

    def multiply(self, weights: npt.NDArray[np.float32]) -> None:
        """Append a product with a constant, element by element."""
        self._node("Mul", [self._value, self._constant(weights)])

    def save(self, path: Path, shape: Shape) -> None:
        """Write the file; ``shape`` is that of ``x``."""
        self._node("Identity", [self._value])
        graph = helper.make_graph(
            self._nodes,
            "plan",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self._value, onnx.TensorProto.FLOAT, None)],
            self._constants,
        )
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)

    def _append_step(self, step: Step, rank: int) -> None:
        if isinstance(step, Product):
            operands = [self._value, self._constant(step.matrix.astype(np.float32))]
            self._node("MatMul", operands[::-1] if step.left else operands)
        elif isinstance(step, Reshape):
            self._node("Reshape", [self._value, self._constant(np.array(step.shape))])
        elif isinstance(step, Take):
            self._node("Gather", [self._value, self._constant(step.rows)], axis=rank - 2)
        else:
            self._node("Transpose", [self._value], perm=[*range(rank - 2), rank - 1, rank - 2])

    def _constant(self, array: npt.NDArray[np.generic]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> None:
        self._value = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [self._value], **attributes))
