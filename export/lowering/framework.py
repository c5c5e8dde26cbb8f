"""What a lowering is: one class that turns one ``differseg::`` node into standard operators.

A subclass names the operator (``op_type``, its pattern), says which nodes it cannot write and why
(``check``), and writes the others (``rewrite``)::

    class LowerDouble(Lowering):
        op_type = "DiffersegDouble"

        def rewrite(self, op: Builder, call: Call) -> ir.Value:
            return op.Mul(call.inputs[0], op.constant(2.0, "two", call.dtype))

Every size but the batch is a number, so a rewrite computes its constants in NumPy, in float64, and
rounds them once; nothing constant is left to the graph.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from differseg.manifest import Decision

DOMAIN = "differseg"
"""Domain of the operators' own nodes."""

VERSION = 1
"""Version of that domain."""

PREFIX = "Differseg"
"""What the names of their nodes begin with."""

_KERNEL_TYPES = {ir.DataType.FLOAT, ir.DataType.FLOAT16}


def name_of(op_type: str) -> str:
    """Return the PyTorch operator of a node: ``DiffersegIdwt2`` gives ``idwt2``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", op_type.removeprefix(PREFIX)).lower()


@dataclass(frozen=True)
class Call:
    """One node of an operator, as a rewrite wants to read it."""

    node: ir.Node

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """The operands."""
        return tuple(value for value in self.node.inputs if value is not None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy type of the first operand."""
        assert self.inputs[0].dtype is not None, "the tracer gives every value a type"
        return self.inputs[0].dtype.numpy()

    def shape(self, index: int = 0) -> tuple[int | None, ...]:
        """Return an operand's shape; an axis that varies is None."""
        shape = self.inputs[index].shape
        assert shape is not None, "the tracer gives every value a shape"
        return tuple(extent if isinstance(extent, int) else None for extent in shape)

    def sizes(self, index: int = 0) -> tuple[int, ...]:
        """Return an operand's shape without the batch; :func:`fixed_sizes` has checked it."""
        return tuple(extent for extent in self.shape(index)[1:] if extent is not None)

    @property
    def batch(self) -> int:
        """The batch as a Reshape wants it: a number, or -1 where it varies."""
        extent = self.shape()[0]
        return -1 if extent is None else extent

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return an operand's numbers, None where they are computed by the graph."""
        tensor = ir.convenience.get_const_tensor(self.inputs[index])
        return None if tensor is None else tensor.numpy()

    def number(self, name: str) -> int:
        """Return an attribute that is a whole number."""
        return self.node.attributes[name].as_int()

    def real(self, name: str) -> float:
        """Return an attribute that is a number."""
        return self.node.attributes[name].as_float()

    def text(self, name: str) -> str:
        """Return an attribute that is a word."""
        return self.node.attributes[name].as_string()

    def reals(self, name: str) -> tuple[float, ...]:
        """Return an attribute that is a list of numbers."""
        return tuple(self.node.attributes[name].as_floats())


class Builder:
    """Collects the nodes and constants of a rewrite: ``op.MatMul(a, b)``, ``op.constant(...)``."""

    def __init__(self) -> None:
        self.tape = ir.tape.Tape()

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """Return a function that appends a standard node and returns its result.

        Keywords are attributes; ``outputs=3`` gives a tuple of so many results.
        """

        def append(*inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
            if outputs == 1:
                return self.tape.op(op_type, inputs, attributes)
            return self.tape.op_multi_out(op_type, inputs, attributes, num_outputs=outputs)

        return append

    def constant(self, values: npt.ArrayLike, name: str, dtype: npt.DTypeLike) -> ir.Value:
        """Return a constant, rounded once to ``dtype``; ``name`` says what it is."""
        array = np.ascontiguousarray(np.asarray(values).astype(dtype))
        array = array.reshape(np.shape(values))  # ascontiguousarray makes a scalar a vector
        value = self.tape.initializer(ir.tensor(array, name=name), name=name)
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(value.const_value.dtype)  # type: ignore[union-attr]
        return value

    def ints(self, values: npt.ArrayLike, name: str) -> ir.Value:
        """Return a constant of shapes, axes or indices."""
        return self.constant(values, name, np.int64)

    def reshape(self, value: ir.Value, *shape: int) -> ir.Value:
        """Append a Reshape; -1 is the axis that is worked out, 0 is one taken over."""
        result: ir.Value = self.Reshape(value, self.ints(shape, "shape"))
        return result

    def slice(self, value: ir.Value, axis: int, start: int, end: int, step: int = 1) -> ir.Value:
        """Append a Slice along one axis, from ``start`` up to ``end``."""
        bounds = [("starts", start), ("ends", end), ("axes", axis)]
        if step != 1:
            bounds.append(("steps", step))
        result: ir.Value = self.Slice(value, *(self.ints([n], name) for name, n in bounds))
        return result


class Lowering(ABC):
    """How one operator is written in standard ONNX."""

    op_type: ClassVar[str]
    """The node that is rewritten."""
    constant_operands: ClassVar[tuple[int, ...]] = ()
    """Operands whose numbers the rewrite reads."""

    def check(self, call: Call) -> str | None:
        """Return why a node cannot be rewritten, None when it can."""
        for index in self.constant_operands:
            if call.constant(index) is None:
                return (
                    f"operand {index} is computed from the inputs, expected fixed numbers; make "
                    "it a parameter or a buffer"
                )
        return fixed_sizes(call)

    def kernel_refusal(self, call: Call) -> str | None:
        """Return why the plugin library's kernel cannot take a node, None when it can."""
        types = {value.dtype for value in call.inputs}
        if len(types) > 1 or not types <= _KERNEL_TYPES:
            names = ", ".join(sorted(str(value.dtype) for value in call.inputs))
            return (
                f"the kernel takes FLOAT or FLOAT16, the same for every operand, these are {names}"
            )
        return None

    def decisions(self, call: Call) -> list[Decision]:
        """Return what the rewrite chooses by itself, with its reasons, for the manifest."""
        return []

    @abstractmethod
    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append standard operators that compute the node's result, and return it."""


def fixed_sizes(call: Call) -> str | None:
    """Return a refusal unless every axis but the batch of every operand is a number."""
    for index, value in enumerate(call.inputs):
        if value.shape is None or value.dtype is None:
            return f"the type or shape of operand {index} is not known; export with fixed sizes"
        if None in call.shape(index)[1:]:
            return (
                f"operand {index} has the shape {value.shape}, expected numbers after the first "
                "axis; export with fixed sizes"
            )
    return None
