"""Fourier transforms of PyTorch's own operators as the operators of :mod:`differseg.ops.fourier`.

Convention:
    PyTorch's graphs hold ``_fft_r2c``, ``_fft_c2c`` and ``_fft_c2r``, with padding and cropping
    written out before them; ``dims`` may be any axes, the last one is one-sided.
    ``normalization`` is 0 (none), 1 (1/sqrt(n)) or 2 (1/n), whatever the direction.
    Two axes of a real map become the fused rfft2 and irfft2, one axis rfft and irfft, complex
    ones one fft for each axis; other ranks and axes are reshaped to ``(N, C, H, W)``.

The two-sided spectrum of a real map, and a complex transform of which only the real part is
wanted, are computed by the real transforms too, which do half of the work and have kernels: such
results are *deferred* until their use is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import differseg.ops.fourier  # noqa: F401  registers the operators
from differseg.export.lowering.complex_pair import PARTS, Order, Pair, in_logical_order, numel
from differseg.export.lowering.complex_rules import aten, conj, rule, with_signs

_FORWARD = ("backward", "ortho", "forward")
_INVERSE = ("forward", "ortho", "backward")
_OPPOSITE = dict(zip(_FORWARD, _INVERSE, strict=True))


VARYING_ROLL = (
    "it rolls an axis that varies, as the batch does; give the axes, such as dim=(-2, -1)"
)
"""What is said of fftshift without dim where the batch is dynamic."""


class Deferred(Pair):
    """A pair that is computed when something needs all of it."""

    def __init__(self, shape: Sequence[int], like: Pair | Tensor) -> None:
        dtype = like.dtype if like.dtype.is_floating_point else torch.get_default_dtype()
        super().__init__(shape, dtype, like.device)
        self._result: Pair | None = None

    def resolved(self) -> Pair:
        """Return it as computed tensors."""
        if self._result is None:
            self._result = self.compute()
            self._result.constant = self.constant
        return self._result

    def compute(self) -> Pair:
        """Return the result."""
        raise NotImplementedError


class RealSpectrum(Deferred):
    """The two-sided forward transform of a real tensor: its one-sided one, mirrored."""

    def __init__(self, x: Tensor, dims: Sequence[int], norm: str) -> None:
        super().__init__(x.shape, x)
        self.x, self.dims, self.norm = x, sorted(dims), norm

    def compute(self) -> Pair:
        """Return the result."""
        tensor, order = rfftn(self.x, self.dims, self.norm).tensor_and_order()
        return Pair.packed(self._completed(tensor, order, conjugate=True), order)

    def part(self, index: int) -> Tensor:
        """Return one part alone, which is mirrored alone."""
        if self._result is not None:
            return self._result.part(index)
        tensor, order = rfftn(self.x, self.dims, self.norm).tensor_and_order()
        labels = tuple(label for label in order if label != PARTS)
        half = tensor.select(order.index(PARTS), index)
        whole = self._completed(half, labels, conjugate=False, negate=index == 1)
        return in_logical_order(whole, labels)

    def _completed(
        self, half: Tensor, order: Order, *, conjugate: bool, negate: bool = False
    ) -> Tensor:
        """Append ``X[n - k] = conj(X[k])``, all other transformed axes reversed as well."""
        last = self.dims[-1]
        extra = (self.x.shape[last] - 1) // 2
        if extra == 0:
            return half
        mirrored = _taken(half, order.index(last), range(extra, 0, -1))
        for axis in self.dims[:-1]:
            mirrored = _reversed_bins(mirrored, order.index(axis))
        if conjugate:
            mirrored = with_signs(mirrored, order, 1.0, -1.0)
        return torch.cat((half, -mirrored if negate else mirrored), order.index(last))


class Transformed(Deferred):
    """A complex transform over some axes."""

    def __init__(self, z: Pair, dims: Sequence[int], norm: str, *, inverse: bool) -> None:
        super().__init__(z.shape, z)
        self.z, self.dims, self.norm, self.inverse = z, sorted(dims), norm, inverse

    def compute(self) -> Pair:
        """Return the result."""
        return fftn(resolved(self.z), self.dims, self.norm, inverse=self.inverse)

    def real_part(self) -> Tensor:
        """Return the real part alone: the real inverse transform of the Hermitian half.

        ``Re ifft(Z) = ifft(H)`` with ``H[k] = (Z[k] + conj(Z[-k])) / 2``; a forward transform is
        the inverse one of ``conj(Z)``, conjugated and scaled otherwise.
        """
        last = self.dims[-1]
        z = fftn(resolved(self.z), self.dims[:-2], self.norm, inverse=self.inverse)
        tensor, order = z.tensor_and_order()
        count = self.shape[last]
        kept = tensor.narrow(order.index(last), 0, count // 2 + 1)
        turned = [-bin_ % count for bin_ in range(count // 2 + 1)]
        mirrored = _taken(tensor, order.index(last), turned)
        for axis in self.dims[-2:-1]:
            mirrored = _reversed_bins(mirrored, order.index(axis))
        if self.inverse:
            half = kept * 0.5 + with_signs(mirrored, order, 0.5, -0.5)
        else:
            half = with_signs(kept, order, 0.5, -0.5) + mirrored * 0.5
        norm = self.norm if self.inverse else _OPPOSITE[self.norm]
        return irfftn(Pair.packed(half, order), self.dims[-2:], norm, count)


class Rolled(Deferred):
    """A pair that is rolled along some axes, as fftshift does."""

    def __init__(self, z: Pair, shifts: dict[int, int]) -> None:
        super().__init__(z.shape, z)
        self.z = z
        self.shifts = {axis: shift for axis, shift in shifts.items() if shift}

    def compute(self) -> Pair:
        """Return the result."""
        if not self.shifts or self.z.is_zero:
            return self.z
        axes = list(self.shifts)
        return self.z.map(
            lambda part, find: part.roll(list(self.shifts.values()), [find(a) for a in axes])
        )


def resolved(value: Any) -> Any:
    """Return a deferred pair as computed tensors, anything else as it is."""
    return value.resolved() if isinstance(value, Deferred) else value


# The rules.


@rule(aten._fft_r2c)
def _r2c(x: Tensor, dims: Sequence[int], normalization: int, onesided: bool) -> Pair:
    axes = [dim % x.ndim for dim in dims]
    norm = _FORWARD[normalization]
    return rfftn(x, axes, norm) if onesided else RealSpectrum(x, axes, norm)


@rule(aten._fft_c2c)
def _c2c(z: Pair, dims: Sequence[int], normalization: int, forward: bool) -> Pair:
    if not z.is_real:
        return transformed(z, dims, normalization, forward)
    axes = [dim % z.ndim for dim in dims]
    if forward:
        return RealSpectrum(z.real, axes, _FORWARD[normalization])
    return conj(RealSpectrum(z.real, axes, _FORWARD[normalization]).resolved())


def transformed(z: Pair, dims: Sequence[int], normalization: int, forward: bool) -> Pair:
    """Return the transform of a complex tensor, deferred."""
    norm = (_FORWARD if forward else _INVERSE)[normalization]
    return Transformed(z, [dim % z.ndim for dim in dims], norm, inverse=not forward)


@rule(aten._fft_c2r)
def _c2r(z: Pair, dims: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    axes = [dim % z.ndim for dim in dims]
    return irfftn(z, axes, _INVERSE[normalization], last_dim_size)


@rule(aten.roll)
def _roll(z: Pair, shifts: Any, dims: Any = ()) -> Pair:
    shifts, dims = ([n] if isinstance(n, int) else list(n) for n in (shifts, dims))
    if not dims:
        raise NotImplementedError("complex numbers are rolled along named axes only")
    if not all(isinstance(shift, int) for shift in shifts):
        raise NotImplementedError(VARYING_ROLL)
    total: dict[int, int] = {}
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % z.ndim
        total[axis] = (total.get(axis, 0) + shift) % z.shape[axis]
    return Rolled(z, total)


# Transforms over any axes.


def rfftn(x: Tensor, dims: Sequence[int], norm: str) -> Pair:
    """Transform a real tensor; one-sided along the last of ``dims``."""
    if len(dims) == 1:
        return _rfft(x, dims[0], norm)
    rows, columns = dims[-2:]
    others = [axis for axis in range(x.ndim) if axis not in (rows, columns)]
    maps = in_this_order(x, (*others, rows, columns))
    lead, plane = maps.shape[:-2], maps.shape[-2:]
    spectrum = torch.ops.differseg.rfft2(maps.reshape(*_batch(lead), *plane), norm)
    order = (*others, PARTS, rows, columns)
    z = Pair.packed(spectrum.reshape(*lead, *spectrum.shape[2:]), order)
    return fftn(z, dims[:-2], norm, inverse=False)


def _rfft(x: Tensor, axis: int, norm: str) -> Pair:
    before, length, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if behind:
        maps = x.reshape(*_batch(before), length, numel(behind))
        spectrum = torch.ops.differseg.rfft(maps, -2, norm)  # (N, C, 2, bins, behind)
        order = (*range(axis), PARTS, *range(axis, x.ndim))
    else:
        maps = x.reshape(*_batch(before[:-1]), *(before[-1:] or (1,)), length)
        spectrum = torch.ops.differseg.rfft(maps, -1, norm)  # (N, C, 2, rows, bins)
        order = (*range(axis - 1), PARTS, *range(max(axis - 1, 0), x.ndim))
    bins = length // 2 + 1
    sizes = [2 if p == PARTS else bins if p == axis else x.shape[p] for p in order]
    return Pair.packed(spectrum.reshape(sizes), order)


def irfftn(z: Pair, dims: Sequence[int], norm: str, length: int) -> Tensor:
    """Transform back to a real tensor whose last one of ``dims`` has this length."""
    if len(dims) == 1:
        maps, order, axis = _lines(z, dims[0])
        result = torch.ops.differseg.irfft(maps, axis, length, norm)
    else:
        z = fftn(z, dims[:-2], norm, inverse=True)
        order = (*(p for p in z.tensor_and_order()[1] if p not in (PARTS, *dims[-2:])), PARTS)
        order = (*order, *dims[-2:])
        spectrum = z.arranged(order)
        maps = spectrum.reshape(*_batch(spectrum.shape[:-3]), *spectrum.shape[-3:])
        result = torch.ops.differseg.irfft2(maps, length, norm)
    labels = [label for label in order if label != PARTS]
    sizes = [length if label == dims[-1] else z.shape[label] for label in labels]
    return in_logical_order(result.reshape(sizes), labels)


def fftn(z: Pair, dims: Sequence[int], norm: str, *, inverse: bool) -> Pair:
    """Transform a complex tensor along each of ``dims``, the innermost axis first."""
    for axis in sorted(dims, key=z.tensor_and_order()[1].index, reverse=True) if dims else ():
        maps, order, along = _lines(z, axis)
        result = torch.ops.differseg.fft(maps, along, inverse, norm)
        sizes = [2 if label == PARTS else z.shape[label] for label in order]
        z = Pair.packed(result.reshape(sizes), order)
    return z


def _lines(z: Pair, axis: int) -> tuple[Tensor, Order, int]:
    """Bring an axis to where the operators transform it, moving nothing where that is possible.

    Returns:
        ``(N, C, 2, H, W)``, the order of the axes before they were merged, and -1 or -2.
    """
    order = z.tensor_and_order()[1]
    between = order[order.index(PARTS) + 1 : order.index(axis)]
    behind = order[order.index(axis) + 1 :]
    if order.index(axis) < order.index(PARTS) or (between and behind):
        without = [label for label in order if label != PARTS]
        cut = without.index(axis)
        order = (*without[:cut], PARTS, *without[cut:])
        between, behind = (), order[cut + 2 :]
    tensor = z.arranged(order)
    parts = order.index(PARTS)
    lead, length = tensor.shape[:parts], z.shape[axis]
    if behind:
        rest = numel([z.shape[label] for label in behind])
        return tensor.reshape(*_batch(lead), 2, length, rest), order, -2
    rows = numel([z.shape[label] for label in between])
    return tensor.reshape(*_batch(lead), 2, rows, length), order, -1


def _batch(lead: Sequence[Any]) -> tuple[Any, Any]:
    """Merge the leading extents into (N, C), so that a varying batch stays the first axis."""
    return (lead[0], numel(lead[1:])) if lead else (1, 1)


def in_this_order(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Permute a real tensor, where that changes anything."""
    return x if list(axes) == list(range(x.ndim)) else x.permute(*axes)


def _taken(tensor: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    return tensor.index_select(axis, torch.tensor(list(indices), device=tensor.device))


def _reversed_bins(tensor: Tensor, axis: int) -> Tensor:
    """Return bin -k at k."""
    count = tensor.shape[axis]
    return tensor if count < 3 else _taken(tensor, axis, [-k % count for k in range(count)])
