"""Programs with complex numbers beside what is written of them in real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from differseg.export.lowering.complex_numbers import real_valued

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}


class Of(nn.Module):
    """A function of one or two tensors as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        return self.function(x) if y is None else self.function(x, y)


class Inner(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.filter = Of(function)

    def forward(self, x: Tensor) -> Any:
        return self.filter(x)


def written(
    module: nn.Module, *inputs: Tensor, dynamic: bool = False
) -> torch.export.ExportedProgram:
    """Trace a module and write it in real numbers; nothing complex may be left."""
    shapes = None
    if dynamic:
        shapes = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    with torch.no_grad():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes, strict=False)
        program = real_valued(program, inputs, shapes)
    for node in program.graph.nodes:
        for value in torch.utils._pytree.tree_leaves(node.meta.get("val")):
            assert not (isinstance(value, Tensor) and value.is_complex()), node
    return program


def check(module: nn.Module, *inputs: Tensor, dynamic: bool = False) -> None:
    """Compare the written program with the module."""
    program = written(module, *inputs, dynamic=dynamic)
    if dynamic:
        inputs = tuple(torch.cat((value, value[:1]) * 2)[:5] for value in inputs)
    with torch.no_grad():
        expected, found = module(*inputs), program.module()(*inputs)
    leaves = torch.utils._pytree.tree_leaves_with_path
    for (path, one), (_, other) in zip(leaves(expected), leaves(found), strict=True):
        where = torch.utils._pytree.keystr(path)
        assert one.shape == other.shape, where
        assert one.dtype == other.dtype, where
        error = (one - other).abs().max() / one.abs().max().clamp_min(1e-30)
        assert error <= LIMITS[one.dtype], f"{where}: relative error {error:.2g}"


def as_real(value: Any) -> Any:
    """Return what a program may return: every complex tensor as two real ones."""
    values = value if isinstance(value, tuple | list) else [value]
    return [torch.view_as_real(v.resolve_conj()) if v.is_complex() else v for v in values]
