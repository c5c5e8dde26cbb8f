"""The least time of every layer on a device: operations or bytes, whichever takes longer.

The roofline model (Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785): a layer of
``f`` operations that moves ``b`` bytes takes at least ``max(f / peak, b / bandwidth)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from differseg.bench.devices import Device
from differseg.bench.layer_costs import Layer


@dataclass(frozen=True)
class LayerTime:
    """A layer on a device.

    Attributes:
        layer: What is to be done.
        compute_s, memory_s: Least time for operations, and for bytes.
        measured_s: What an engine took, where it tells.
    """

    layer: Layer
    compute_s: float
    memory_s: float
    measured_s: float | None = None

    @property
    def ideal_s(self) -> float:
        """Return the least time."""
        return max(self.compute_s, self.memory_s)

    @property
    def bound(self) -> str:
        """Which roof it meets."""
        return "compute" if self.compute_s > self.memory_s else "memory"


@dataclass(frozen=True)
class Roofline:
    """All layers of a file on a device."""

    device: Device
    layers: tuple[LayerTime, ...]

    @property
    def ideal_s(self) -> float:
        """Sum over the layers, which run one after the other."""
        return sum(time.ideal_s for time in self.layers)

    @property
    def memory_share(self) -> float:
        """Part of the least time that is spent in layers bound by memory, 0..1."""
        total = self.ideal_s
        bound = sum(time.ideal_s for time in self.layers if time.bound == "memory")
        return bound / total if total else 0.0


@dataclass(frozen=True)
class KindTime:
    """Layers of one kind and precision, added up."""

    kind: str
    precision: str
    count: int
    flops: int
    bytes: int
    ideal_s: float
    memory_share: float
    measured_s: float | None

    @property
    def fraction(self) -> float | None:
        """Least over measured time: 1 is the roof."""
        return self.ideal_s / self.measured_s if self.measured_s else None


def roofline(
    layers: Sequence[Layer], device: Device, measured_s: Mapping[str, float] | None = None
) -> Roofline:
    """Return the layers' times on a device.

    Args:
        layers: From :func:`differseg.bench.layer_costs.layers_of`.
        device: Its two roofs.
        measured_s: Name of a layer -> seconds that an engine took for it.
    """
    measured_s = measured_s or {}
    return Roofline(
        device,
        tuple(
            LayerTime(
                layer,
                device.compute_s(layer),
                device.memory_s(layer),
                measured_s.get(layer.name),
            )
            for layer in layers
        ),
    )


def by_kind(result: Roofline) -> list[KindTime]:
    """Return the sums of each kind and precision, the longest first."""
    groups: dict[tuple[str, str], list[LayerTime]] = {}
    for time in result.layers:
        groups.setdefault((time.layer.kind, time.layer.precision), []).append(time)
    rows = []
    for (kind, precision), times in groups.items():
        ideal_s = sum(time.ideal_s for time in times)
        memory_s = sum(time.ideal_s for time in times if time.bound == "memory")
        known = [time.measured_s for time in times if time.measured_s is not None]
        rows.append(
            KindTime(
                kind,
                precision,
                len(times),
                sum(time.layer.flops for time in times),
                sum(time.layer.bytes for time in times),
                ideal_s,
                memory_s / ideal_s if ideal_s else 0.0,
                sum(known) if known else None,
            )
        )
    return sorted(rows, key=lambda row: -(row.measured_s or row.ideal_s))
