"""A complex tensor kept as real ones, while a program is written out in real numbers.

Convention:
    A pair has the logical shape of the complex tensor that it stands for.  It is *packed*, one
    real tensor with an axis of extent 2 (real part, imaginary part) somewhere among the others,
    or *split* into two real tensors, of which an absent one is known to be zero.
    ``order`` says what each axis of the packed tensor is: a logical axis, or ``PARTS``.  A
    permutation of the logical axes only relabels it, so that ``(N, H, W, C)`` maps are
    transformed as ``(N, C, 2, H, W)`` and come back without a transposition in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PARTS = -1
"""The label of the axis (real part, imaginary part) in an order."""

Order = tuple[int, ...]
Step = Callable[[Tensor, Callable[[int], int]], Tensor]
"""Works on one real tensor; the function that it is given finds a logical axis in it."""


class Pair:
    """A complex tensor as one packed or two split real tensors; its numbers never change.

    Attributes:
        shape: Logical shape.
        dtype: Type of the real numbers.
        constant: Whether it depends on no input of the program; set by whoever knows.
        turn: ``z / |z|``, once something has asked for it.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.device = device
        self.constant = False
        self.turn: Pair | None = None
        self._packed: tuple[Tensor, Order] | None = None
        self._split: tuple[Tensor | None, Tensor | None] | None = None

    @classmethod
    def packed(cls, tensor: Tensor, order: Order) -> Pair:
        """Make a pair of one real tensor; ``order`` labels its axes."""
        sizes = {label: tensor.shape[axis] for axis, label in enumerate(order)}
        pair = cls([sizes[axis] for axis in range(len(order) - 1)], tensor.dtype, tensor.device)
        pair._packed = tensor, tuple(order)
        return pair

    @classmethod
    def split(cls, real: Tensor | None, imaginary: Tensor | None) -> Pair:
        """Make a pair of two real tensors, which are broadcast; at most one is None for zero."""
        some = real if real is not None else imaginary
        assert some is not None, "use Pair.zeros where both parts are zero"
        if real is not None and imaginary is not None:
            if real.dtype != imaginary.dtype:  # single precision plus a real tensor of double
                dtype = torch.promote_types(real.dtype, imaginary.dtype)
                real, imaginary = real.to(dtype), imaginary.to(dtype)
            if real.shape != imaginary.shape:
                real, imaginary = torch.broadcast_tensors(real, imaginary)
            some = real
        pair = cls(some.shape, some.dtype, some.device)
        pair._split = real, imaginary
        return pair

    @classmethod
    def zeros(cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Pair:
        """Make a pair that is known to be zero."""
        pair = cls(shape, dtype, device)
        pair._split = None, None
        return pair

    @property
    def ndim(self) -> int:
        """Number of logical axes."""
        return len(self.shape)

    @property
    def is_packed(self) -> bool:
        """Whether both parts lie in one tensor."""
        return self._packed is not None

    @property
    def is_zero(self) -> bool:
        """Whether it is known to be zero."""
        return self._split == (None, None)

    @property
    def is_real(self) -> bool:
        """Whether the imaginary part is known to be zero."""
        return self._split is not None and self._split[1] is None

    @property
    def is_imaginary(self) -> bool:
        """Whether the real part is known to be zero."""
        return self._split is not None and self._split[0] is None

    @property
    def real(self) -> Tensor:
        """The real part, in the logical order of axes."""
        return self.part(0)

    @property
    def imag(self) -> Tensor:
        """The imaginary part, in the logical order of axes."""
        return self.part(1)

    def part(self, index: int) -> Tensor:
        """Return the real (0) or the imaginary (1) part, in the logical order of axes."""
        if self._split is None:
            tensor, order = self.tensor_and_order()
            part = tensor.select(order.index(PARTS), index)
            return in_logical_order(part, [label for label in order if label != PARTS])
        part_or_none = self._split[index]
        if part_or_none is None:
            return torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        return part_or_none

    def parts(self) -> tuple[Tensor | None, Tensor | None]:
        """Return both parts, None for one that is known to be zero."""
        return self._split if self._split is not None else (self.real, self.imag)

    def tensor_and_order(self) -> tuple[Tensor, Order]:
        """Return the packed tensor and the labels of its axes, packing the parts where needed."""
        if self._packed is None:
            axis = max(self.ndim - 2, 0)  # where the two-dimensional transforms want it
            order = (*range(axis), PARTS, *range(axis, self.ndim))
            self._packed = torch.stack((self.real, self.imag), axis), order
        return self._packed

    def arranged(self, order: Sequence[int]) -> Tensor:
        """Return the packed tensor with its axes in this order."""
        tensor, own = self.tensor_and_order()
        if not isinstance(order, tuple):
            order = tuple(order)
        return tensor if own == order else tensor.permute([own.index(label) for label in order])

    def map(self, step: Step, change: Callable[[Order], Order] | None = None) -> Pair:
        """Do the same to both parts.

        Args:
            step: Works on each real tensor.
            change: New labels of the axes, where the step adds, removes or reorders them.
        """
        if self._packed is None:
            real, imaginary = (
                None if part is None else step(part, lambda axis: axis) for part in self.parts()
            )
            assert not self.is_zero, "a rule that maps has made its zeros real"
            return Pair.split(real, imaginary)
        tensor, order = self._packed
        result = step(tensor, order.index)
        return Pair.packed(result, order if change is None else change(order))

    def like(self, real: Tensor | None, imaginary: Tensor | None) -> Pair:
        """Return a split pair, zero in its own type and shape where both parts are."""
        if real is None and imaginary is None:
            return Pair.zeros(self.shape, self.dtype, self.device)
        return Pair.split(real, imaginary)

    def filled(self) -> Pair:
        """Return itself, or its zeros as a tensor where it is known to be zero."""
        return Pair.split(self.real, None) if self.is_zero else self

    def settled(self) -> Pair:
        """Return the same packed in the logical order of axes, as transforms want it."""
        axis = max(self.ndim - 2, 0)
        order = (*range(axis), PARTS, *range(axis, self.ndim))
        return Pair.packed(self.arranged(order), order)

    def raised(self, rank: int) -> Pair:
        """Return the same with axes of extent 1 in front, up to ``rank`` logical axes."""
        missing = rank - self.ndim
        if missing <= 0:
            return self
        if self.is_zero:
            return Pair.zeros((*[1] * missing, *self.shape), self.dtype, self.device)

        def change(order: Order) -> Order:
            moved = (label if label == PARTS else label + missing for label in order)
            return (*range(missing), *moved)

        return self.map(lambda part, _: part[(None,) * missing], change)


def in_logical_order(tensor: Tensor, labels: Sequence[int]) -> Tensor:
    """Permute a real tensor whose axes carry these logical labels."""
    if list(labels) == sorted(labels):
        return tensor
    return tensor.permute([list(labels).index(axis) for axis in sorted(labels)])


def beside(tensor: Tensor, order: Order) -> Tensor:
    """Bring a real operand next to a packed tensor, so that broadcasting meets the right axes.

    Args:
        tensor: At most as many axes as the pair has logical ones.
        order: Labels of the packed tensor's axes.
    """
    logical = [label for label in order if label != PARTS]
    if logical != sorted(logical):
        tensor = tensor[(None,) * (len(logical) - tensor.ndim)].permute(logical)
    behind = len(order) - 1 - order.index(PARTS)
    return tensor.unsqueeze(tensor.ndim - behind) if tensor.ndim > behind else tensor


def constant_pair(value: complex, dtype: torch.dtype, device: torch.device) -> Pair:
    """Return a number as a pair without axes."""
    pair = Pair.packed(torch.tensor([value.real, value.imag], dtype=dtype, device=device), (PARTS,))
    pair.constant = True
    return pair


def numel(shape: Sequence[Any]) -> Any:
    """Return the number of elements, a symbol where an axis varies."""
    return math.prod(shape)
