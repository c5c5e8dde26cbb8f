"""``differseg parity``: does a model still say the same after it changed its form.

Two forms of one network (a checkpoint, an ONNX file, or a model with shipped weights) run on the
same images, and the differences are told in terms of the task: per pixel, per mask, and against
labels where there are any.  Inputs are prepared as each form's own manifest says, with the code
that runs on the device.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from differseg.errors import InputError
from differseg.export.parity_backends import OnnxRunner
from differseg.export.parity_compare import Comparison
from differseg.export.parity_data import Sample, load_samples
from differseg.export.parity_form import Runner
from differseg.export.parity_print import print_result
from differseg.export.parity_result import Check, ParityResult, Side, Thresholds
from differseg.export.parity_runners import TorchRunner, module_side, open_pair
from differseg.export.report import MAX_PANELS, write_report
from differseg.options import option, parse
from differseg.runtime.backends import BackendName
from differseg.runtime.backends.options import EngineOptions

if TYPE_CHECKING:
    from differseg.models.deployment import DeploymentModule

__all__ = ["ParityOptions", "ParityResult", "Thresholds", "compare_deployment", "main", "parity"]


@dataclass(frozen=True, kw_only=True)
class ParityOptions(EngineOptions, Thresholds):
    """Compare two forms of a model: per pixel, per mask, and against labels.

    A and B are each a checkpoint (.safetensors, .pt, .pth), an .onnx file, a TensorRT engine
    (.engine, .plan), or the name of a model with shipped weights. A is the reference. Exit status
    1 when a limit is not kept.
    """

    a: str = option(positional=True, metavar="A")
    """The reference."""
    b: str = option(positional=True, metavar="B")
    """What is judged against it."""
    data: str | None = option(None, metavar="DIR")
    """Folder with rgb/ and thermal/, depth/ or flow/, and labels/ where there are any, by equal
    stem; NAME:DIR of a published data set, see 'differseg datasets'; 8 synthetic scenes where it is
    left out."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); the one that figures are reported on when not
    given."""
    limit: int | None = option(None, metavar="N")
    """Use at most N images, spread evenly over the folder."""
    label_rule: str = option("auto", metavar="RULE")
    """How label values become object and background: auto, nonzero, binary255, mfnet, or ids
    such as 1,2,3, with +ignore255 behind it where 255 means ignore; with more than two classes:
    auto, ids, or pairs of value and class id such as 1-150=0-149,0=255. none leaves labels out."""
    backend: BackendName = "onnxruntime"
    """Engine of B, an .onnx file; auto takes the one that the runtime would."""
    report: Path | None = option(None, metavar="FILE")
    """Write an HTML page with pictures; one file, readable without a network."""
    layers: bool = False
    """Compare layer by layer on the worst image and name the node at which A and B part; one of
    them is an .onnx file."""
    json: bool = False
    """Print the result as one JSON document on the last line."""


def parity(
    a: str | Path,
    b: str | Path,
    data: str | Path | None = None,
    *,
    thresholds: Thresholds | None = None,
    report: str | Path | None = None,
    limit: int | None = None,
    split: str | None = None,
    label_rule: str = "auto",
    layers: bool = False,
    engine: EngineOptions | None = None,
    engine_key: Path | None = None,
) -> ParityResult:
    """Compare two forms of a model.

    Args:
        a: The reference: a checkpoint, an .onnx file, or a model with shipped weights.
        b: What is judged against it, likewise.
        data: Folder of images, or ``NAME:DIR`` of a published data set (see
            :func:`differseg.export.parity_data.load_samples`); None takes synthetic scenes.
        thresholds: Limits of the verdict.
        report: An ``.html`` file to write.
        limit: Largest number of images.
        split: Of a data set given by name; None takes the one that figures are reported on.
        label_rule: How label values become classes.
        layers: Also compare layer by layer, on the worst image.
        engine: What runs b, an .onnx file; None takes ONNX Runtime on the processor.
        engine_key: Key file of who must have signed engines; None takes any that we built.

    Returns:
        The result; ``result.passed`` is the verdict.

    Raises:
        InputError: Forms that cannot be compared with each other, data that cannot be used, or a
            report that is no ``.html`` file.
        ModelFileError, ManifestError, CheckpointError: A file that cannot be used.
    """
    if report is not None:
        _check_report_path(Path(report), a, b)
    if layers and engine is not None:
        raise InputError(
            "parity: --layers looks into ONNX Runtime's own runs; leave out --backend, --threads "
            "and --cpu-precision with it"
        )
    first, second = open_pair(a, b, engine, engine_key)
    try:
        samples = load_samples(
            first.inputs, data, limit,
            split=split, label_rule=label_rule, classes=first.side.classes,
        )  # fmt: skip
        panels = 0 if report is None else MAX_PANELS
        with _progress() as progress:
            result = _compare(
                first,
                second,
                progress.track(samples, description="comparing"),
                thresholds or Thresholds(),
                panels,
                samples.description,
                _untrained(first.side, second.side),
                locate=True,
            )
        if layers:
            result = _with_layers(result, first, second, samples)
    finally:
        first.close()
        second.close()
    if report is not None:
        write_report(result, Path(report))
    return result


def _with_layers(
    result: ParityResult, first: Runner, second: Runner, samples: Iterable[Sample]
) -> ParityResult:
    """Add the comparison layer by layer on the worst image, and its line of the verdict."""
    from differseg.export.divergence import compare_layers

    worst = result.worst_first[0].stem
    found = compare_layers(first, second, [next(s for s in samples if s.stem == worst)])
    check = Check(
        what="nodes at fault",
        measured=len(found.suspects),
        relation="<=",
        limit=0,
        passed=not found.suspects,
        where="" if found.first is None else f"first: {found.first.node}",
    )
    return replace(result, layers=found, checks=(*result.checks, check))


def _check_report_path(report: Path, *forms: str | Path) -> None:
    """Refuse before any work a page in the place of something else."""
    if report.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"parity: --report: expected a file that ends in .html, got '{report}'; the report is "
            "a web page"
        )
    if any(report.resolve() == Path(form).resolve() for form in forms):  # by a link
        raise InputError(f"parity: --report: {report} is what shall be compared; name another file")


def compare_deployment(
    module: DeploymentModule,
    onnx_path: str | Path,
    samples: Iterable[Sample],
    thresholds: Thresholds | None = None,
    *,
    panels: int = 0,
) -> ParityResult:
    """Compare a network in PyTorch with the ONNX file that was just made from it.

    The caller knows whether its network is trained: the result does not warn of random weights.

    Args:
        module: What was exported.
        onnx_path: The file, with its manifest inside.
        samples: From :func:`differseg.export.parity_data.load_samples`.
        thresholds: Limits of the verdict.
        panels: How many images keep their pictures for a report.

    Raises:
        InputError: No samples.
        ModelFileError, ManifestError: The file cannot be used.
    """
    file = OnnxRunner(Path(onnx_path))
    try:
        # A network in PyTorch has no thermal policy or size of its own: it takes the file's.
        network = TorchRunner(module, module_side(module, file.manifest), file.inputs)
        described = getattr(samples, "description", "images given by the caller")
        return _compare(network, file, samples, thresholds or Thresholds(), panels, described)
    finally:
        file.close()


def _compare(
    a: Runner,
    b: Runner,
    samples: Iterable[Sample],
    thresholds: Thresholds,
    panels: int,
    described: str,
    warnings: tuple[str, ...] = (),
    *,
    locate: bool = False,
) -> ParityResult:
    comparison = Comparison(a.side, b.side, thresholds, keep_panels=panels, locate=locate)
    start_s = time.perf_counter()
    for sample in samples:
        comparison.add(
            sample.stem,
            a.probability(sample.prepared_for(a.inputs)),
            b.probability(sample.prepared_for(b.inputs)),
            sample.label,
            sample.pictures,
        )
    return comparison.finish(
        described, warnings, machine=_machine(), seconds=time.perf_counter() - start_s
    )


def _untrained(*sides: Side) -> tuple[str, ...]:
    """Return a warning for each side without trained weights; one file given twice has one."""
    names = dict.fromkeys(side.name for side in sides if side.weights.startswith("random"))
    return tuple(f"the weights of {name} are random (not trained)" for name in names)


def _progress() -> Progress:
    """Return a bar on the terminal, which leaves no trace in a log file."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "Python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns 0 when every limit is kept, 1 otherwise."""
    options = parse(ParityOptions, argv, "differseg parity")
    if options.limit is not None and options.limit < 1:
        raise InputError(f"parity: --limit: expected a number of at least 1, got {options.limit}")
    limits = Thresholds(**{f.name: getattr(options, f.name) for f in fields(Thresholds)})
    result = parity(
        options.a,
        options.b,
        options.data,
        thresholds=limits,
        report=options.report,
        limit=options.limit,
        split=options.split,
        label_rule=options.label_rule,
        layers=options.layers,
        engine=_engine(options),
        engine_key=options.engine_key,
    )
    console = Console()
    print_result(result, console)
    if options.report is not None:
        console.print(f"report: {options.report}", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps({**result.to_plain(), "report": _text(options.report)}, allow_nan=False))
    return 0 if result.passed else 1


def _engine(options: ParityOptions) -> EngineOptions | None:
    """Return the engine of B where the command line says anything of it."""
    if (options.backend, options.threads, options.cpu_precision) == ("onnxruntime", None, None):
        return None
    return EngineOptions(
        backend=options.backend, threads=options.threads, cpu_precision=options.cpu_precision
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
