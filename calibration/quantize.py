"""``differseg quantize``: a float32 file as int8, with float16 around it, calibrated on images.

python -m differseg.calibration.quantize edge.onnx --data DIR -o edge.int8.onnx
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.errors import InputError
from differseg.export.steps import on_terminal
from differseg.export.targets import DEFAULT_TARGET, find_target
from differseg.options import option, parse, run_main, unwinding_on_sigterm

if TYPE_CHECKING:
    from differseg.calibration.quantize_run import QuantizeReport


@dataclass(frozen=True)
class QuantizeOptions:
    """Write a float32 ONNX file as int8, calibrated on images, and say what it costs in masks.

    Convolutions and products with learned weights compute in int8; what is left is float16 for
    TensorRT 10 and later, float32 for others. The file appears only when the masks stay within
    --max-drop and the target takes it.
    """

    file: Path = option(positional=True, metavar="F.onnx")
    """The float32 file, from 'differseg export'."""
    out: Path = option(short="-o", metavar="G.onnx")
    """The file to write."""
    data: str = option(metavar="DIR")
    """Images to calibrate on, and to judge the result by: a folder with rgb/ and thermal/, depth/
    or flow/ (labels/ where there are any), a recorded session, or NAME:DIR of a published data
    set, see 'differseg datasets'."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); train when not given, so that the figures on
    test stay honest."""
    target: str = option(DEFAULT_TARGET, metavar="NAME")
    """What the file must be good for, see 'differseg check --help'."""
    method: Literal["min-max", "entropy", "percentile", "modelopt-max", "modelopt-entropy"] = (
        "percentile"
    )
    """How the range of a tensor is chosen; modelopt-... by NVIDIA ModelOpt, where installed."""
    images: int = option(100, metavar="N")
    """Calibrate and judge on at most N images, spread evenly over the data."""
    label_rule: str = option("auto", metavar="RULE")
    """How labels become classes, see 'differseg parity --help'; none judges by float32's masks."""
    max_drop: float = option(0.005, metavar="D")
    """Most that IoU or boundary F may fall below float32's."""
    search: bool = False
    """Where all in int8 costs more than --max-drop, find the parts that stay as they are."""
    seed: int = 0
    """Of the search."""
    like: Path | None = option(None, metavar="F.int8.onnx")
    """Take scales and placement from this int8 file, after 'differseg train --qat'; the images then
    judge alone."""
    reduce_range: bool = False
    """Weights of 7 bits, for x86 processors without VNNI, whose sums of 8 bits overflow."""
    real: bool = True
    """Run NVIDIA's parser and builder where they are installed, for TensorRT."""
    report: Path | None = option(None, metavar="FILE")
    """Write an HTML page: what was tried, what every part costs; one file."""
    keep_failed: bool = False
    """Leave the file even when a check fails."""
    json: bool = False
    """Print the report as one JSON document on the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done before any work."""
        find_target(self.target)
        if self.images < 1:
            raise InputError(f"quantize: --images: expected at least 1, got {self.images}")
        if not 0 <= self.max_drop <= 1:
            raise InputError(f"quantize: --max-drop: expected 0..1, got {self.max_drop}")
        if self.search and self.like is not None:
            raise InputError("quantize: --like takes the placement of a file; leave --search away")
        if self.out.suffix.lower() != ".onnx":
            raise InputError(f"quantize: --out: expected a file that ends in .onnx: {self.out}")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise InputError(
                f"quantize: --report: expected a file that ends in .html: {self.report}"
            )
        if self.out.exists() and self.file.exists() and self.out.samefile(self.file):
            raise InputError(
                f"quantize: --out: {self.out} is the file to quantise, which would be overwritten"
            )


def quantize(
    file: str | Path, data: str | Path, out: str | Path, **options: object
) -> QuantizeReport:
    """Quantise from Python; keywords are the fields of :class:`QuantizeOptions`.

    Raises:
        DifferSegError: As :func:`differseg.calibration.quantize_run.run_quantize`.
    """
    from differseg.calibration.quantize_run import run_quantize

    return run_quantize(
        QuantizeOptions(file=Path(file), data=str(data), out=Path(out), **options)  # type: ignore[arg-type]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns 0, and every failed check is an error with its own exit status."""
    options = parse(QuantizeOptions, argv, "differseg quantize")
    from differseg.calibration.quantize_run import run_quantize

    console = Console()
    with unwinding_on_sigterm(), console.status("", spinner="line") as status:
        report = run_quantize(options, on_terminal(console, status))
    print_report(report, console)
    if options.json:
        print(json.dumps(report.to_plain(), allow_nan=False))
    return 0


def print_report(report: QuantizeReport, console: Console) -> None:
    """Print the summary."""
    table = Table(title=str(report.path), title_justify="left")
    for name in ("", "IoU", "boundary F", "drop"):
        table.add_column(name, justify="left" if not name else "right")
    reference = report.reference
    for name, score in (("float32", reference), ("this file", report.score)):
        boundary = "" if score.boundary_f is None else f"{score.boundary_f:.4f}"
        drop = "" if score is reference else f"{reference.drop_to(score):.4f}"
        table.add_row(name, f"{score.iou:.4f}", boundary, drop)
    console.print(table)
    console.print(
        f"{report.kernels} of {report.candidates} nodes in int8, {100 * report.share:.1f} % of the "
        f"work that may be; judged by {report.against} on {report.images} images; "
        f"{report.size_bytes / 1e6:.2f} MB",
        highlight=False,
        soft_wrap=True,
    )
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_main(main))
