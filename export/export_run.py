"""One export from a named network to a checked file: the work behind ``differseg export``."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from differseg.data.datasets.registry import parse_data
from differseg.errors import CheckFailedError, InputError, MissingComponentError
from differseg.export import rtx
from differseg.export.check import CheckReport, check
from differseg.export.exporter import check_form, float_count, write_graph
from differseg.export.finish import finish_graph
from differseg.export.layer_norm import OLDER_NORMS, decompose_layer_norms, needs_older_norms
from differseg.export.lowering.plugin_nodes import mentions_plugins
from differseg.export.manifest_builder import build_manifest, lowering_decisions, output_spec
from differseg.export.modelfile import (
    append_manifest,
    manifest_of,
    read_model,
    serialize,
    written_whole,
)
from differseg.export.network_source import NetworkSource, checked_size, load_network
from differseg.export.parity import compare_deployment
from differseg.export.parity_data import Feeds, Samples, load_samples
from differseg.export.parity_result import ParityResult, Thresholds, flips
from differseg.export.precision import HALF_THRESHOLDS, IMAGES, typed_half, write_simulation
from differseg.export.steps import Announce, Steps, silent
from differseg.export.targets import find_target
from differseg.export.to_onnx import ExportOptions
from differseg.export.trace import trace
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest, ThermalPolicy
from differseg.models.deployment import lowered_for_export
from differseg.models.inputs import input_specs
from differseg.schema import to_plain

LARGE_PARAMETERS = 50_000_000
"""Networks from this size on are compared on ``LARGE_IMAGES`` images by default."""
LARGE_IMAGES = 2
SYNTHETIC_SCENES = 4
"""Scenes, day and night in turn, where the user names no images."""

_WRAPPER = "model."  # the network's place in DeploymentModule


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and found.

    Attributes:
        path: The file.
        manifest: The manifest inside it.
        size_bytes: Size of the file.
        nodes: Nodes of the graph.
        parameters: Numbers in floating-point constants.
        sha256: Hash of the file.
        parity: The comparison with PyTorch.
        check: ONNX's checker, the target's lint, and NVIDIA's parser and builder.
        warnings: What the user should know.
        seconds: Duration of each step.
    """

    path: Path
    manifest: Manifest
    size_bytes: int
    nodes: int
    parameters: int
    sha256: str
    parity: ParityResult
    check: CheckReport
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return the report as JSON values; of the nodes only those that a target objects to."""
        checked = self.check.to_plain()
        checked["nodes"] = [verdict for verdict in checked["nodes"] if verdict["level"] != "yes"]
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "nodes": self.nodes,
            "parameters": self.parameters,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "check": checked,
            "manifest": to_plain(self.manifest),
        }


def run_export(options: ExportOptions, announce: Announce = silent) -> ExportReport:
    """Export a named network, compare the file with PyTorch and hold it against a target.

    Args:
        options: What the command line takes.
        announce: Told about every step.

    Raises:
        InputError: An option, size or path that cannot be used.
        CheckpointError: The weights do not fit.
        CheckFailedError: A check says no; the file is removed unless ``keep_failed``.
    """
    _check_options(options)
    steps = Steps(announce)
    with written_whole(options.out, keep_failed=options.keep_failed) as part:
        with steps("build") as said:
            source = load_network(options.model, options.checkpoint)
            size_hw = checked_size(source.spec, options.size)
            said += [source.spec.name, f"{source.parameters / 1e6:.2f} M parameters"]
            said.append(f"weights: {source.weights.source}")
            samples = _samples(source, size_hw, options)
        written = _write(source, size_hw, options, part, steps)
        parity = _compare(source, samples, options, part, steps)
        if options.precision == "fp16":
            written = _narrow(samples, options, part, steps)
            with tempfile.TemporaryDirectory() as folder:
                rounding = Path(folder) / part.name
                write_simulation(read_model(part), rounding)
                parity = _compare(source, samples, options, rounding, steps)
        random = source.is_random
        del source  # the builder needs the memory of a large network
        with part.open("r+b") as file:
            file.truncate(written.graph_bytes)
        manifest = written.manifest.with_parity(parity.record())
        with _writing(options.out):
            append_manifest(part, manifest)
        report, skipped = _check(part, options, steps)
        return ExportReport(
            path=options.out,
            manifest=manifest,
            size_bytes=part.stat().st_size,
            nodes=written.nodes,
            parameters=written.parameters,
            sha256=sha256_of(part),
            parity=parity,
            check=report,
            warnings=(*_told(parity, random), *skipped),
            seconds=steps.seconds,
        )


def _told(parity: ParityResult, random: bool) -> list[str]:
    """Return what the user should know of the weights and of the comparison."""
    told = ["the weights are random: the file shows form and speed, not masks"] if random else []
    return [*told, *parity.warnings]


def _check_options(options: ExportOptions) -> None:
    """Refuse what cannot be written before any work is done."""
    if options.checkpoint is not None and options.out.resolve() == options.checkpoint.resolve():
        raise InputError(
            f"export: --out: {options.out} is the checkpoint, which would be overwritten; name "
            "another file"
        )
    if options.out.suffix.lower() != ".onnx":
        raise InputError(
            f"export: --out: expected a file that ends in .onnx, got '{options.out}'; "
            f"for example {options.out.with_suffix('.onnx') if options.out.name else 'model.onnx'}"
        )
    if options.precision == "fp16" and options.ops == "function":
        raise InputError(
            "export: --ops function: is for reading, in fp32; an fp16 file takes portable or plugin"
        )
    if options.io == "fp16" and options.precision != "fp16":
        raise InputError("export: --io fp16: an fp32 file has fp32 inputs; add --precision fp16")
    check_form(options.ops, opset=17)
    find_target(options.target)
    if options.limit is not None and options.limit < 1:
        raise InputError(f"export: --limit: expected a number of at least 1, got {options.limit}")
    if options.data is not None:
        _, root = parse_data(options.data)
        if not root.is_dir():
            raise InputError(f"export: --data: there is no folder {root}")


@dataclass(frozen=True)
class _Written:
    manifest: Manifest
    nodes: int
    parameters: int
    graph_bytes: int


def _write(
    source: NetworkSource,
    size_hw: tuple[int, int],
    options: ExportOptions,
    part: Path,
    steps: Steps,
) -> _Written:
    """Lower, trace, simplify and write; the file ends with a manifest without parity figures."""
    with steps("lower") as said:
        decisions = lowering_decisions(source.module)
        lowered = lowered_for_export(source.module, size_hw)
        example = source.module.raw_inputs_example(size_hw)
        said.append(f"{size_hw[0]}x{size_hw[1]}")
    with steps("trace"):
        output = output_spec(source.spec, size_hw).name
        graph = trace(lowered, example, output_names=[output])
        del lowered
    with steps("simplify"):
        decisions += finish_graph(graph, ops=options.ops, strip=_WRAPPER)
        if needs_older_norms(find_target(options.target)) and decompose_layer_norms(graph):
            decisions.append(OLDER_NORMS)
    manifest = build_manifest(
        source.spec,
        size_hw,
        weights=source.weights,
        thermal_policy=source.thermal_policy,
        operator_form=options.ops,
        decisions=decisions,
    )
    with steps("write") as said, _writing(options.out):
        nodes, parameters = write_graph(graph, part)
        del graph
        gc.collect()
        graph_bytes = part.stat().st_size
        append_manifest(part, manifest)
        said += [f"{nodes} nodes", f"{graph_bytes / 1e6:.1f} MB", "ONNX's checker agrees"]
    return _Written(manifest, nodes, parameters, graph_bytes)


def _narrow(samples: Samples, options: ExportOptions, part: Path, steps: Steps) -> _Written:
    """Write the file anew in float16, but for what needs float32."""
    with steps("float16") as said:
        typed, report = typed_half(
            read_model(part), Feeds(samples, IMAGES), inputs_outputs=options.io
        )
        manifest = manifest_of(typed)
        assert manifest is not None, "an exported file has one"
        del typed.metadata_props[:]
        with _writing(options.out):
            part.write_bytes(serialize(typed))
            graph_bytes = part.stat().st_size
            append_manifest(part, manifest)
        said.append(f"{report.half_nodes} of {report.nodes} nodes, {report.casts} casts")
        said.append(f"{len(report.islands)} stay in float32")
        return _Written(manifest, len(typed.graph.node), float_count(typed), graph_bytes)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Name the place where the block cannot write."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"export: {out}: cannot be written ({error.strerror}); free space there, or choose "
            "another output path"
        ) from None


def _samples(source: NetworkSource, size_hw: tuple[int, int], options: ExportOptions) -> Samples:
    """Return the images to compare on; a folder that cannot be used is told before the work."""
    limit = options.limit
    if limit is None and source.parameters >= LARGE_PARAMETERS:
        limit = LARGE_IMAGES
    if limit is None and options.data is None:
        limit = SYNTHETIC_SCENES
    inputs = input_specs(source.spec, size_hw, source.thermal_policy or ThermalPolicy())
    samples = load_samples(
        inputs, options.data, limit,
        split=options.split, label_rule=options.label_rule, classes=source.spec.classes,
    )  # fmt: skip
    if options.data is not None:
        next(iter(samples))
    return samples


def _compare(
    source: NetworkSource, samples: Samples, options: ExportOptions, part: Path, steps: Steps
) -> ParityResult:
    """Compare the file in ONNX Runtime with PyTorch on images."""
    # Probabilities of random weights crowd around the threshold, where rounding flips pixels.
    limits = Thresholds(flipped_pixels=_ANY, min_mask_iou=0.0, min_boundary_f=0.0)
    simulated = options.precision == "fp16" and "float16" in steps.seconds
    if not source.is_random:
        limits = HALF_THRESHOLDS if simulated else Thresholds()
    elif simulated:
        limits = dataclasses.replace(limits, max_error=HALF_THRESHOLDS.max_error)
    with steps("parity of float16" if simulated else "parity") as said:
        result = compare_deployment(source.module, part, samples, limits)
        said.append(f"max error {result.overall.max_error:.2g}")
        said.append(f"{flips(result.overall)} on {result.data}")
    if not result.passed:
        raise CheckFailedError(_refusal(options, result.summary()))
    return result


_ANY = 1 << 40


def _check(part: Path, options: ExportOptions, steps: Steps) -> tuple[CheckReport, list[str]]:
    """Hold the file against the target, and against NVIDIA's parser and builder where installed."""
    real, hint = options.real and rtx.is_available(), f"install them with: {rtx.INSTALL_HINT}"
    if real and mentions_plugins(part) and not options.plugin:
        real, hint = False, "the plugin nodes need the library: add --plugin LIB.so"
    with steps("check") as said:
        try:
            report = check(part, options.target, real, options.plugin if real else ())
        except MissingComponentError as error:  # a version that its self-test does not know
            hint, real = str(error), False
            report = check(part, options.target, real)
        report = replace(report, path=options.out)
        said.append(f"{options.target} {'accepts' if report.passed else 'refuses'} the file")
        if report.rtx is not None and report.rtx.passed:
            said.append(f"NVIDIA built an engine of {report.rtx.engine_bytes / 1e6:.1f} MB")
    if not report.passed:
        raise CheckFailedError(_refusal(options, "; ".join(report.reasons()[:3])))
    skipped = []
    if options.real and not real:
        skipped.append(f"NVIDIA's parser and builder did not run: {hint}")
    return report, skipped


def _refusal(options: ExportOptions, why: str) -> str:
    if options.keep_failed:
        return f"{options.out}: {why}; the file was kept to be looked at"
    return f"{options.out}: not written: {why}; add --keep-failed to look at the file"
