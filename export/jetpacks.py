"""The JetPack lines: what each brings, and which of our files it runs.

Data, and what is made of it: the table in ``jetson/README.md``, and ``jetson/jetpacks.tsv``, which
``jetson/install.sh`` reads before there is a Python environment.  In a checkout,
``python -m differseg.export.jetpacks`` writes both, and with ``--check`` says whether they are old.
Standard library only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from differseg.errors import CheckFailedError, InputError
from differseg.export.targets import TARGETS, Version
from differseg.options import option, parse, run_main

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class JetPack:
    """One line of JetPack releases with one TensorRT.

    Attributes:
        name: What people call it.
        l4t: Releases of Jetson Linux (major, minor) that belong to it; empty where none is known.
        ubuntu: Version of Ubuntu.
        python: Version of the system's Python.
        cuda: Version of CUDA.
        target: Its name in :data:`differseg.export.targets.TARGETS`.
        modules: What it runs on.
        sm: Compute capabilities of their GPUs.
        dla: Whether TensorRT can use the DLA there.
        runtime: Whether differseg's runtime can be installed (Python 3.10 to 3.12).
        artefact: What to export for it.
        not_working: What does not work.
        source: Where this is known from.
    """

    name: str
    l4t: tuple[Version, ...]
    ubuntu: str
    python: str
    cuda: str
    target: str
    modules: str
    sm: tuple[str, ...]
    dla: str
    runtime: bool
    artefact: str
    not_working: str
    source: str

    @property
    def tensorrt(self) -> Version:
        """TensorRT's major and minor version."""
        return TARGETS[self.target].version

    @property
    def has_plugins(self) -> bool:
        """Whether our plugin library can be built: it needs ``IPluginV3`` and its parser."""
        return self.tensorrt >= (10, 1)


_STATS = "rbonghi/jetson_stats, jetson_variables.py"
_CONTAINERS = "dusty-nv/jetson-containers"

JETPACKS: tuple[JetPack, ...] = (
    JetPack(
        "5.1", ((35, 2), (35, 3), (35, 4), (35, 5), (35, 6)), "20.04", "3.8", "11.4", "jetpack5",
        "Xavier, Orin", ("7.2", "8.7"), "yes", False,
        "float16 or INT8 ONNX (`quantize --target jetpack5`), the line of `build --print-trtexec`",
        "the runtime (Python 3.8), plugins",
        f"{_STATS}; NVIDIA's page of JetPack 5.1.2",
    ),
    JetPack(
        "6.0", ((36, 3),), "22.04", "3.10", "12.2", "jetpack6.0",
        "Orin", ("8.7",), "yes", True,
        "float16 or INT8 ONNX (`quantize --target jetpack5`)",
        "plugins (TensorRT 8 has no `IPluginV3`)",
        f"{_STATS}; {_CONTAINERS}, l4t-8.6.2 with CUDA 12.2 (its own default is 12.4)",
    ),
    JetPack(
        "6.1, 6.2", ((36, 4), (36, 5)), "22.04", "3.10", "12.6", "jetpack6",
        "Orin", ("8.7",), "yes", True,
        "typed float16 or INT8 ONNX, plugins as an option",
        "TensorRT 11",
        f"{_STATS}; {_CONTAINERS}, TensorRT 10.3.0 with CUDA 12.6",
    ),
    JetPack(
        "7.0, 7.1", ((38, 2), (38, 4)), "24.04", "3.12", "13.0", "jetpack7.0",
        "Thor", ("11.0",), "none", True,
        "typed float16 or INT8 ONNX, plugins as an option",
        "Orin; NVIDIA's L4T base images",
        f"{_STATS}; NVIDIA/IsaacTeleop PR 1050, TensorRT 10.13.3 in JetPack 7.1",
    ),
    JetPack(
        "7.2", ((39, 0), (39, 2)), "24.04", "3.12", "13.2", "jetpack7",
        "Orin, Thor", ("8.7", "11.0"), "none", True,
        "typed float16 or INT8 ONNX, plugins as an option",
        "the DLA of Orin; `nvcc` before the CUDA toolkit is installed",
        f"{_STATS}; {_CONTAINERS}; reports of boards with L4T 39.2: Ubuntu 24.04.4, Python 3.12.3, "
        "TensorRT 10.16.2, CUDA 13.2",
    ),
    JetPack(
        "7.2.2 and later", (), "24.04", "3.12", "13.2 or later", "trt11.4",
        "AGX Orin, Thor", ("8.7", "11.0"), "AGX Orin", True,
        "typed float16 or INT8 ONNX, plugins built anew",
        "engines and plugin libraries of TensorRT 10",
        "NVIDIA's TensorRT 11.4.1 documentation, migration of Jetson from 10 to 11",
    ),
)  # fmt: skip
"""Every line, oldest first.  The last has no L4T release that is known: it is found by its
TensorRT."""

