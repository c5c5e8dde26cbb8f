"""PyTorch operators that its exporter writes wrongly, or with more nodes than they need.

Each translation takes what the operator takes, tensors as ONNX values, and returns the result.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18
from torch import fx

op: Any = opset18  # whose types know nothing of what a translation is given
_END = sys.maxsize
_ATEN = torch.ops.aten
_OF_NUMBERS = (_ATEN.fft_fftfreq.default, _ATEN.fft_rfftfreq.default)
"""Operators without tensors that the exporter has no form for; they depend on no input."""
Translations = dict[Callable[..., Any], Callable[..., Any]]


def standard_translations(program: torch.export.ExportedProgram) -> Translations:
    """Return what PyTorch's exporter needs to know for a program: operator to function."""
    slices = _Slices()

    def take(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        return slices.take(x, dim, start, end, step)

    def replace(
        x: Any, source: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Any:
        return slices.replace(x, source, dim, start, end, step)

    def replace_one(x: Any, source: Any, dim: int, index: int) -> Any:
        end = _END if index == -1 else index + 1
        return slices.replace(x, op.Unsqueeze(source, _ints(dim)), dim, index, end)

    table: Translations = {
        **{operator: _evaluated(operator) for operator in _OF_NUMBERS},
        _ATEN.atan2.default: _atan2,
        _ATEN.copy.default: _copy,
        _ATEN.gelu.default: _gelu,
        _ATEN.slice_scatter.default: replace,
        _ATEN.select_scatter.default: replace_one,
    }
    if _writes_to_every_other(program):
        table[_ATEN.slice.Tensor] = take
    return table


def gather_along_one_axis(program: torch.export.ExportedProgram) -> None:
    """Turn ``x[:, :, index]`` into an index_select, in place: one Gather, and nothing transposed.

    The exporter writes GatherND between two transpositions.
    """
    for node in program.graph.find_nodes(op="call_function", target=_ATEN.index.Tensor):
        source, indices = node.args
        given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
        axis, index = given[0]
        picked = index.meta["val"]
        if len(given) == 1 and picked.ndim == 1 and picked.dtype in (torch.int64, torch.int32):
            node.target = _ATEN.index_select.default
            node.args = (source, axis, index)


def _evaluated(operator: Any) -> Callable[..., Any]:
    """Return a translation into a constant."""

    def constant(*arguments: Any, **options: Any) -> Any:
        return op.Constant(value=ir.tensor(operator(*arguments).numpy()))

    return constant


def _atan2(y: Any, x: Any) -> Any:
    """Return the angle of (x, y) in [-pi, pi]; the sign of a zero decides between pi and -pi.

    1/0 shows that sign, and an infinite slope has an arc tangent; only 0/0 is left out.  The
    exporter's own form gives -pi for pi wherever y is 0 and x negative: at the mean of every
    negative map.
    """
    zero, pi = _constant(0.0, y.dtype), _constant(math.pi, y.dtype)
    steep = op.Where(op.Equal(y, zero), zero, op.Atan(op.Div(op.Abs(y), op.Abs(x))))
    upper = op.Where(_is_negative(x), op.Sub(pi, steep), steep)
    return op.Where(_is_negative(y), op.Neg(upper), upper)


def _is_negative(x: Any) -> Any:
    """Whether the sign is minus: that of -0 shows in 1/x, that of -inf in x itself."""
    return op.Less(op.Min(x, op.Reciprocal(x)), _constant(0.0, x.dtype))


def _copy(x: Any, source: Any, non_blocking: bool = False) -> Any:
    """Return ``source`` in the type and shape of ``x``; the exporter forgets the shape."""
    cast = op.CastLike(source, x)
    return cast if source.shape == x.shape else op.Expand(cast, op.Shape(x))


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    """Return ``x (1 + erf(x / sqrt 2)) / 2``, multiplied in the order that engines recognise.

    ONNX Runtime computes it in one node then; the exporter halves the bracket first, which it
    takes for five nodes.  The results are the same: halving is exact.
    """
    one, half = _constant(1.0, x.dtype), _constant(0.5, x.dtype)
    if approximate == "tanh":
        cube = op.Mul(op.Mul(op.Mul(x, x), x), _constant(0.044715, x.dtype))
        bent = op.Tanh(op.Mul(op.Add(x, cube), _constant(math.sqrt(2 / math.pi), x.dtype)))
    else:
        bent = op.Erf(op.Div(x, _constant(math.sqrt(2), x.dtype)))
    return op.Mul(op.Mul(x, op.Add(bent, one)), half)


def _writes_to_every_other(program: torch.export.ExportedProgram) -> bool:
    """Whether slices with a step are written to, as hand-written inverse Haar transforms do."""
    for node in program.graph.find_nodes(op="call_function", target=_ATEN.copy_.default):
        view: Any = node.args[0]
        while isinstance(view, fx.Node) and view.target is _ATEN.slice.Tensor:
            if len(view.args) > 4:
                return True
            view = view.args[0]
    return False


@dataclass(frozen=True)
class _Woven:
    """A tensor whose elements along an axis come from several tensors in turn."""

    axis: int
    strands: tuple[Any, ...]


class _Slices:
    """Reads and replaces slices; remembers what it has woven, to read it without slicing."""

    def __init__(self) -> None:
        self.woven: dict[Any, _Woven] = {}

    def take(self, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        """Return ``x[start:end:step]`` along ``dim``."""
        axis, start, end = _span(x, dim, start, end)
        if (start, end, step) == (0, _END, 1):
            return x
        known = self._strands(x, axis, step)
        if known and _turn(x, axis, start, end, step) is not None:
            return known[start]
        return op.Slice(x, _ints(start), _ints(end), _ints(axis), _ints(step))

    def replace(
        self, x: Any, source: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Any:
        """Return ``x`` with ``x[start:end:step]`` along ``dim`` replaced."""
        axis, start, end = _span(x, dim, start, end)
        if step == 1:
            before = [] if start == 0 else [op.Slice(x, _ints(0), _ints(start), _ints(axis))]
            to_the_end = end == _END or end == x.shape[axis]
            behind = [] if to_the_end else [op.Slice(x, _ints(end), _ints(_END), _ints(axis))]
            pieces = [*before, source, *behind]
            return op.Concat(*pieces, axis=axis) if len(pieces) > 1 else source
        turn = _turn(x, axis, start, end, step)
        if turn is None:
            return _picked(x, source, axis, range(x.shape[axis])[start:end:step])
        known = self._strands(x, axis, step)
        strands = known or [self.take(x, axis, index, _END, step) for index in range(step)]
        strands = [*strands[:turn], source, *strands[turn + 1 :]]
        result = self._weave(x, axis, strands)
        self.woven[result] = _Woven(axis, tuple(strands))
        return result

    def _strands(self, x: Any, axis: int, step: int) -> list[Any] | None:
        known = self.woven.get(x)
        fits = known is not None and known.axis == axis and len(known.strands) == step
        return list(known.strands) if known is not None and fits else None

    def _weave(self, x: Any, axis: int, strands: list[Any]) -> Any:
        """Return a tensor of the shape of ``x`` that takes from each strand in turn."""
        if len(x.shape) == 4 and axis == 2 and len(strands) == 2:
            rows = [self._strands(strand, 3, 2) for strand in strands]
            if all(rows):
                quarters = [quarter for row in rows if row for quarter in row]
                return op.DepthToSpace(op.Concat(*quarters, axis=1), blocksize=2, mode="DCR")
        apart = [op.Unsqueeze(strand, _ints(axis + 1)) for strand in strands]
        return op.Reshape(op.Concat(*apart, axis=axis + 1), op.Shape(x))


def _span(x: Any, dim: int, start: Any, end: Any) -> tuple[int, Any, Any]:
    """Return axis, start and end; counted from the front where that can be known."""
    axis = dim % len(x.shape)
    start, end = 0 if start is None else start, _END if end is None else end
    count = x.shape[axis]
    if isinstance(count, int):
        start, end = (
            max(bound + count, 0) if isinstance(bound, int) and bound < 0 else bound
            for bound in (start, end)
        )
    if isinstance(start, int) and isinstance(end, int):
        end = max(start, end)  # an empty slice
    return axis, start, end


def _turn(x: Any, axis: int, start: Any, end: Any, step: int) -> int | None:
    """Return k where the slice is every ``step``-th element from the k-th, to the very end."""
    count = x.shape[axis]
    if not all(isinstance(number, int) for number in (count, start, end)):
        return None
    whole = start < step and count % step == 0 and end > count - step + start
    return int(start) if whole else None


def _picked(x: Any, source: Any, axis: int, replaced: range) -> Any:
    """Return ``x`` with the elements at these positions replaced, wherever they are."""
    order = np.arange(x.shape[axis])
    order[replaced] = len(order) + np.arange(len(replaced))
    both = op.Concat(x, source, axis=axis)
    return op.Gather(both, op.Constant(value=ir.tensor(order)), axis=axis)


def _ints(value: Any) -> Any:
    if isinstance(value, ir.Value):
        return op.Reshape(value, op.Constant(value_ints=[-1]))
    return op.Constant(value_ints=[value])


def _constant(value: float, dtype: ir.DataType) -> Any:
    return op.Constant(value=ir.tensor(value, dtype=dtype))
