"""``differseg bench --roofline`` and ``--device``: layers, this machine, and other devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from differseg.bench.devices import DEVICES, Device, device_named
from differseg.bench.estimate import CALIBRATED_ON, Estimate, estimate
from differseg.bench.layer_costs import Layer, layers_of, totals
from differseg.bench.layer_times import Engine, EngineTimes, engine_times
from differseg.bench.roofline import KindTime, LayerTime, Roofline, by_kind, roofline
from differseg.bench.tables import Table
from differseg.errors import InputError
from differseg.runtime.engine_file import is_engine

ESTIMATE_NOTE = (
    "estimates from the roofline, not measured on these devices; method and limits: "
    "docs/roofline.md"
)


@dataclass(frozen=True)
class Measured:
    """One engine on this machine."""

    times: EngineTimes
    result: Roofline


@dataclass(frozen=True)
class RooflineReport:
    """What a file costs, what it takes here, and what it may take elsewhere.

    Attributes:
        path: The file.
        layers: Its layers.
        machine: This machine's roofs, where they were measured.
        measured: The engines that were measured here.
        estimates: The devices that were asked for.
    """

    path: Path
    layers: tuple[Layer, ...]
    machine: Device | None
    measured: tuple[Measured, ...]
    estimates: tuple[Estimate, ...]

    @property
    def warning(self) -> str | None:
        """One line where operators are not known."""
        unknown = sorted({layer.op for layer in self.layers if layer.kind == "unknown"})
        if not unknown:
            return None
        return (
            f"the work of {', '.join(unknown)} is not known: counted as one pass over memory, "
            "without operations"
        )

    def tables(self, slowest: int = 0) -> list[Table]:
        """Return the tables, with a number of the slowest layers of each engine."""
        tables = []
        for measured in self.measured:
            tables.append(_kind_table(measured))
            if slowest:
                tables.append(_layer_table(measured, slowest))
        if not self.measured:
            tables.append(_cost_table(self.layers))
        if self.estimates:
            tables.append(_estimate_table(self.estimates))
        return tables

    def summary(self) -> list[str]:
        """Return lines on the file and the machine."""
        flops, size = totals(self.layers)
        lines = [
            f"{self.path.name}: {len(self.layers)} layers after fusion, {flops / 1e9:.2f} GFLOP, "
            f"{size / 1e6:.0f} MB moved, {flops / max(size, 1):.1f} FLOP/byte"
        ]
        if self.machine is not None:
            rates = self.machine.matrix_tflops
            caches = [gbs for _, gbs in self.machine.cache_gbs]
            lines.append(
                f"{self.machine.label}: {rates['fp32']:.2f} TFLOP/s fp32, {rates['int8']:.2f} "
                f"int8; {self.machine.bandwidth_gbs:.0f} GB/s from memory, "
                f"{min(caches):.0f} to {max(caches):.0f} from caches (measured just now)"
            )
        for measured in self.measured:
            times, ideal_ms = measured.times, measured.result.ideal_s * 1e3
            lines.append(
                f"{times.engine}: {times.total_s * 1e3:.1f} ms a run, {ideal_ms:.1f} ms at the "
                f"roof, {ideal_ms / times.total_s / 10:.0f} % reached"
            )
        if self.estimates:
            lines.append(ESTIMATE_NOTE)
            if all(layer.precision == "fp32" for layer in self.layers):
                lines.append(
                    "this file is fp32, estimated with TF32 (differseg build --tf32); fp16 and "
                    "INT8 are faster there"
                )
        return lines

    def to_document(self) -> dict[str, Any]:
        """Return everything as plain values for ``--json``."""
        flops, size = totals(self.layers)
        return {
            "model": str(self.path),
            "flops": flops,
            "bytes": size,
            "layers": [_plain_layer(layer) for layer in self.layers],
            "machine": _plain_device(self.machine) if self.machine else None,
            "measured": [_plain_measured(measured) for measured in self.measured],
            "estimates": [_plain_estimate(estimated) for estimated in self.estimates],
            "estimates_are": ESTIMATE_NOTE if self.estimates else None,
            "warning": self.warning,
        }


def roofline_report(
    path: Path, *, here: bool, devices: Sequence[str], threads: int
) -> RooflineReport:
    """Count a file's work, and measure it here or estimate it elsewhere.

    Args:
        path: The ONNX file.
        here: Measure this machine, and the file in every engine that is installed.
        devices: Names of other devices; ``all`` stands for every one.
        threads: Threads of the measurements.

    Raises:
        InputError: There is no such device, or the file is not ONNX.
        ModelFileError: The file cannot be read.
    """
    if is_engine(path):
        raise InputError(f"bench: {path}: the roofline is counted on an ONNX file; give that one")
    names = DEVICES if "all" in devices else devices
    chosen = [device_named(name) for name in names]
    layers = layers_of(path)
    machine, measured = _measure_here(path, layers, threads) if here else (None, ())
    reference_mhz = DEVICES[CALIBRATED_ON].clock_mhz or 0.0
    estimates = [estimate(layers, device, reference_mhz) for device in chosen]
    return RooflineReport(path, tuple(layers), machine, measured, tuple(estimates))


def _measure_here(
    path: Path, layers: Sequence[Layer], threads: int
) -> tuple[Device, tuple[Measured, ...]]:
    """Measure the engines that are installed, and the machine's roofs before and after them."""
    from differseg.bench.machine_peak import better_of, measure_machine

    before = measure_machine(threads)
    engines: list[Engine] = ["onnxruntime"]
    if find_spec("openvino") is not None:
        engines.append("openvino")
    times = [engine_times(path, layers, engine, threads) for engine in engines]
    machine = better_of(before, measure_machine(threads))
    measured = tuple(Measured(t, roofline(layers, machine, t.layers_s)) for t in times)
    return machine, measured


