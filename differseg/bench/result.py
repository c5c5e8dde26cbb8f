"""Figures of one run of the bench, and the tables that are made of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from differseg.bench.interleave import MAX_OUTSIDE_CORES, PeerTimes
from differseg.bench.tables import Table

HEAD = ["", "engine", "median ms [range]", "p95", "p99", "frames/s", "speed", "MiB"]
STAGE_HEAD = ["stage, end to end", "p50 ms", "p95 ms", "p99 ms"]


@dataclass(frozen=True)
class BenchResult:
    """Figures of one run: the levels of the model file first, then its peers.

    Attributes:
        model, machine, versions, method: What was measured, in words.
        peers: Label -> its times; ``engine`` is the bare engine, the measure of all speeds.
        kinds: Label -> its level, ``session`` or ``torch``.
    """

    model: str
    machine: str
    versions: str
    method: str
    peers: dict[str, PeerTimes]
    kinds: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[list[str]]:
        """Return the table: one row a level or peer, times in ms."""
        own = self.peers["engine"].median_ms
        rows = []
        for name, peer in self.peers.items():
            times = np.concatenate([np.asarray(t) for t in peer.processes_ms])
            p95, p99 = np.percentile(times, [95, 99])
            low, high = min(peer.medians_ms), max(peer.medians_ms)
            rows.append(
                [
                    name,
                    peer.description,
                    f"{peer.median_ms:.1f} [{low:.1f}-{high:.1f}]",
                    f"{p95:.1f}",
                    f"{p99:.1f}",
                    f"{1e3 / peer.median_ms:.1f}",
                    f"{own / peer.median_ms:.2f}",
                    f"{peer.peak_mib:.0f}",
                ]
            )
        return rows

    def stage_rows(self) -> list[list[str]]:
        """Return one row a stage of the camera run: p50, p95, p99 in ms."""
        rows = []
        for stage, times in self.peers["end-to-end"].stages_ms.items():
            values = np.percentile(times, [50, 95, 99])
            rows.append([stage, *(f"{value:.2f}" for value in values)])
        return rows

    def tables(self) -> list[Table]:
        """Return both tables with their heads."""
        return [("", HEAD, self.rows()), ("", STAGE_HEAD, self.stage_rows())]

    def summary(self) -> list[str]:
        """Return what was measured, on what, and how."""
        return [f"{self.model} on {self.machine}; {self.versions}", self.method]

    @property
    def warning(self) -> str | None:
        """One line where the figures are not fit to be quoted."""
        names = [name for name, peer in self.peers.items() if peer.disturbed]
        if not names:
            return None
        return (
            f"other programs used more than {MAX_OUTSIDE_CORES} cores during every burst of "
            f"{', '.join(names)}: do not quote these figures; measure again on an idle machine"
        )

    def to_document(self) -> dict[str, Any]:
        """Return the figures as plain values for ``--json``."""
        own = self.peers["engine"].median_ms
        peers = {}
        for name, peer in self.peers.items():
            times = [t for process in peer.processes_ms for t in process]
            peers[name] = {
                "kind": self.kinds.get(name, name),
                "description": peer.description,
                "median_ms": peer.median_ms,
                "process_medians_ms": peer.medians_ms,
                "p95_ms": float(np.percentile(times, 95)),
                "p99_ms": float(np.percentile(times, 99)),
                "speed": own / peer.median_ms,
                "frames": len(times),
                "dropped_bursts": peer.dropped_bursts,
                "disturbed": peer.disturbed,
                "peak_mib": peer.peak_mib,
                "stages_p50_ms": {k: statistics.median(v) for k, v in peer.stages_ms.items()},
            }
        return {
            "model": self.model,
            "machine": self.machine,
            "versions": self.versions,
            "method": self.method,
            "warning": self.warning,
            "peers": peers,
        }
