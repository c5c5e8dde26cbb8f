"""A traced program with complex numbers, written out in real ones.

ONNX and TensorRT have no complex tensors.  Every complex value of the program becomes a
:class:`~differseg.export.lowering.complex_pair.Pair`, every operator on it what its rule says, and
PyTorch's Fourier transforms become the operators of :mod:`differseg.ops.fourier`.  A program
without complex numbers is returned as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx import traceback
from torch.utils import _pytree as pytree

from differseg.errors import DifferSegError, InputError
from differseg.export.lowering import (  # noqa: F401  registers their rules
    complex_contractions,
    complex_layout,
    complex_parts,
    complex_writes,
)
from differseg.export.lowering.complex_fusions import FUSIONS, NO_OPS, Site, packet
from differseg.export.lowering.complex_pair import PARTS, Pair
from differseg.export.lowering.complex_rules import RULES, aten
from differseg.export.lowering.complex_transforms import resolved

_VIEWS = (aten.view.default, aten._unsafe_view.default)
"""Of a real part too, which lies otherwise in memory than in the module: reshaped instead."""


def real_valued(
    program: torch.export.ExportedProgram, arguments: tuple[Tensor, ...], shapes: Any = None
) -> torch.export.ExportedProgram:
    """Return a program of real tensors that computes the same.

    Args:
        program: The traced program; it is not changed.
        arguments: What it was traced with.
        shapes: Its dynamic shapes, one entry for each argument; those of ``*args`` are one tuple.

    Raises:
        InputError: An input or output is complex, or an operator has no rule.
    """
    if not _concerned(program):
        return program
    dynamic = None if shapes is None else (tuple(_shape_of_each(shapes)),)
    try:
        program = _in_known_operators(program)
        if not any(_is_complex(node) for node in program.graph.nodes):
            return program
        _refuse_complex_interface(program)
        written = _RealProgram(program.module())
        return torch.export.export(written, arguments, dynamic_shapes=dynamic, strict=False)
    except DifferSegError:
        raise
    except Exception as error:
        raise InputError(
            f"the complex numbers of the module cannot be written as real ones "
            f"({_one_line(error)}); use real tensors there"
        ) from error


def _one_line(error: Exception) -> str:
    first_line = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first_line.strip()[:300]}"


def _shape_of_each(shapes: Any) -> list[Any]:
    return pytree.tree_leaves(shapes, is_leaf=lambda entry: isinstance(entry, dict))


def _concerned(program: torch.export.ExportedProgram) -> bool:
    """Whether any operator makes or takes complex numbers, be it only within itself."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            named = getattr(packet(node), "__name__", "")
            if _is_complex(node) or "fft" in named:
                return True
    return False


def _is_complex(node: fx.Node) -> bool:
    values = pytree.tree_leaves(node.meta.get("val"))
    return any(isinstance(value, Tensor) and value.is_complex() for value in values)


def _touches_complex(node: fx.Node) -> bool:
    return _is_complex(node) or any(_is_complex(operand) for operand in node.all_input_nodes)


