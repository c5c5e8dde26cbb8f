"""From a PyTorch module to a raw ONNX graph in memory, without leaving a mark on the module."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from differseg.errors import DifferSegError, InputError
from differseg.export.lowering.complex_numbers import place_of, real_valued
from differseg.export.lowering.complex_transforms import VARYING_ROLL
from differseg.export.lowering.einsum import name_every_axis
from differseg.export.lowering.nodes import translations
from differseg.export.lowering.package_wavelets import own_wavelets
from differseg.export.lowering.standard_ops import gather_along_one_axis, standard_translations
from differseg.export.naming import keep_interface, mark_parameter

TRACE_OPSET = 18
"""The oldest opset that PyTorch's exporter writes; :mod:`differseg.export.opset` goes lower."""

BATCH_AXIS = "batch"
"""Name of the first axis of every input and output when the batch is dynamic."""


_TALKERS = ("torch.onnx", "torch.export", "torch._subclasses", "torch.fx", "onnxscript", "onnx_ir")

_FIXED_BATCH = r"Constraints violated|invalid for input of size|must match|to broadcast"
"""What PyTorch says where a module takes one batch size only."""


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
        InputError: An example input is no tensor, something is bfloat16, the module cannot be
            traced, an operation of it has no ONNX form, or the output names are wrong.
        DifferSegError: What an operator of ours raises, as it is.
    """
    for name, value in example_inputs.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"example input {name!r}: expected a torch.Tensor, got {type(value).__name__}; "
                "give a NumPy array as torch.from_numpy(array)"
            )
    _refuse_bfloat16(module, example_inputs)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    arguments = tuple(value.to(device) for value in example_inputs.values())
    shapes = None
    if dynamic_batch:
        shapes = _batch_shapes(module, len(arguments))
        if all(value.shape[:1] == (1,) for value in arguments):
            # An extent of 1 cannot be told from one that is broadcast.
            arguments = tuple(torch.cat((value, value)) for value in arguments)
    with evaluating(module), own_wavelets(module), torch.no_grad(), quiet():
        program = _export(module, arguments, shapes)
        inputs, outputs = list(example_inputs), _output_names(program, output_names)
        _refuse_equal_names(inputs, outputs)
        program = real_valued(program, arguments, shapes)
        _refuse_varying_rolls(program)
        gather_along_one_axis(program)
        name_every_axis(program)
        model = _convert(module, program)
    model.graph.name = type(module).__name__
    for name, _ in module.named_parameters(remove_duplicate=False):
        if name in model.graph.initializers:
            mark_parameter(model.graph.initializers[name])
    keep_interface(model.graph, inputs, outputs)
    if dynamic_batch:
        _name_batch_axis(model.graph)
    return model


def _refuse_bfloat16(module: nn.Module, example_inputs: Mapping[str, Tensor]) -> None:
    stored = (*module.named_parameters(), *module.named_buffers())
    given = ((f"example input {name!r}", value) for name, value in example_inputs.items())
    for what, value in (*given, *((f"{type(module).__name__}: {n}", v) for n, v in stored)):
        if value.dtype == torch.bfloat16:
            raise InputError(
                f"{what} is bfloat16, which ONNX Runtime does not compute in, expected float32 or "
                "float16; export module.float() or module.half() on inputs of that type"
            )


def _batch_shapes(module: nn.Module, count: int) -> tuple[Any, ...]:
    """Say that the first axis of every argument varies; those of ``*args`` are one tuple."""
    varying: tuple[Any, ...] = tuple({0: torch.export.Dim(BATCH_AXIS)} for _ in range(count))
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return varying
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*varying[:named], varying[named:])


def _export(
    module: nn.Module, arguments: tuple[Tensor, ...], shapes: tuple[Any, ...] | None
) -> torch.export.ExportedProgram:
    try:
        # The module's forward may name its arguments freely: shapes go by position.
        return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
    except DifferSegError:  # an operator of ours has said what is wrong
        raise
    except Exception as error:  # torch.export raises many kinds for what a user's module does
        first_line = next((line for line in str(error).splitlines() if line.strip()), "")
        advice = "see that the module runs on the example inputs, and mend what it says"
        if "data-dependent" in first_line:
            advice = "the forward pass must not branch on tensor values"
        if shapes is not None and re.search(_FIXED_BATCH, first_line):
            advice = (
                "dynamic_batch needs a module that takes a batch of any size: use x.shape[0] where "
                "it has a number, or export without dynamic_batch"
            )
        if "Unsupported dtype" in first_line:  # what torch.fft says of float16 and bfloat16
            advice = "torch.fft computes in float32: write x.float() before it and cast back after"
        raise InputError(
            f"{type(module).__name__}: torch.export cannot trace it "
            f"({type(error).__name__}: {first_line.strip()[:300]}); {advice}"
        ) from error


def _refuse_varying_rolls(program: torch.export.ExportedProgram) -> None:
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.roll.default):
        shifts = pytree.tree_leaves(node.args[1])
        if not all(isinstance(shift, int) for shift in shifts):
            raise InputError(f"{node.target} ({place_of(node)}): {VARYING_ROLL}")


def _convert(module: nn.Module, program: torch.export.ExportedProgram) -> ir.Model:
    name = type(module).__name__
    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=TRACE_OPSET,
            optimize=False,
            verbose=False,
            custom_translation_table=translations() | standard_translations(program),
        )
    except Exception as error:  # its own kinds wrap whatever a translation of one operator raises
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        operator = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(cause))
        if operator:
            raise InputError(
                f"{name}: {operator[1]} has no ONNX form; write the module without it"
            ) from error
        said = " ".join(str(cause).split())[:300]
        raise InputError(
            f"{name}: PyTorch's exporter cannot write it as ONNX "
            f"({type(cause).__name__}: {said}); write that part with other operations"
        ) from error
    if exported is None:
        raise InputError(f"{name}: PyTorch's exporter returned no graph")
    return exported.model


def returned_tensors(result: Any) -> list[Tensor]:
    """Return the tensors of what a module returned, in the order of the graph's outputs."""
    return [leaf for leaf in pytree.tree_leaves(result) if leaf is not None]


