"""``differseg build``: a typed ONNX file to an engine with its sidecar.

TensorRT's Python API builds where it is installed, else ``trtexec``; for ``--target rtx1`` the
builder of NVIDIA's TensorRT-RTX, which needs no GPU.  ``--print-trtexec`` builds nothing and prints
the line for a release that is somewhere else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.engine_sidecar import HardwareCompatibility
from differseg.errors import InputError
from differseg.export.steps import on_terminal
from differseg.export.targets import find_target
from differseg.extras import naming_the_extra
from differseg.options import option, parse, run_main, unwinding_on_sigterm

if TYPE_CHECKING:  # at run time only where they are used: --help needs no onnx package
    from differseg.export.build_run import BuildReport
    from differseg.export.engine_plan import EngineSettings


@dataclass(frozen=True)
class BuildOptions:
    """Build a TensorRT engine from an ONNX file, on the machine that shall run it.

    Exit status 0 built, 1 the parser or builder refuses it, 2 wrong input, 3 no TensorRT here.
    """

    model: Path = option(positional=True, metavar="F.onnx")
    """A file that differseg exported or quantised; precision is in it."""
    out: Path | None = option(None, short="-o", metavar="F.engine")
    """The engine to write, with F.engine.json beside it; by default next to the model."""
    target: str | None = option(None, metavar="NAME")
    """Refuse to build for anything else than this, see 'differseg check --help'; rtx1 builds a
    TensorRT-RTX engine without a GPU. By default what is installed."""
    print_trtexec: bool = False
    """Print the trtexec line of --target and build nothing."""
    fp16: bool = False
    """Let the builder use float16 in a float32 graph; only for TensorRT 8."""
    tf32: bool = False
    """Let float32 products round to 10 bits, which TensorRT does by default: faster on Ampere and
    later, and no longer what was compared."""
    shapes: tuple[str, ...] = option((), metavar="NAME:1x3x240x320")
    """The shape of a dynamic input (may be repeated)."""
    plugin: tuple[Path, ...] = option((), metavar="LIB.so")
    """A TensorRT plugin library, which runs on this machine and is copied beside the engine (may
    be repeated)."""
    plugins_inside: bool = False
    """Store the plugin libraries in the engine instead; from TensorRT 8.6 on."""
    level: int | None = option(None, metavar="0-5")
    """How long the builder looks for a fast engine; its own default is 3."""
    workspace_mib: int | None = option(None, metavar="N")
    """Most scratch memory of a layer; by default what the GPU has."""
    version_compatible: bool = False
    """Make an engine that newer releases run too (slower, larger)."""
    hardware: HardwareCompatibility = option("none", metavar="WHICH")
    """Other GPUs that shall run it: none, ampere+ or same_compute_capability."""
    sign_key: Path | None = option(None, metavar="KEY")
    """Sign the sidecar: a file of at least 32 secret bytes (HMAC) or an Ed25519 key in PEM."""
    cache: bool = True
    """Keep the engine in the user's cache and take it from there next time."""
    json: bool = False
    """Print the report as one JSON document on the last line."""

    def __post_init__(self) -> None:
        if self.print_trtexec and self.target is None:
            raise InputError("build: --print-trtexec: add --target NAME, such as jetpack6")
        if self.target is not None and find_target(self.target).engine != "tensorrt":
            raise InputError(f"build: --target {self.target}: it runs the .onnx file itself")
        if self.out is not None and self.out.suffix.lower() == ".onnx":
            raise InputError(
                f"build: --out {self.out}: an engine is no ONNX file; end it in .engine"
            )

    def settings(self) -> EngineSettings:
        """Return what the builder is told of this."""
        from differseg.export.engine_plan import EngineSettings
        from differseg.export.profiles import read_shapes

        return EngineSettings(
            fp16=self.fp16,
            tf32=self.tf32,
            level=self.level,
            workspace_mib=self.workspace_mib,
            version_compatible=self.version_compatible,
            hardware=self.hardware,
            plugins=self.plugin,
            plugins_inside=self.plugins_inside,
            shapes=read_shapes(self.shapes),
        )


def build_engine(model: Path | str, **options: object) -> BuildReport:
    """Build an engine from Python; keywords are the fields of :class:`BuildOptions`.

    Raises:
        DifferSegError: As :func:`differseg.export.build_run.run_build`.
    """
    from differseg.export.build_run import run_build

    return run_build(BuildOptions(model=Path(model), **options))  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; every refusal is an error with its own exit status."""
    options = parse(BuildOptions, argv, "differseg build")
    with naming_the_extra("differseg build"):
        from differseg.export.build_run import run_build, trtexec_line
    if options.print_trtexec:
        print(trtexec_line(options))
        return 0
    console = Console()
    with unwinding_on_sigterm(), console.status("", spinner="line") as status:
        report = run_build(options, on_terminal(console, status))
    print_report(report, console)
    if options.json:
        print(json.dumps(report.to_plain(), allow_nan=False))
    return 0


def print_report(report: BuildReport, console: Console) -> None:
    """Print what was built and where it may run."""
    sidecar = report.sidecar
    built, names = sidecar.built_for, {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("engine", escape(str(report.path)), style="bold")
    table.add_row("size", f"{sidecar.engine_bytes / 1e6:.2f} MB")
    table.add_row("for", f"{names[built.library]} {built.version} on {built.platform}")
    if built.sm is not None:
        gpu = f"SM {built.sm}" + (f", {escape(built.device)}" if built.device else "")
        table.add_row("GPU", gpu)
    elif built.library == "tensorrt_rtx":
        table.add_row("GPU", "finished on the GPU that loads it")
    table.add_row("precision", sidecar.manifest.precision)
    if report.from_cache:
        table.add_row("from", "the cache; it was built before with the same options")
    else:
        table.add_row("built in", f"{sidecar.build_s:.1f} s")
    if sidecar.signature is not None:
        table.add_row("signed by", f"{sidecar.signature.algorithm} key {sidecar.signature.key}")
    console.print(table)
    for line in report.log:
        console.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_main(main))