_COST_HEAD = ["layers", "GFLOP", "MB", "FLOP/B"]


def _kind_table(measured: Measured) -> Table:
    """One row a kind of layer, with what was measured."""
    head = [*_COST_HEAD, "bound", "roof ms", "ms", "reached"]
    rows = [
        [
            *_costs(row.kind, row.precision, row.count, row.flops, row.bytes),
            _bound(row),
            f"{row.ideal_s * 1e3:.2f}",
            "" if row.measured_s is None else f"{row.measured_s * 1e3:.2f}",
            "" if row.fraction is None else f"{row.fraction:.0%}",
        ]
        for row in by_kind(measured.result)
    ]
    own_ms = f"{measured.times.own_s * 1e3:.2f}"
    rows.append(["the engine's own", *[""] * 5, own_ms, ""])
    return measured.times.engine, head, rows


def _layer_table(measured: Measured, count: int) -> Table:
    head = ["slowest layers", "kind", "FLOP/B", "bound", "roof ms", "ms", "reached"]
    times = sorted(measured.result.layers, key=lambda time: -(time.measured_s or 0.0))[:count]
    rows = [
        [
            time.layer.name,
            f"{time.layer.kind} {time.layer.precision}",
            f"{time.layer.intensity:.1f}",
            time.bound,
            f"{time.ideal_s * 1e3:.3f}",
            "" if time.measured_s is None else f"{time.measured_s * 1e3:.3f}",
            f"{time.ideal_s / time.measured_s:.0%}" if time.measured_s else "",
        ]
        for time in times
    ]
    return measured.times.engine, head, rows


def _cost_table(layers: Sequence[Layer]) -> Table:
    groups: dict[tuple[str, str], list[Layer]] = {}
    for layer in layers:
        groups.setdefault((layer.kind, layer.precision), []).append(layer)
    rows = [
        _costs(kind, precision, len(members), *totals(members))
        for (kind, precision), members in groups.items()
    ]
    return "work of the file", _COST_HEAD, sorted(rows, key=lambda row: -float(row[2]))


def _estimate_table(estimates: Sequence[Estimate]) -> Table:
    head = ["ESTIMATE for", "bound by memory", "roof ms", "estimate ms", "frames/s"]
    rows = [
        [
            estimated.device.label,
            f"{estimated.memory_share:.0%}",
            f"{estimated.ideal_ms:.2f}",
            f"{estimated.fast_ms:.1f} - {estimated.slow_ms:.1f}",
            f"{1e3 / estimated.slow_ms:.0f} - {1e3 / estimated.fast_ms:.0f}",
        ]
        for estimated in estimates
    ]
    return "", head, rows


def _costs(kind: str, precision: str, count: int, flops: int, size: int) -> list[str]:
    intensity = f"{flops / size:.1f}" if size else ""
    name = kind.replace("depthwise convolution", "depthwise")
    return [f"{count} {name} {precision}", f"{flops / 1e9:.2f}", f"{size / 1e6:.1f}", intensity]


def _bound(row: KindTime) -> str:
    if row.memory_share > 0.9:
        return "memory"
    return "compute" if row.memory_share < 0.1 else f"mem {row.memory_share:.0%}"


def _plain_layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "kind": layer.kind,
        "nodes": list(layer.nodes),
        "precision": layer.precision,
        "units": layer.units,
        "flops": layer.flops,
        "bytes": layer.bytes,
        "flops_per_byte": layer.intensity,
    }


def _plain_device(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "label": device.label,
        "bandwidth_gbs": device.bandwidth_gbs,
        "cache_gbs": [list(point) for point in device.cache_gbs],
        "matrix_tflops": dict(device.matrix_tflops),
        "vector_tflops": dict(device.vector_tflops),
        "clock_mhz": device.clock_mhz,
        "sources": device.sources,
        "checked": device.checked,
        "estimated": device.estimated,
    }


def _plain_measured(measured: Measured) -> dict[str, Any]:
    return {
        "engine": measured.times.engine,
        "total_ms": measured.times.total_s * 1e3,
        "roof_ms": measured.result.ideal_s * 1e3,
        "own_ms": measured.times.own_s * 1e3,
        "layers": [_plain_time(time) for time in measured.result.layers],
        "kinds": [
            {
                "kind": row.kind,
                "precision": row.precision,
                "count": row.count,
                "flops": row.flops,
                "bytes": row.bytes,
                "roof_ms": row.ideal_s * 1e3,
                "memory_share": row.memory_share,
                "measured_ms": None if row.measured_s is None else row.measured_s * 1e3,
                "reached": row.fraction,
            }
            for row in by_kind(measured.result)
        ],
    }


def _plain_time(time: LayerTime) -> dict[str, Any]:
    return {
        "name": time.layer.name,
        "bound_by": time.bound,
        "roof_ms": time.ideal_s * 1e3,
        "measured_ms": None if time.measured_s is None else time.measured_s * 1e3,
    }


def _plain_estimate(estimated: Estimate) -> dict[str, Any]:
    return {
        "estimate": True,
        "device": _plain_device(estimated.device),
        "roof_ms": estimated.ideal_ms,
        "estimate_fast_ms": estimated.fast_ms,
        "estimate_typical_ms": estimated.typical_ms,
        "estimate_slow_ms": estimated.slow_ms,
        "memory_share": estimated.memory_share,
    }
