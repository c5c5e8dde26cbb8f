"""The verb: render frames, start the peers, measure them in turn, print the table."""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from differseg.bench.interleave import MAX_OUTSIDE_CORES, PeerTimes, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.bench.worker import PEERS
from differseg.errors import InputError
from differseg.manifest import Manifest
from differseg.options import option, parse


@dataclass(frozen=True)
class BenchOptions:
    """Measure a model file from camera frame to mask, and its peers in the same run."""

    model: Path = option(positional=True, metavar="MODEL.onnx")
    """The exported file."""

    vs: str = "session"
    """Peers, separated by commas: session (the bare ONNX Runtime session), torch (eager), none."""

    checkpoint: Path | None = None
    """Weights for the torch peer; the model's shipped weights by default."""

    threads: int = 2
    """Threads of each engine."""

    frames: int = 20
    """Frames in a burst."""

    bursts: int = 5
    """Bursts of each process, taken in turn with the other peers' bursts."""

    rounds: int = 3
    """Fresh processes of each engine; the figure is the median of their medians."""

    json: bool = False
    """Print one JSON document as the last line."""

    markdown: Path | None = None
    """Also write the table to this file, for the docs."""

    def __post_init__(self) -> None:
        check_counts(
            threads=self.threads, frames=self.frames, bursts=self.bursts, rounds=self.rounds
        )
        if self.checkpoint is not None and not self.checkpoint.is_file():
            raise InputError(f"bench: --checkpoint {self.checkpoint}: there is no such file")
        if self.markdown is not None and not self.markdown.parent.is_dir():
            raise InputError(f"bench: --markdown: there is no folder {self.markdown.parent}")


@dataclass(frozen=True)
class BenchResult:
    """Figures of one run: the runtime first, then its peers."""

    model: str
    machine: str
    versions: str
    method: str
    peers: dict[str, PeerTimes]

    def rows(self) -> list[list[str]]:
        """Return the table: one row a peer, times in ms."""
        own = self.peers["runtime"].median_ms
        rows = []
        for name, peer in self.peers.items():
            times = np.concatenate([np.asarray(t) for t in peer.processes_ms])
            p95, p99 = np.percentile(times, [95, 99])
            low, high = min(peer.medians_ms), max(peer.medians_ms)
            rows.append(
                [
                    name,
                    peer.description,
                    f"{peer.median_ms:.1f} [{low:.1f} - {high:.1f}]",
                    f"{p95:.1f}",
                    f"{p99:.1f}",
                    f"{1e3 / peer.median_ms:.1f}",
                    f"{own / peer.median_ms:.2f}",
                    f"{peer.peak_mib:.0f}",
                ]
            )
        return rows

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

    def stage_rows(self) -> list[list[str]]:
        """Return one row a stage of the runtime: p50, p95, p99 in ms."""
        rows = []
        for stage, times in self.peers["runtime"].stages_ms.items():
            values = np.percentile(times, [50, 95, 99])
            rows.append([stage, *(f"{value:.2f}" for value in values)])
        return rows

    def to_document(self) -> dict[str, Any]:
        """Return the figures as plain values for ``--json``."""
        peers = {}
        for name, peer in self.peers.items():
            times = [t for process in peer.processes_ms for t in process]
            peers[name] = {
                "description": peer.description,
                "median_ms": peer.median_ms,
                "process_medians_ms": peer.medians_ms,
                "p95_ms": float(np.percentile(times, 95)),
                "p99_ms": float(np.percentile(times, 99)),
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


_HEAD = [
    "peer",
    "engine",
    "median ms [processes]",
    "p95",
    "p99",
    "frames/s",
    "runtime / peer",
    "MiB",
]
_STAGE_HEAD = ["stage of the runtime", "p50 ms", "p95 ms", "p99 ms"]


def bench(options: BenchOptions) -> BenchResult:
    """Measure the runtime and its peers on rendered frames.

    Raises:
        InputError: An unknown peer, a model with an input that cannot be rendered, or weights
            for the torch peer that cannot be found.
        ModelFileError: Not a file that differseg wrote.
    """
    from differseg.runtime.segmenter import Segmenter

    with Segmenter(options.model, threads=1) as segmenter:
        manifest = segmenter.manifest
    others = {spec.modality for spec in manifest.inputs} - {"rgb", "thermal"}
    if others:
        raise InputError(
            f"bench: {options.model} takes {' and '.join(sorted(others))}, for which no frames can "
            "be rendered; give a model of rgb, or of rgb and thermal"
        )
    peers = _peer_names(options.vs)
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npz"
        _render_frames(options.model, manifest, frames)
        arguments = {
            peer: ["--model", str(options.model.resolve()), "--frames", str(frames)]
            for peer in peers
        }
        if "torch" in peers:
            weights = _weights(options, manifest)
            arguments["torch"] += ["--checkpoint", str(weights)]
        times = _measure_with_progress(arguments, options)
    return BenchResult(
        model=f"{manifest.model} {'x'.join(map(str, manifest.inputs[0].size_hw))}",
        machine=f"{cpu_name()}, {options.threads} threads",
        versions=f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"OpenCV {_installed('opencv-python-headless', 'opencv-python')}",
        method=f"{options.rounds} processes each, {options.bursts} bursts of {options.frames} "
        "frames or more in turn, median of process medians [lowest - highest]",
        peers=times,
    )


def _peer_names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name and name != "none"]
    known = [name for name in PEERS if name != "runtime"]
    for name in names:
        if name not in known:
            raise InputError(f"bench: --vs: no peer '{name}'; choose from {', '.join(known)}")
    return ["runtime", *names]


