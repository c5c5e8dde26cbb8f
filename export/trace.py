"""From a PyTorch module to a raw ONNX graph in memory, without leaving a mark on the module."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from differseg.errors import InputError

TRACE_OPSET = 18
"""The oldest opset that PyTorch's exporter writes; :mod:`differseg.export.opset` goes lower."""

BATCH_AXIS = "batch"
"""Name of the first axis of every input and output when the batch is dynamic."""


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every submodule in eval mode and give each its own training flag back afterwards."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in flags:
            part.training = False
        yield
    finally:
        for part, flag in flags:
            part.training = flag


def trace(
    module: nn.Module,
    example_inputs: Mapping[str, Tensor],
    *,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = False,
) -> ir.Model:
    """Export a module in eval mode to an unoptimised graph of opset ``TRACE_OPSET``.

    Args:
        module: Any module; its training flags, device and weights are left as they are.
        example_inputs: Graph input name to tensor, in the order of the module's arguments.
        output_names: Names of the outputs; by default the keys of a returned dict, ``output`` for
            a single tensor, or ``output_0``, ``output_1`` ...
        dynamic_batch: Let the first axis of every input and output vary.

    Raises:
        InputError: The module cannot be traced, or the number of names is wrong.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    arguments = tuple(value.to(device) for value in example_inputs.values())
    shapes = None
    if dynamic_batch:
        shapes = tuple({0: torch.export.Dim(BATCH_AXIS)} for _ in arguments)
    with evaluating(module), torch.no_grad(), _quiet():
        program = _export(module, arguments, shapes)
        names = _output_names(program, output_names)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=TRACE_OPSET,
            optimize=False,
            verbose=False,
            input_names=list(example_inputs),
            output_names=names,
        )
    if exported is None:
        raise InputError(f"{type(module).__name__}: PyTorch's exporter returned no graph")
    exported.model.graph.name = type(module).__name__
    if dynamic_batch:
        _name_batch_axis(exported.model.graph)
    return exported.model


def _export(
    module: nn.Module, arguments: tuple[Tensor, ...], shapes: tuple[Any, ...] | None
) -> torch.export.ExportedProgram:
    try:
        # The module's forward may name its arguments freely: shapes go by position.
        return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises many kinds for what a user's module does
        first_line = next((line for line in str(error).splitlines() if line.strip()), "")
        raise InputError(
            f"{type(module).__name__}: torch.export cannot trace it "
            f"({type(error).__name__}: {first_line.strip()[:300]}); "
            "the forward pass must not branch on tensor values"
        ) from error


def _output_names(program: torch.export.ExportedProgram, wanted: Sequence[str] | None) -> list[str]:
    """Return one name per graph output."""
    spec = program.call_spec.out_spec
    if spec is None:
        raise InputError("the module returns nothing; export needs at least one output tensor")
    result = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    if isinstance(result, dict) and len(result) == spec.num_leaves:
        own = [str(key) for key in result]
    elif spec.num_leaves == 1:
        own = ["output"]
    else:
        own = [f"output_{index}" for index in range(spec.num_leaves)]
    if wanted is None:
        return own
    if len(wanted) != len(own):
        raise InputError(
            f"output_names: the module returns {len(own)} tensors in eval mode ({', '.join(own)}), "
            f"got {len(wanted)} names ({', '.join(wanted)})"
        )
    return list(wanted)


def _name_batch_axis(graph: ir.Graph) -> None:
    """Call the tracer's own symbol, such as ``s10`` or ``2*s10``, after the batch."""
    shape = graph.inputs[0].shape
    symbol = shape[0].value if shape is not None and isinstance(shape[0], ir.SymbolicDim) else None
    if symbol is None:
        return
    for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
        for axis, extent in enumerate(value.shape or ()):
            if isinstance(extent, ir.SymbolicDim) and extent.value is not None:
                name = re.sub(rf"\b{re.escape(symbol)}\b", BATCH_AXIS, extent.value)
                value.shape[axis] = name  # type: ignore[index]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's advice, which speaks of its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
