"""What a comparison layer by layer gives: every tensor's error, and the nodes that make it.

Plain data, standard library only.

Convention:
    An error is relative: the root of the summed squares of ``B - A`` over that of ``A``, over all
    elements and images.  A tensor's *error* is what the two whole graphs show there, with
    everything that came before.  Its *own error* is what its node adds: the node runs once more on
    the values that the other side has for what it reads, so that an error before it is not counted.
    The *typical* error is the median of ``|B - A| / |A|`` over the elements where ``|A|`` is at
    least 6.1e-5, fp16's smallest normal number; from 0.9 on half of the values are lost, which the
    other figure cannot see where a few large values hold all the power, as in a spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class LayerLimits:
    """From where on a node's own error makes it a suspect.

    Attributes:
        rms: Largest relative root mean square of its own error.
        typical: Largest median of its own error.
        jump: Where a node cannot run by itself: its error is at least this many times that of
            what it reads.
        reason: Why these.
    """

    rms: float
    typical: float
    jump: float = 4.0
    reason: str = "given by the caller"


def limits_for(*precisions: str) -> LayerLimits:
    """Return the limits for the coarser of two precisions: ``fp32``, ``fp16`` or ``int8``.

    Anything else, such as an engine as it was built, may round to fp16 or TF32.
    """
    if "int8" in precisions:
        return LayerLimits(0.15, 0.9, reason="an 8-bit step of a well-scaled tensor is 1 to 10 %")
    if set(precisions) <= {"fp32"}:
        return LayerLimits(1e-4, 1e-2, reason="fp32 rounds to 6e-8 of a value")
    return LayerLimits(0.01, 0.05, reason="fp16 rounds to 5e-4 of a value")


@dataclass(frozen=True)
class Read:
    """A compared tensor that a node reads, and its error there."""

    node: str
    rms: float


@dataclass(frozen=True)
class LayerError:
    """One tensor that both sides have.

    Attributes:
        node: The node that makes it, in the graph.
        op: The node's operator.
        module: Path of the module that it comes from, '' for the outermost one.
        of: For a Cast or DequantizeLinear that one side has alone: the node whose result it passes
            on, else ''.
        shape: Of the tensor.
        dtype: On the side whose graph it is.
        rms, typical, max_error: Of the error, see Convention; the last one absolute.
        nonfinite: Elements that are NaN or infinite on one side and otherwise on the other.
        own_rms, own_typical: Of the own error; None where the node could not run by itself.
        reads: The compared tensors that it reads.
        operands: Its constants that differ, in words.
    """

    node: str
    op: str
    module: str
    of: str
    shape: tuple[int, ...]
    dtype: str
    rms: float
    typical: float
    max_error: float
    nonfinite: int
    own_rms: float | None
    own_typical: float | None
    reads: tuple[Read, ...] = ()
    operands: tuple[str, ...] = ()

    @property
    def read_rms(self) -> float:
        """Largest error of what it reads; 0 where it reads nothing that is compared."""
        return max((read.rms for read in self.reads), default=0.0)

    def exceeds(self, limits: LayerLimits) -> bool:
        """Whether this node makes an error, and not only hands one on."""
        if self.own_rms is not None and self.own_typical is not None:
            return self.own_rms > limits.rms or self.own_typical > limits.typical
        return self.rms > limits.rms and self.rms > limits.jump * self.read_rms

    def describe(self) -> str:
        """Return the node with its module in words."""
        behind = f" behind {self.of}" if self.of else ""
        return f"{self.node} ({self.op}{behind})"


@dataclass(frozen=True)
class Divergence:
    """Every tensor that two forms of a network share, in the order of the graph.

    Attributes:
        a, b: Names of both sides.
        images: Stems of the images that ran.
        layers: The tensors.
        limits: From where on a node is a suspect.
        runs: Runs of a graph, or of a part of it.
        chunks: Into how many parts the tensors were split, so that they fit in memory.
        seconds: How long it took.
        unmatched: Nodes or modules that could not be compared, each with the reason.
        notes: How it was run.
    """

    a: str
    b: str
    images: tuple[str, ...]
    layers: tuple[LayerError, ...]
    limits: LayerLimits
    runs: int
    chunks: int
    seconds: float = 0.0
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def suspects(self) -> tuple[LayerError, ...]:
        """The nodes whose own error is above the limit, in the order of the graph."""
        return tuple(layer for layer in self.layers if layer.exceeds(self.limits))

    @property
    def first(self) -> LayerError | None:
        """The first of them: where the two sides part."""
        return next(iter(self.suspects), None)

    @property
    def largest(self) -> LayerError | None:
        """The node with the largest own error."""
        known = [layer for layer in self.layers if layer.own_rms is not None]
        return max(known, key=lambda layer: layer.own_rms or 0.0, default=None)

    def summary(self) -> str:
        """Return the outcome in one line."""
        compared = f"{len(self.layers)} tensors compared"
        first, largest = self.first, self.largest
        if first is not None:
            own = "error" if first.own_rms is None else "own error"
            value = first.rms if first.own_rms is None else first.own_rms
            more = len(self.suspects) - 1
            others = f"; {more} more node(s) follow" if more else ""
            lost = ""
            if value <= self.limits.rms and first.own_typical is not None:
                lost = f", half of its values are off by more than {percent(first.own_typical)}"
            return (
                f"first divergence: {first.describe()}, {own} {percent(value)} where what it reads "
                f"has {percent(first.read_rms)}{lost}{others} ({compared})"
            )
        if all(layer.rms == 0 for layer in self.layers):
            return f"no node stands out: all tensors are equal ({compared})"
        if largest is None or largest.own_rms is None:
            return f"no node stands out ({compared})"
        return (
            f"no node stands out: the largest own error is {percent(largest.own_rms)}, of "
            f"{largest.describe()} ({compared})"
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the outcome as values for JSON; the caller takes care of infinite ones."""
        document: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        first = self.first
        suspects = [layer.node for layer in self.suspects]
        return {**document, "first": first, "suspects": suspects, "summary": self.summary()}


def percent(value: float) -> str:
    """Return a relative error as people read it: percent, small ones as a power of ten."""
    if not math.isfinite(value):
        return "infinite"
    if value == 0:
        return "0"
    if value < 1e-4:
        return f"{value:.1e}"
    return f"{100 * value:.3g} %"
