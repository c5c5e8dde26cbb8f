"""Draw networks from their code: blocks, shapes, parameters and what flows where.

    python docs/draw_architecture.py
    python docs/draw_architecture.py sfm-swin -o sfm-swin.svg

Without a name it draws all pictures of the model cards again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drawing.svg import svg
from drawing.trace import trace_architecture

from differseg.errors import InputError
from differseg.options import option, parse, run_main

FOLDER = Path(__file__).parent / "images"
PICTURES: dict[str, tuple[str, ...]] = {
    "differseg-edge": (),
    "fsanet": ("scales",),
    "fsanet-edge": ("scales",),
    "rgbt-fusion-edge": (),
    "segnext-freqfusion-edge": ("backbone",),
    "segnext-dwt-ff": ("backbone",),
    "sfm-edge": (),
    "sfm-resnet50": (),
}
"""The model cards' pictures, and the parts that each shows as one box."""


@dataclass(frozen=True)
class DrawOptions:
    """Draw a network from its code as an SVG picture; without a name, all of the model cards."""

    model: str | None = option(None, positional=True, metavar="MODEL")
    """Configuration, see 'differseg models'."""
    out: Path | None = option(None, short="-o", metavar="F.svg")
    """The picture to write; needed with a name."""
    closed: tuple[str, ...] = option((), metavar="PART")
    """A top-level module to show as one box (may be repeated)."""

    def __post_init__(self) -> None:
        if (self.model is None) != (self.out is None):
            raise InputError(
                "draw_architecture.py: a name and --out go together; neither draws all pictures"
            )
        if self.out is not None and self.out.suffix != ".svg":
            raise InputError(f"--out {self.out}: pictures are written as .svg")


def draw(options: DrawOptions) -> list[Path]:
    """Draw one network or all; returns what was written.

    Raises:
        InputError: An unknown network.
        MissingComponentError: The network needs a package that is absent.
    """
    if options.model is not None and options.out is not None:
        wanted = [(options.model, options.closed, options.out)]
    else:
        wanted = [(name, shut, FOLDER / f"{name}.svg") for name, shut in PICTURES.items()]
    for name, shut, path in wanted:
        text = svg(trace_architecture(name, shut))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [path for _, _, path in wanted]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    for path in draw(parse(DrawOptions, argv, "draw_architecture.py")):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