def _in_known_operators(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Write the program without mutation, and what has no rule with operators that have one."""
    tried: set[Any] = set()
    program = _decomposed(program, _composite(program, tried))  # ends mutation in any case
    while table := _composite(program, tried):
        program = _decomposed(program, table)
    return program


def _decomposed(
    program: torch.export.ExportedProgram, table: dict[Any, Any]
) -> torch.export.ExportedProgram:
    """Write some operators with others, but for those that PyTorch fails to write so."""
    try:
        return program.run_decompositions(table)
    except Exception:  # of PyTorch's own rules, some of which know nothing of complex numbers
        if not table:
            raise
    tables = [{operator: how} for operator, how in table.items()] if len(table) > 1 else [{}]
    for part in tables:
        program = _decomposed(program, part)
    return program


def _composite(program: torch.export.ExportedProgram, tried: set[Any]) -> dict[Any, Any]:
    """Return how to decompose the operators that have no rule, each of them once."""
    known = torch.export.default_decompositions()
    without_rule = {
        node.target
        for node in program.graph.nodes
        if packet(node) not in RULES
        and (_touches_complex(node) or "fft" in getattr(packet(node), "__name__", ""))
    }
    table = {operator: known[operator] for operator in without_rule - tried if operator in known}
    tried |= without_rule
    return table


def _refuse_complex_interface(program: torch.export.ExportedProgram) -> None:
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    for kind, names in (("input", signature.user_inputs), ("output", signature.user_outputs)):
        for number, name in enumerate(names):
            if isinstance(name, str) and _is_complex(nodes[name]):
                raise InputError(
                    f"{kind} {number} of the module is complex ({nodes[name].meta['val'].dtype}), "
                    "expected a real tensor: ONNX and TensorRT have no complex ones; "
                    "pass torch.view_as_real(z), (..., 2), instead"
                )


class _RealProgram(nn.Module):
    """A program that computes in real numbers; its parameters keep their names."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__()
        self.numbers = _known_numbers(program)
        for path, tensor in [*program.named_parameters(), *program.named_buffers()]:
            if tensor.is_complex():
                _replace(program, path, tensor)
        for node in program.graph.find_nodes(op="get_attr"):
            value = _attribute(program, str(node.target))
            if isinstance(value, Tensor) and value.is_complex():
                _replace(program, str(node.target), value)
        self._modules, self._parameters = program._modules, program._parameters
        self._buffers = program._buffers
        self.__dict__["program"] = program  # not as a submodule, for the parameters' names

    def forward(self, *arguments: Tensor) -> Any:
        """Compute the program's results."""
        program: fx.GraphModule = self.__dict__["program"]
        with traceback.preserve_node_meta():
            return _RealInterpreter(program, self.numbers).run(*arguments)


def _attribute(module: nn.Module, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _known_numbers(program: fx.GraphModule) -> dict[fx.Node, complex]:
    """Return the value of each constant without axes, as the 0 of ``spectrum[..., 3:] = 0``."""
    known: dict[fx.Node, complex] = {}
    for node in program.graph.nodes:
        if node.op == "get_attr":
            value = _attribute(program, str(node.target))
            parameter = isinstance(value, nn.Parameter)
            if isinstance(value, Tensor) and value.ndim == 0 and not parameter:
                known[node] = value.item()
        elif packet(node) in NO_OPS and node.args[0] in known:
            known[node] = known[node.args[0]]
    return known


def _replace(module: nn.Module, path: str, tensor: Tensor) -> None:
    """Put real numbers, parts last, where a complex tensor was."""
    *owners, name = path.split(".")
    owner = _attribute(module, ".".join(owners)) if owners else module
    real = torch.view_as_real(tensor.detach().resolve_conj())
    if isinstance(tensor, nn.Parameter):
        setattr(owner, name, nn.Parameter(real, requires_grad=False))
    else:
        setattr(owner, name, real)


class _RealInterpreter(fx.Interpreter):
    """Runs a program with pairs in place of complex tensors."""

    def __init__(self, program: fx.GraphModule, numbers: dict[fx.Node, complex]) -> None:
        super().__init__(program, garbage_collect_values=False)
        self.extra_traceback = False  # it would be added to the text of our errors
        self.site: Site | None = None
        moving: set[fx.Node] = set()
        for node in program.graph.nodes:
            if node.op == "placeholder" or moving & set(node.all_input_nodes):
                moving.add(node)
        self.constants = frozenset(set(program.graph.nodes) - moving)
        self.numbers = numbers

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node; a pair remembers whether it is a constant."""
        self.site = Site(n, self.env, self.constants)
        try:
            result = super().run_node(n)
        except DifferSegError:
            raise
        except NotImplementedError as error:
            raise _no_rule(n, f": {error}") from error
        except Exception as error:  # whatever an operator says of operands that a rule gives it
            raise _no_rule(n, f" ({_one_line(error)})") from error
        for value in result if isinstance(result, list | tuple) else (result,):
            if isinstance(value, Pair):
                value.constant = n in self.constants
        return result

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Return a parameter or constant."""
        value = super().get_attr(target, args, kwargs)
        assert self.site is not None
        if not _is_complex(self.site.node):
            return value
        return Pair.packed(value, (*range(value.ndim - 1), PARTS))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Leave out the guards of the traced shapes, which tracing again puts back."""
        assert target == "_guards_fn", "a traced program has no other modules"

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Compute an operator by a fusion or by its rule where complex numbers are concerned."""
        assert self.site is not None
        node = self.site.node
        for fuse in FUSIONS.get(packet(node), ()):
            result = fuse(self.site)
            if result is not NotImplemented:
                return result
        if not _touches_complex(node):
            if target in _VIEWS:
                return torch.reshape(*args)
            return super().call_function(target, args, kwargs)
        if getattr(target, "__name__", "") == "getitem":
            return args[0][args[1]]
        if packet(node) is aten._assert_tensor_metadata:
            return None
        rule = RULES.get(packet(node))
        if rule is None:
            raise _no_rule(node, "")
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._operand)
        result = rule(*args, **_relevant(kwargs))
        return result.real if isinstance(result, Pair) and not _is_complex(node) else result

    def _operand(self, node: fx.Node) -> Any:
        """Return what a rule is given for a node: computed tensors, or a number it stands for."""
        return self.numbers[node] if node in self.numbers else resolved(self.env[node])


def _relevant(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says where and how a tensor lies in memory."""
    memory = ("memory_format", "layout", "pin_memory", "rounding_mode")
    return {name: value for name, value in options.items() if name not in memory}


def place_of(node: fx.Node) -> str:
    """Return where a node comes from, in words."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed([entry[0] for entry in stack.values()]), "") or "the module itself"
    return f"node {node.name!r}, from {path}"


def _no_rule(node: fx.Node, why: str) -> InputError:
    return InputError(
        f"{node.target} of complex numbers ({place_of(node)}) has no form in real "
        f"ones{why}; write it with the real and imaginary parts, abs, angle, or real tensors"
    )
