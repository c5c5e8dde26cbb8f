"""The verb: measure a model file beside its peers, or count its work and hold it to the roof."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from differseg.bench.interleave import PeerTimes, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.bench.peers import Peer, parse_peers
from differseg.bench.result import BenchResult
from differseg.bench.tables import print_tables, tables_as_markdown
from differseg.errors import InputError
from differseg.manifest import Manifest
from differseg.options import option, parse
from differseg.runtime.backends import BackendName, CpuPrecision
from differseg.runtime.engine_file import is_engine, read_sidecar
from differseg.runtime.model_file import read_manifest

if TYPE_CHECKING:
    from differseg.bench.roofline_report import RooflineReport


@dataclass(frozen=True)
class BenchOptions:
    """Measure a model file from bare engine to camera run, beside its peers in the same run.

    With --roofline or --device: what its layers compute and move, how near this machine's engines
    come to the roof, and an estimate for devices that are not here.
    """

    model: Path = option(positional=True, metavar="MODEL")
    """The exported file, or an engine."""

    vs: str = option("none", metavar="LIST")
    """Peers, separated by commas: session (bare ONNX Runtime), torch (eager), an engine such as
    openvino or openvino:bf16, another model file, FILE@ENGINE, or none."""

    backend: BackendName = option("auto", metavar="NAME")
    """Engine of the model file; auto takes the fastest that is installed and says which."""

    cpu_precision: CpuPrecision | None = option(None, metavar="P")
    """What OpenVINO computes float32 parts in: f32, bf16 or f16."""

    checkpoint: Path | None = option(None, metavar="FILE")
    """Weights for the torch peer; the model's shipped weights by default."""

    threads: int = option(2, metavar="N")
    """Threads of each engine."""

    frames: int = option(20, metavar="N")
    """Frames in a burst."""

    bursts: int = option(5, metavar="N")
    """Bursts of each process, taken in turn with the other peers' bursts."""

    rounds: int = option(3, metavar="N")
    """Fresh processes of each engine; the figure is the median of their medians."""

    roofline: bool = False
    """Measure this machine's roofs and every layer, instead of frames."""

    device: tuple[str, ...] = option((), metavar="NAME")
    """Estimate the time on a device such as orin-nano-8gb, or on all (may be repeated)."""

    slowest: int = option(0, metavar="N")
    """With --roofline: also list the N slowest layers."""

    json: bool = False
    """Print one JSON document as the last line."""

    markdown: Path | None = option(None, metavar="FILE")
    """Also write the tables to this file, for the docs."""

    def __post_init__(self) -> None:
        check_counts(
            threads=self.threads, frames=self.frames, bursts=self.bursts, rounds=self.rounds
        )
        if self.checkpoint is not None and not self.checkpoint.is_file():
            raise InputError(f"bench: --checkpoint {self.checkpoint}: there is no such file")
        if self.markdown is not None and not self.markdown.parent.is_dir():
            raise InputError(f"bench: --markdown: there is no folder {self.markdown.parent}")
        if self.slowest < 0 or (self.slowest and not self.roofline):
            raise InputError("bench: --slowest N goes with --roofline, and N is at least 1")


def bench(options: BenchOptions) -> BenchResult:
    """Measure the levels of a model file and its peers on rendered frames.

    Raises:
        InputError: An unknown peer, a model with an input that cannot be rendered, or weights
            for the torch peer that cannot be found.
        ModelFileError, ManifestError: A file that cannot be used.
    """
    peers = parse_peers(options.model, options.vs, options.backend, options.cpu_precision)
    manifest = _manifest(options.model)
    for peer in peers:
        _check_modalities(peer.model, _manifest(peer.model))
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npz"
        bare = any(peer.kind in ("session", "torch") for peer in peers)
        render_frames(manifest, frames, inputs_of=options.model if bare else None)
        arguments = {peer.label: _arguments(peer, frames, options, manifest) for peer in peers}
        times = _measure_with_progress(arguments, options)
    return BenchResult(
        model=f"{manifest.model} {'x'.join(map(str, manifest.inputs[0].size_hw))} "
        f"{manifest.precision}",
        machine=f"{cpu_name()}, {options.threads} threads",
        versions=f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"OpenCV {_installed('opencv-python-headless', 'opencv-python')}",
        method=f"{options.rounds} processes each, {options.bursts} bursts of {options.frames} "
        "frames or more in turn, median of process medians [lowest-highest]; "
        "speed: of the bare engine = 1",
        peers=times,
        kinds={peer.label: peer.kind for peer in peers},
    )


def _manifest(model: Path) -> Manifest:
    return read_sidecar(model).manifest if is_engine(model) else read_manifest(model)


def _check_modalities(model: Path, manifest: Manifest) -> None:
    others = {spec.modality for spec in manifest.inputs} - {"rgb", "thermal"}
    if others:
        raise InputError(
            f"bench: {model} takes {' and '.join(sorted(others))}, for which no frames can "
            "be rendered; give a model of rgb, or of rgb and thermal"
        )


def _arguments(peer: Peer, frames: Path, options: BenchOptions, manifest: Manifest) -> list[str]:
    arguments = peer.arguments(frames)
    if peer.kind == "torch":
        arguments += ["--checkpoint", str(_weights(options, manifest))]
    return arguments


def _weights(options: BenchOptions, manifest: Manifest) -> Path:
    from differseg.checkpoints import shipped_weights

    weights = options.checkpoint or shipped_weights(manifest.model)
    if weights is None:
        raise InputError(
            f"bench: {manifest.model} has no shipped weights; give --checkpoint for --vs torch"
        )
    return Path(weights).resolve()


def render_frames(manifest: Manifest, path: Path, inputs_of: Path | None = None) -> None:
    """Write camera frames of a synthetic scene.

    Args:
        manifest: Of the model file; the frames have its size.
        path: The .npz file to write.
        inputs_of: A model file whose inputs, made from the first frame, are written too.
    """
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
    if inputs_of is not None:
        arrays.update(prepared_inputs(inputs_of, path))
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


def _roofline(options: BenchOptions) -> RooflineReport:
    from rich.console import Console

    from differseg.bench.roofline_report import roofline_report

    with Console(stderr=True).status("counting and measuring layers ..."):
        return roofline_report(
            options.model,
            here=options.roofline,
            devices=options.device,
            threads=options.threads,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the markdown when asked."""
    options = parse(BenchOptions, argv, "differseg bench")
    result: BenchResult | RooflineReport
    if options.roofline or options.device:
        report = _roofline(options)
        tables, lines, result = report.tables(options.slowest), report.summary(), report
    else:
        measured = bench(options)
        tables, lines, result = measured.tables(), measured.summary(), measured
    print_tables(tables, lines, result.warning)
    if options.markdown:
        options.markdown.write_text(tables_as_markdown(tables, lines, result.warning))
    if options.json:
        print(json.dumps(result.to_document()))
    return 0
