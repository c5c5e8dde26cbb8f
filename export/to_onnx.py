"""Write a network as one self-describing ONNX file, and check it.

python export/to_onnx.py --model differseg-edge -o edge.onnx
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":
    # Run as a script, Python looks into this folder first; the modules live in the package.
    _HERE = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    try:
        import differseg.export  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"error[E_MISSING]: the package '{error.name}' is not installed; "
            "in the repository, run: pip install -e '.[export]'",
            file=sys.stderr,
        )
        sys.exit(3)

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.errors import MissingComponentError
from differseg.export.steps import on_terminal
from differseg.export.targets import DEFAULT_TARGET
from differseg.options import option, parse, run_main, unwinding_on_sigterm

if TYPE_CHECKING:
    from differseg.export.export_run import ExportReport


@dataclass(frozen=True)
class ExportOptions:
    """Write a network as one self-describing ONNX file, and check it.

    Compares the file with PyTorch in ONNX Runtime, holds it against a target, and runs NVIDIA's
    parser and builder where they are installed. The file appears only when every check passes.
    """

    out: Path = option(short="-o", metavar="F.onnx")
    """The file to write."""
    model: str | None = option(None, metavar="NAME")
    """Configuration, see 'differseg models'; by default the one that the checkpoint names."""
    checkpoint: Path | None = option(None, metavar="FILE")
    """Weights (.safetensors, .pt, .pth); by default the shipped ones, else random ones."""
    size: tuple[int, int] | None = None
    """Height and width of the input in pixels; by default the configuration's own."""
    precision: Literal["fp32", "fp16"] = option("fp32", metavar="P")
    """Precision of the graph: fp32, or fp16 for TensorRT 10 and later, which keeps in float32 what
    needs it."""
    io: Literal["fp32", "fp16"] = option("fp32", metavar="P")
    """Type of the floating-point inputs and outputs of an fp16 graph."""
    ops: Literal["portable", "function", "plugin"] = option("portable", metavar="FORM")
    """Form of our own operators: portable (standard ONNX), function (named, for reading) or plugin
    (for the TensorRT plugin library); a network without them is the same in all forms."""
    target: str = option(DEFAULT_TARGET, metavar="NAME")
    """What the file must be good for, see 'differseg check --help'."""
    data: str | None = option(None, metavar="DIR")
    """Folder with rgb/ and thermal/, depth/ or flow/ to compare on; NAME:DIR of a published data
    set, see 'differseg datasets'; by default synthetic scenes."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); the one that figures are reported on when not
    given."""
    label_rule: str = option("auto", metavar="RULE")
    """How labels in DIR become classes, see 'differseg parity --help'; none leaves them out."""
    limit: int | None = option(None, metavar="N")
    """Compare on at most N images; by default all of DIR, 4 scenes, or 2 for large networks."""
    real: bool = True
    """Run NVIDIA's parser and builder where they are installed."""
    plugin: tuple[Path, ...] = option((), metavar="LIB.so")
    """A TensorRT plugin library for NVIDIA's parser, which runs on this machine (may be repeated);
    without it a graph of plugin nodes is not shown to that parser."""
    keep_failed: bool = False
    """Leave the file even when a check fails."""
    json: bool = False
    """Print the report as one JSON document on the last line."""


def export_model(out: Path | str, **options: object) -> ExportReport:
    """Export a named network from Python; keywords are the fields of :class:`ExportOptions`.

    Raises:
        DifferSegError: As :func:`differseg.export.export_run.run_export`.
    """
    from differseg.export.export_run import run_export

    return run_export(ExportOptions(out=Path(out), **options))  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns 0, and every failed check is an error with its own exit status."""
    options = parse(ExportOptions, argv, "differseg export")
    try:
        from differseg.export.export_run import run_export
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"differseg export needs the package '{error.name}', which is not installed; "
            "install it with: pip install 'differseg[export]'"
        ) from None
    console = Console()
    with unwinding_on_sigterm(), console.status("", spinner="line") as status:
        report = run_export(options, on_terminal(console, status))
    print_report(report, console)
    if options.json:
        print(json.dumps(report.to_plain(), allow_nan=False))
    return 0


def print_report(report: ExportReport, console: Console) -> None:
    """Print the summary."""
    from differseg.export.parity_result import flips

    manifest, parity = report.manifest, report.manifest.parity
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("file", escape(str(report.path)), style="bold")
    table.add_row("size", f"{report.size_bytes / 1e6:.2f} MB")
    shapes = [f"{i.name} {'x'.join(map(str, i.shape))} {i.dtype}" for i in manifest.inputs]
    table.add_row("inputs", ", ".join(shapes))
    table.add_row("graph", f"{report.nodes} nodes, {report.parameters:,} numbers")
    table.add_row("opset", f"{manifest.opset}, {manifest.precision}, {manifest.operator_form}")
    table.add_row("weights", escape(manifest.weights.source))
    if parity is not None:
        table.add_row(
            "against PyTorch",
            f"max error {parity.max_error:.2g}, {flips(parity)} on {escape(parity.data)}",
        )
    table.add_row("target", f"{report.check.target.label}: accepted")
    if report.check.rtx is not None:
        built = report.check.rtx
        table.add_row(
            f"TensorRT-RTX {built.version}",
            f"{built.layers} layers, engine {built.engine_bytes / 1e6:.1f} MB",
        )
    console.print(table)
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)


if __name__ == "__main__":
    sys.exit(run_main(main))
