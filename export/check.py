"""``differseg check``: does a target accept an ONNX file, node by node.

ONNX's own checker, then every node against what the target's parser is known to read, and with
``--real`` NVIDIA's own parser and builder, where their package is installed.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.errors import InputError
from differseg.export import rtx
from differseg.export.targets import DEFAULT_TARGET, TARGETS, Target, find_target
from differseg.extras import naming_the_extra
from differseg.options import option, parse

if TYPE_CHECKING:  # at run time only where they are used: --help needs no onnx package
    from differseg.export.profiles import Shapes
    from differseg.export.verdict import Level, Verdict

_WORDS: dict[Level, str] = {
    "yes": "[green]supported[/]",
    "condition": "[yellow]condition[/]",
    "no": "[red]not supported[/]",
}

_ORDER: dict[Level, int] = {"no": 0, "condition": 1, "yes": 2}


@dataclass(frozen=True)
class CheckOptions:
    """Say whether a target accepts an ONNX file, node by node.

    Exit status 0 yes, 1 no, 2 not a usable file, 3 --real without NVIDIA's package.
    """

    model: Path = option(positional=True, metavar="F.onnx")
    """The file."""
    target: str = option(DEFAULT_TARGET, metavar="NAME")
    """jetpack5, jetpack6.0, jetpack6, jetpack7.0, jetpack7, trt8.5 ... trt11.4, rtx1 or
    onnxruntime."""
    real: bool = False
    """Also run NVIDIA's own parser and builder (TensorRT-RTX; no GPU needed)."""
    plugin: tuple[Path, ...] = option((), metavar="LIB.so")
    """With --real: a TensorRT plugin library to load first, which runs on this machine (may be
    repeated)."""
    shapes: tuple[str, ...] = option((), metavar="NAME:1x3x240x320")
    """With --real: the shape of a dynamic input, or the numbers of an input that a shape is made
    of, as of trtexec (may be repeated). By default a free first axis is 1 to 4, any other 256 to
    512."""
    data: str | None = option(None, metavar="DIR")
    """Also run the file on images, a folder or NAME:DIR of a published data set, and name every
    tensor that float16 does not hold: the float16 tensors of a typed file, all of a float32 file as
    if it were to become float16."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); the one that figures are reported on when not
    given."""
    json: bool = False
    """Print the whole report as one JSON document on the last line."""