def _weights(options: BenchOptions, manifest: Manifest) -> Path:
    from differseg.checkpoints import shipped_weights

    weights = options.checkpoint or shipped_weights(manifest.model)
    if weights is None:
        raise InputError(
            f"bench: {manifest.model} has no shipped weights; give --checkpoint for --vs torch"
        )
    return Path(weights).resolve()


def _render_frames(model: Path, manifest: Manifest, path: Path) -> None:
    """Write camera frames of a synthetic scene, and the graph's inputs made from the first."""
    from differseg.bench.runtime_peers import prepared_inputs
    from differseg.data.synthetic import SyntheticScene

    height, width = manifest.inputs[0].size_hw
    scene = SyntheticScene(7, size_wh=(width, height))
    times_s = [index / 10 for index in range(8)]
    arrays: dict[str, Any] = {
        "rgb": np.stack([scene.rgb(t_s) for t_s in times_s]),
        "thermal": np.stack([scene.thermal(t_s) for t_s in times_s]),
        "thermal_to_rgb": scene.thermal_to_rgb,
    }
    np.savez(path, **arrays)
    arrays.update(prepared_inputs(model, path))
    np.savez(path, **arrays)


def _measure_with_progress(
    arguments: dict[str, list[str]], options: BenchOptions
) -> dict[str, PeerTimes]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("measuring {task.fields[peers]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        steps = options.rounds * (options.bursts + 1)
        task = progress.add_task("bench", total=steps, peers=", ".join(arguments))
        return measure(
            arguments,
            frames=options.frames,
            bursts=options.bursts,
            rounds=options.rounds,
            threads=options.threads,
            progress=lambda n: progress.advance(task, n),
        )


def _installed(*distributions: str) -> str:
    for name in distributions:
        try:
            return version(name)
        except ImportError:
            continue
    return "of the system"


def _markdown(result: BenchResult) -> str:
    def table(head: list[str], rows: list[list[str]]) -> list[str]:
        lines = [head, ["---"] * len(head), *rows]
        return ["| " + " | ".join(cells) + " |" for cells in lines]

    lines = [
        f"{result.model} on {result.machine}; {result.versions}; {result.method}.",
        "",
        *table(_HEAD, result.rows()),
        "",
        *table(_STAGE_HEAD, result.stage_rows()),
        *(["", f"Warning: {result.warning}."] if result.warning else []),
    ]
    return "\n".join(lines) + "\n"


def _print(result: BenchResult) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for head, rows in ((_HEAD, result.rows()), (_STAGE_HEAD, result.stage_rows())):
        table = Table(*head, box=SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"{result.model} on {result.machine}; {result.versions}")
    console.print(result.method)
    if result.warning:
        console.print(f"[yellow]warning:[/] {result.warning}", highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the markdown when asked."""
    options = parse(BenchOptions, argv, "differseg bench")
    result = bench(options)
    _print(result)
    if options.markdown:
        options.markdown.write_text(_markdown(result))
    if options.json:
        print(json.dumps(result.to_document()))
    return 0
