"""From ``torch.ops.differseg.rfft2`` to a ``differseg::DiffersegRfft2`` node.

PyTorch's exporter inlines every local function that it is given, so the operators reach the graph
as bare nodes first, and :mod:`differseg.export.lowering.spelling` writes them out afterwards.
The attributes are the operator's own arguments under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnxscript import values

import differseg.ops  # noqa: F401  registers the operators
from differseg.export.lowering.framework import DOMAIN, PREFIX, VERSION, name_of
from differseg.export.lowering.registry import LOWERINGS

_KINDS = {
    "int": onnx.defs.OpSchema.AttrType.INT,
    "bool": onnx.defs.OpSchema.AttrType.INT,
    "float": onnx.defs.OpSchema.AttrType.FLOAT,
    "str": onnx.defs.OpSchema.AttrType.STRING,
    "List[float]": onnx.defs.OpSchema.AttrType.FLOATS,
    "List[int]": onnx.defs.OpSchema.AttrType.INTS,
}
_FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)"]


def op_type_of(name: str) -> str:
    """Return the node's name: ``local_similarity`` gives ``DiffersegLocalSimilarity``.

    TensorRT looks a plugin up by this name alone, so it begins with ours.
    """
    return PREFIX + "".join(word.capitalize() for word in name.split("_"))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what PyTorch's exporter needs to know: operator to a function that makes its node."""
    return {overload: _translation(overload) for overload in map(_overload, LOWERINGS)}


def _overload(op_type: str) -> torch._ops.OpOverload:
    overload: torch._ops.OpOverload = getattr(torch.ops.differseg, name_of(op_type)).default
    return overload


def _arguments(overload: torch._ops.OpOverload) -> list[tuple[str, str]]:
    """Return the names and types of an operator's arguments."""
    return [(argument.name, str(argument.type)) for argument in overload._schema.arguments]


def _schema(overload: torch._ops.OpOverload) -> onnx.defs.OpSchema:
    arguments = _arguments(overload)
    formal = onnx.defs.OpSchema.FormalParameter
    tensors = [name for name, kind in arguments if kind == "Tensor"]
    letters = [f"T{index}" for index in range(len(tensors))]
    return onnx.defs.OpSchema(
        op_type_of(overload._schema.name.split("::")[1]),
        DOMAIN,
        VERSION,
        "",
        inputs=[formal(name, letter) for name, letter in zip(tensors, letters, strict=True)],
        outputs=[formal("result", letters[0])],
        type_constraints=[(letter, _FLOATS, "") for letter in letters],
        attributes=[
            onnx.defs.OpSchema.Attribute(name, _KINDS[kind], required=True)
            for name, kind in arguments
            if kind != "Tensor"
        ],
    )


def _translation(overload: torch._ops.OpOverload) -> Callable[..., Any]:
    arguments, schema = _arguments(overload), _schema(overload)
    op = values.Op(values.Opset(DOMAIN, VERSION), schema.name, op_schema=schema)

    def translate(*positional: Any, **keywords: Any) -> Any:
        given = dict(zip((name for name, _ in arguments), positional, strict=False)) | keywords
        inputs = [given.pop(operand.name) for operand in schema.inputs]
        attributes = {n: int(v) if isinstance(v, bool) else v for n, v in given.items()}
        return op(*inputs, **attributes)

    return translate


def evaluate(node: ir.Node, operands: Sequence[torch.Tensor]) -> torch.Tensor:
    """Compute a node with its PyTorch operator."""
    overload = _overload(node.op_type)
    flags = {name for name, kind in _arguments(overload) if kind == "bool"}
    attributes = {
        name: bool(attribute.value) if name in flags else attribute.value
        for name, attribute in node.attributes.items()
    }
    result: torch.Tensor = overload(*operands, **attributes)
    return result