@dataclass(frozen=True)
class CheckReport:
    """What a target says about a file.

    Attributes:
        path: The file.
        target: The target.
        opset: Opset of the file.
        checker: What ONNX itself objects to; empty when it does not.
        findings: Verdicts about the graph as a whole.
        nodes: One verdict per node, in the graph's order.
        targets: Worst level on every known target.
        rtx: NVIDIA's parser and builder, when they ran.
    """

    path: Path
    target: Target
    opset: int
    checker: str
    findings: tuple[Verdict, ...]
    nodes: tuple[Verdict, ...]
    targets: dict[str, Level]
    rtx: rtx.RtxReport | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing objects; a condition is not an objection."""
        objections = [v for v in (*self.findings, *self.nodes) if v.level == "no"]
        return not self.checker and not objections and (self.rtx is None or self.rtx.passed)

    def to_plain(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "passed": self.passed,
            "path": str(self.path),
            "target": asdict(self.target),
            "opset": self.opset,
            "checker": self.checker,
            "findings": [asdict(v) for v in self.findings],
            "nodes": [asdict(v) for v in self.nodes],
            "targets": self.targets,
            "rtx": asdict(self.rtx) if self.rtx else None,
        }

    def reasons(self) -> list[str]:
        """Return one line for each objection, the same reason once."""
        lines = [f"ONNX's checker: {self.checker}"] if self.checker else []
        lines += [
            f"{where}: {reason}; {advice}"
            for (_, level, reason, advice), where in _grouped((*self.findings, *self.nodes)).items()
            if level == "no"
        ]
        if self.rtx is not None and not self.rtx.passed:
            lines.append(f"NVIDIA's parser and builder: {self.rtx.reason}")
        return [" ".join(line.split()) for line in lines]


def check(
    path: Path | str,
    target: str = DEFAULT_TARGET,
    real: bool = False,
    plugins: Sequence[Path | str] = (),
    shapes: Shapes | None = None,
    data: Path | str | None = None,
    split: str | None = None,
) -> CheckReport:
    """Hold an ONNX file against a target.

    Args:
        path: The file.
        target: A name of :data:`differseg.export.targets.TARGETS`.
        real: Also run NVIDIA's parser and builder.
        plugins: TensorRT plugin libraries that these load first; they run on this machine.
        shapes: Input name -> its shape for these, or the numbers of an input that a shape is made
            of.
        data: Folder of images, or ``NAME:DIR`` of a published data set, to run the file on, see
            :mod:`differseg.export.range_guard`.
        split: Of a data set given by name; None takes the one that figures are reported on.

    Raises:
        InputError: There is no such target, the images cannot be used, plugins or shapes are given
            without ``real``, a library cannot be loaded, or a shape is wrong or wanting.
        ModelFileError: The file is missing, empty, truncated or not ONNX.
        MissingComponentError: The onnx package is not installed, or, for ``real``, NVIDIA's.
    """
    with naming_the_extra("differseg check"):
        from differseg.export.graph_view import GraphView, opset_of
        from differseg.export.lint import levels_by_target, lint
        from differseg.export.modelfile import read_model
        from differseg.export.onnx_checker import objection
        from differseg.export.profiles import choose_profiles
    if plugins and not real:
        raise InputError(
            f"{plugins[0]}: only NVIDIA's own parser and builder load a plugin library; add --real"
        )
    if shapes and not real:
        raise InputError("--shapes is for NVIDIA's own parser and builder; add --real")
    chosen, model = find_target(target), read_model(path)
    if real:
        rtx.find_libraries()
    view = GraphView.of(model, Path(path).parent)
    verdicts = lint(model, chosen, view)
    findings = tuple(v for v in verdicts if not v.op)
    nodes = tuple(v for v in verdicts if v.op)
    if data is not None:
        with naming_the_extra("differseg check --data"):
            from differseg.export.range_guard import guard
        nodes = (*nodes, *guard(model, data, split))
    elif split is not None:
        raise InputError(f"--split {split}: there is no data set; give --data NAME:DIR")
    profiles = choose_profiles(model, shapes or {}) if real else {}
    targets, opset, checker = (
        levels_by_target(model, view),
        opset_of(model),
        objection(model, Path(path)),
    )
    del model, view  # the builder needs the memory of a large one
    return CheckReport(
        path=Path(path),
        target=chosen,
        opset=opset,
        checker=checker,
        findings=findings,
        nodes=nodes,
        targets=targets,
        rtx=rtx.build(path, profiles=profiles, values=shapes or {}, plugins=plugins)
        if real
        else None,
    )


def _grouped(verdicts: Sequence[Verdict]) -> dict[tuple[str, Level, str, str], str]:
    """Group verdicts by operator and reason; the value names the nodes, at most three of them."""
    groups: defaultdict[tuple[str, Level, str, str], list[str]] = defaultdict(list)
    for verdict in verdicts:
        key = (verdict.op or "graph", verdict.level, verdict.reason, verdict.advice)
        groups[key].append(verdict.node or verdict.op or "graph")
    return {
        key: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for key, names in groups.items()
    }


def print_report(report: CheckReport, console: Console) -> None:
    """Print a verdict per operator, then every objection and condition with its nodes."""
    console.print(
        f"[bold]{escape(str(report.path))}[/] on {report.target.label}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE)
    for heading in ("operator", "nodes", "verdict"):
        table.add_column(heading, justify="right" if heading == "nodes" else "left")
    counts = Counter((v.op, v.level) for v in report.nodes)
    for (op, level), count in sorted(counts.items(), key=lambda c: (_ORDER[c[0][1]], c[0][0])):
        table.add_row(escape(op), str(count), _WORDS[level])
    console.print(table)
    groups = _grouped((*report.findings, *report.nodes))
    for (op, level, reason, advice), where in sorted(groups.items(), key=lambda g: _ORDER[g[0][1]]):
        if level != "yes":
            what = reason if reason.startswith(op) else f"{op}: {reason}"
            text = f"{what}\n  at: {where}\n  do: {advice}"
            console.print(f"{_WORDS[level]}: {escape(text)}", highlight=False, soft_wrap=True)
    if report.checker:
        console.print(f"[red]ONNX's checker:[/] {escape(report.checker)}", highlight=False)
    refusing = [name for name, level in report.targets.items() if level == "no"]
    accepted = "ONNX itself refuses it" if report.checker else "no known target refuses it"
    others = f"refused by {_spans(refusing)}" if refusing else accepted
    console.print(f"opset {report.opset}; over all targets: {others}", highlight=False)
    if report.rtx is not None:
        _print_rtx(report.rtx, console)
    console.print("[green]passed[/]" if report.passed else "[red]failed[/]")


def _spans(names: Sequence[str]) -> str:
    """Write neighbouring TensorRT releases as a span: ``trt8.5 to trt11.1``."""
    releases = [name for name in TARGETS if name.startswith("trt")]
    words: list[str] = []
    for refused, run in itertools.groupby(releases, key=lambda name: name in names):
        members = list(run)
        if refused:
            words.append(members[0] if len(members) == 1 else f"{members[0]} to {members[-1]}")
    return ", ".join([name for name in names if not name.startswith("trt")] + words)


def _print_rtx(report: rtx.RtxReport, console: Console) -> None:
    label = f"NVIDIA's parser and builder (TensorRT-RTX {report.version or '?'})"
    if report.passed:
        console.print(
            f"{label}: [green]engine built[/], {report.layers} layers, "
            f"{report.engine_bytes / 1e6:.1f} MB in {report.build_s:.1f} s",
            highlight=False,
        )
        lines = []
    else:
        console.print(f"{label}: [red]{report.status}[/]", highlight=False)
        lines = [*report.plugin_errors, *map(str, report.errors)] or [report.reason]
    if report.passed and report.profiles:
        lines.append(f"sizes: {report.sizes}; others with --shapes NAME:1x3x240x320")
    lines += dict.fromkeys(line for line in report.log if line.startswith("warning"))
    for line in lines:
        console.print(f"  {escape(' '.join(line.split()))}", highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns 0 when the target accepts the file, 1 otherwise."""
    options = parse(CheckOptions, argv, "differseg check")
    from differseg.export.profiles import read_shapes

    shapes = read_shapes(options.shapes)
    report = check(
        options.model, options.target, options.real, options.plugin, shapes, options.data,
        options.split,
    )  # fmt: skip
    print_report(report, Console())
    if options.json:
        print(json.dumps(report.to_plain()))
    return 0 if report.passed else 1
