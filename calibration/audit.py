"""``differseg audit``: is a folder, a data set or a session fit to calibrate INT8 on.

Ranges measured on data that the camera never shows are wrong in a way that no later step reports:
random numbers, constant frames or the wrong camera give a model that runs and finds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.calibration.audit_report import AuditReport, Finding, Level, some
from differseg.errors import InputError
from differseg.manifest import InputSpec, Modality
from differseg.options import option, parse

if TYPE_CHECKING:  # at run time only where they are used: --help needs no OpenCV
    from differseg.calibration.session import RecordedSession

_STYLES: dict[Level, str] = {"error": "red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class AuditOptions:
    """Say whether images are fit to calibrate INT8 on: enough, of the right kind, undamaged.

    Exit status 1 when an error was found.
    """

    data: str | None = option(None, metavar="DIR")
    """Folder with rgb/ and thermal/, depth/ or flow/; a recorded session where it also holds
    registration.json; NAME:DIR of a published data set, see 'differseg datasets'."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); train when not given, as 'differseg quantize'
    takes it."""
    rgb: str | None = option(None, metavar="SRC")
    """In place of --data: the RGB recording of a session, a video or a folder."""
    thermal: str | None = option(None, metavar="SRC")
    """With --rgb: the thermal recording."""
    registration: Path | None = option(None, metavar="F.json")
    """With --rgb: homography that brings the thermal frames into the RGB view."""
    tolerance_ms: float = option(60.0, metavar="MS")
    """Of a session: largest difference in capture time within a pair."""
    thermal_offset_ms: float = option(0.0, metavar="MS")
    """Of a session: known lateness of the thermal stamps."""
    model: Path | None = option(None, metavar="F.onnx")
    """Look at the images as this model takes them."""
    inputs: str | None = option(None, metavar="rgb,thermal")
    """Without --model: what the network takes; the folders that are there when left out."""
    limit: int | None = option(None, metavar="N")
    """Look at N samples, spread evenly."""
    pictures: Path | None = option(None, metavar="F.png")
    """Write thumbnails in order of luminance, with the flagged ones framed."""
    json: bool = False
    """Print the report as one JSON document on the last line."""


def print_report(report: AuditReport, console: Console) -> None:
    """Print what each input covers, then every finding with what to do."""
    light = "" if report.bright is None else f", {report.bright} bright, {report.dark} dark"
    console.print(
        f"{escape(report.data)}: {report.images} samples, {report.distinct} distinct{light}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_inputs_table(report))
    for found in report.findings:
        _print_finding(found, console)
    errors, warnings = len(report.of("error")), len(report.of("warning"))
    said = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    verdict = "[green]usable[/]" if report.passed else "[red]not usable[/]"
    console.print(f"{verdict}: {said}", highlight=False)


def _inputs_table(report: AuditReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("input", "images", "size", "type", "p0.1", "p50", "p99.9", "seen", "clipped"):
        number = heading not in ("input", "size", "type")
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in report.inputs:
        others = f" +{len(row.sizes) - 1}" if len(row.sizes) > 1 else ""
        table.add_row(
            row.name,
            str(row.images),
            row.sizes[0] + others if row.sizes else "",
            "/".join(row.dtypes),
            *(f"{row.percentiles[key]:.2f}" for key in ("p0.1", "p50", "p99.9")),
            f"{100 * row.seen_share:.0f} %",
            f"{100 * row.clipped_share:.1f} %",
        )
    return table


def _print_finding(found: Finding, console: Console) -> None:
    lines = [f"[{_STYLES[found.level]}]{found.level}[/] {found.check}: {escape(found.what)}"]
    if found.where:
        lines.append(f"  at: {escape(some(found.where))}")
    if found.todo:
        lines.append(f"  do: {escape(found.todo)}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns 1 when an error was found."""
    options = parse(AuditOptions, argv, "differseg audit")
    from differseg.calibration.audit_run import audit

    data = _data(options)
    report = audit(
        data, _inputs(options), options.limit,
        split=options.split, pictures=options.pictures, progress=True,
    )  # fmt: skip
    console = Console()
    print_report(report, console)
    if options.pictures is not None:
        console.print(f"pictures: {options.pictures}", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(report.to_plain(), allow_nan=False))
    return 0 if report.passed else 1


def _data(options: AuditOptions) -> str | RecordedSession:
    from differseg.calibration.session import RecordedSession, is_session

    if (options.data is None) == (options.rgb is None):
        raise InputError("audit: give --data DIR, or --rgb SRC (and --thermal SRC) of a session")
    if options.split is not None and (options.data is None or is_session(options.data)):
        raise InputError(
            f"audit: --split {options.split}: a session has no splits; leave it away, or give "
            "--data NAME:DIR"
        )
    if options.data is not None:
        unused = [name for name in ("thermal", "registration") if getattr(options, name)]
        if unused:
            raise InputError(f"audit: --{unused[0]} goes with --rgb; leave out --data")
        if is_session(options.data):
            folder = RecordedSession.in_folder(options.data)
            return RecordedSession(
                folder.rgb,
                folder.thermal,
                folder.registration,
                options.tolerance_ms,
                options.thermal_offset_ms,
            )
        return options.data
    assert options.rgb is not None
    return RecordedSession(
        options.rgb,
        options.thermal,
        options.registration,
        options.tolerance_ms,
        options.thermal_offset_ms,
    )


def _inputs(options: AuditOptions) -> tuple[InputSpec, ...]:
    from differseg.calibration.audit_run import plain_inputs
    from differseg.data.datasets.registry import parse_data
    from differseg.runtime.model_file import read_manifest

    if options.model is not None:
        if options.inputs is not None:
            raise InputError("audit: the model says what it takes; leave out --inputs or --model")
        return read_manifest(options.model).inputs
    if options.inputs is not None:
        return plain_inputs([name.strip() for name in options.inputs.split(",")])
    if options.data is None:
        return plain_inputs(["rgb"] if options.thermal is None else ["rgb", "thermal"])
    info, root = parse_data(options.data)
    if info is not None:
        return plain_inputs(info.modalities)
    there = [name for name in get_args(Modality) if (root / name).is_dir()]
    if not there:
        folders = ", ".join(f"{name}/" for name in get_args(Modality))
        raise InputError(f"audit: {options.data}: holds none of {folders}")
    return plain_inputs(there)