_BEGIN, _END = "<!-- begin jetpacks -->", "<!-- end jetpacks -->"


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def as_markdown() -> str:
    """Return the table of the guide."""
    heads = (
        "JetPack", "L4T", "modules", "Ubuntu, Python", "CUDA", "TensorRT", "SM", "DLA", "target",
        "what to copy to it", "what does not work",
    )  # fmt: skip
    rows = [
        (
            line.name,
            ", ".join(map(_dotted, line.l4t)) or "not known",
            line.modules,
            f"{line.ubuntu}, {line.python}",
            line.cuda,
            _dotted(line.tensorrt),
            ", ".join(line.sm),
            line.dla,
            f"`{line.target}`",
            line.artefact,
            line.not_working,
        )
        for line in JETPACKS
    ]
    table = [heads, ("---",) * len(heads), *rows]
    sources = [f"- {line.name}: {line.source}" for line in JETPACKS]
    return "\n".join(["| " + " | ".join(row) + " |" for row in table] + ["", "Sources:", *sources])


def as_tsv() -> str:
    """Return what the install script reads: one line a JetPack, fields between tabs."""
    rows = [
        (
            line.name,
            ",".join(map(_dotted, line.l4t)) or "-",
            line.python,
            line.cuda,
            _dotted(line.tensorrt),
            line.target,
            "yes" if line.runtime else "no",
            "yes" if line.has_plugins else "no",
        )
        for line in JETPACKS
    ]
    head = "# written by: python -m differseg.export.jetpacks"
    names = "# name l4t python cuda tensorrt target runtime plugins".replace(" ", "\t")
    return "\n".join([head, names.replace("#\t", "# "), *("\t".join(row) for row in rows), ""])


def with_table(page: str) -> str:
    """Return the guide with the present table between its marks.

    Raises:
        InputError: It has no such marks.
    """
    pattern = re.compile(f"{re.escape(_BEGIN)}\n.*?{re.escape(_END)}", re.DOTALL)
    if not pattern.search(page):
        raise InputError(f"jetson/README.md: expected the marks {_BEGIN} and {_END}")
    return pattern.sub(lambda _: f"{_BEGIN}\n{as_markdown()}\n{_END}", page)


@dataclass(frozen=True)
class JetPackOptions:
    """Write the JetPack table of jetson/README.md and jetson/jetpacks.tsv."""

    check: bool = False
    """Write nothing; exit status 1 where a file is old."""
    root: Path = option(ROOT, metavar="DIR")
    """The checkout."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files, or check them.

    Raises:
        InputError: This is no checkout.
        CheckFailedError: With ``--check``: a file is old.
    """
    options = parse(JetPackOptions, argv, "python -m differseg.export.jetpacks")
    guide, data = options.root / "jetson" / "README.md", options.root / "jetson" / "jetpacks.tsv"
    if not guide.is_file():
        raise InputError(f"{guide}: there is no such file; run this in a checkout of differseg")
    page = guide.read_text(encoding="utf-8")
    wanted = {guide: with_table(page), data: as_tsv()}
    old = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if options.check and old:
        names = ", ".join(path.relative_to(options.root).as_posix() for path in old)
        raise CheckFailedError(
            f"{names}: older than export/jetpacks.py; run python -m differseg.export.jetpacks"
        )
    for path in old:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