def _output_names(program: torch.export.ExportedProgram, wanted: Sequence[str] | None) -> list[str]:
    """Return one name per graph output; what the module returns as None is none."""
    outputs = program.graph_signature.user_outputs  # names of tensors, or what is no tensor
    spec = program.call_spec.out_spec
    keys: list[str] = []
    if spec is not None:
        result = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
        if isinstance(result, dict) and len(result) == spec.num_leaves:
            keys = [str(key) for key in result]
    for index, output in enumerate(outputs):
        if output is not None and not isinstance(output, str):
            what = f"output {keys[index]!r}" if keys else f"output {index}"
            raise InputError(
                f"{what}: the module returns {output!r} ({type(output).__name__}), expected a "
                "tensor or None; return tensors only"
            )
    given = [index for index, output in enumerate(outputs) if output is not None]
    if not given:
        raise InputError("the module returns nothing; export needs at least one output tensor")
    if keys:
        own = [keys[index] for index in given]
    elif len(given) == 1:
        own = ["output"]
    else:
        own = [f"output_{number}" for number in range(len(given))]
    if wanted is None:
        return own
    if len(wanted) != len(own):
        raise InputError(
            f"output_names: the module returns {len(own)} tensors in eval mode ({', '.join(own)}), "
            f"got {len(wanted)} names ({', '.join(wanted)})"
        )
    return list(wanted)


def _refuse_equal_names(inputs: list[str], outputs: list[str]) -> None:
    seen: set[str] = set()
    for name in (*inputs, *outputs):
        if name in seen:
            raise InputError(
                f"the name {name!r} stands for two of the graph's inputs and outputs "
                f"({', '.join(inputs)} -> {', '.join(outputs)}); choose others with output_names"
            )
        seen.add(name)


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
def quiet() -> Iterator[None]:
    """Silence the exporter's advice, which speaks of its own internals."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
