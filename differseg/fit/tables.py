"""Tables of the fit, and the same as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from differseg.bench.tables import Table
from differseg.fit.judge import Fit
from differseg.fit.memory import Budget

ESTIMATE_NOTE = (
    "an ESTIMATE from the roofline, with the range that holds all published times; nothing was "
    "measured on a board (docs/fit.md)"
)
_TOO_FAST = ("GridSample",)
"""Operators that reach a few per cent of their roof (docs/roofline.md)."""


def time_tables(fits: Sequence[Fit]) -> list[Table]:
    """Return a table of each board: forms down, power modes across."""
    tables: list[Table] = []
    for name in dict.fromkeys(fit.board.name for fit in fits):
        here = [fit for fit in fits if fit.board.name == name]
        modes = dict.fromkeys(fit.mode for fit in here)
        rows: dict[str, dict[str, str]] = {}
        for fit in here:
            rows.setdefault(_form(fit), {})[fit.mode.name] = _cell(fit)
        title = f"ESTIMATE for {here[0].board.label} at {1e3 / here[0].limit_ms:g} frames a second"
        head = ["ms a frame", *(mode.label for mode in modes)]
        body = [[form, *(cells[mode.name] for mode in modes)] for form, cells in rows.items()]
        tables.append((title, head, body))
    return tables


def _form(fit: Fit) -> str:
    return f"{fit.graph.name}\n  {'x'.join(map(str, fit.graph.size_hw))} {fit.graph.precision}"


def _cell(fit: Fit) -> str:
    made = fit.estimate
    text = f"{made.fast_ms:.0f}-{made.slow_ms:.0f} {fit.verdict}"
    return text if fit.memory == "yes" else f"{text}, memory"


def memory_tables(fits: Sequence[Fit]) -> list[Table]:
    """Return what every run takes, stage by stage, and what each form adds."""
    fixed = fits[0].budget.fixed
    common = [[s.name, _mib(s.low_mib, s.high_mib), s.how] for s in fixed]
    forms = {_form(fit): fit.budget for fit in fits}
    each = [
        [form, *(_mib(s.low_mib, s.high_mib) for s in b.own), _mib(b.low_mib, b.high_mib)]
        for form, b in forms.items()
    ]
    names = [stage.name for stage in fits[0].budget.own]
    return [
        ("ESTIMATE of memory, of every network", ["stage", "MiB", "how it is known"], common),
        ("ESTIMATE of memory, MiB, computed", ["network", *names, "with all above"], each),
    ]


def memory_lines(fits: Sequence[Fit]) -> list[str]:
    """Return where the figures of memory are from, and what the boards have."""
    sources = dict.fromkeys(f"{s.name}: {s.source}" for s in fits[0].budget.fixed)
    boards = dict.fromkeys(fit.board for fit in fits)
    return [
        *sources,
        *(f"{b.label}: Linux has {b.usable_mib} MiB ({b.usable_source})" for b in boards),
    ]


def _mib(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "unknown"
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}-{high:.0f}"


def summary(fits: Sequence[Fit]) -> list[str]:
    """Return what the tables are, and where their figures reach no further."""
    lines = [
        ESTIMATE_NOTE,
        "yes: keeps up at the slow end of the range; may: at its fast end; no: not even there",
        "the network alone, one frame at a time; preparing, masks and outputs run beside it on the "
        "processor",
        "memory is judged by what is known of it; the workspace of TensorRT's kernels is not",
    ]
    if any(fit.graph.precision == "fp32" for fit in fits):
        lines.append("fp32 is estimated with TF32 (differseg build --tf32)")
    for op in _TOO_FAST:
        named = dict.fromkeys(
            fit.graph.name for fit in fits if any(layer.op == op for layer in fit.graph.layers)
        )
        if named:
            lines.append(f"{', '.join(named)}: estimated too fast, because of {op}")
    unknown = {layer.op for fit in fits for layer in fit.graph.layers if layer.kind == "unknown"}
    if unknown:
        lines.append(f"the work of {', '.join(sorted(unknown))} is not known: one pass over memory")
    strangers = dict.fromkeys(fit.board.label for fit in fits if not fit.board.calibrated)
    if strangers:
        lines.append(f"{', '.join(strangers)}: the range is Orin's, and no time was published")
    return lines


def document(fits: Sequence[Fit], notes: Sequence[str]) -> dict[str, Any]:
    """Return everything as plain values for ``--json``."""
    return {
        "estimate": True,
        "estimates_are": ESTIMATE_NOTE,
        "fits": [_plain(fit) for fit in fits],
        "notes": list(notes),
    }


def _plain(fit: Fit) -> dict[str, Any]:
    made = fit.estimate
    return {
        "estimate": True,
        "model": fit.graph.name,
        "size_hw": list(fit.graph.size_hw),
        "precision": fit.graph.precision,
        "board": fit.board.name,
        "mode": fit.mode.name,
        "bandwidth_gbs": made.device.bandwidth_gbs,
        "clock_mhz": made.device.clock_mhz,
        "matrix_tflops": dict(made.device.matrix_tflops),
        "sources": made.device.sources,
        "roof_ms": made.ideal_ms,
        "fast_ms": made.fast_ms,
        "typical_ms": made.typical_ms,
        "slow_ms": made.slow_ms,
        "limit_ms": fit.limit_ms,
        "time": fit.time,
        "memory": fit.memory,
        "verdict": fit.verdict,
        "memory_mib": _plain_budget(fit.budget),
        "usable_mib": fit.board.usable_mib,
    }


def _plain_budget(budget: Budget) -> dict[str, Any]:
    return {
        "low": budget.low_mib,
        "high": budget.high_mib,
        "stages": [asdict(stage) for stage in (*budget.fixed, *budget.own)],
    }
