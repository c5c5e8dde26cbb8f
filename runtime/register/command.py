"""``differseg register METHOD``: the command line, from images or points to the file."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from differseg.errors import CheckFailedError, InputError, MissingComponentError
from differseg.options import option, parse, run_main

if TYPE_CHECKING:
    from differseg.runtime.register.methods import Found

MethodName = Literal["checkerboard", "circles", "asymmetric-circles", "points", "pick", "automatic"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisterOptions:
    """Find how the thermal camera's view lies in the RGB camera's: the file for --registration.

    checkerboard, circles, asymmetric-circles: from shots of a board.  points: from a file of point
    pairs.  pick: from points picked on a web page.  automatic: from scenes, without a target.
    """

    method: MethodName = option(positional=True)
    """What to register from."""
    out: Path = option(short="-o", metavar="F.json")
    """The registration file to write."""
    rgb: Path | None = option(None, metavar="DIR|FILE")
    """RGB images."""
    thermal: Path | None = option(None, metavar="DIR|FILE")
    """Thermal images, 8 or 16 bit, with the stems of the RGB images."""
    session: Path | None = option(None, metavar="DIR")
    """Instead of the two: what differseg run --record wrote."""
    pattern: str | None = option(None, metavar="CxR")
    """Inner corners (or circles) in a row, and rows: 9x6 for a board of 10x7 squares."""
    points: Path | None = option(None, metavar="F.csv|F.json")
    """File of point pairs; pick writes it (default: beside --out)."""
    start: Path | None = option(None, metavar="F.json")
    """automatic: a registration that is about right, to be made better without a search."""
    lenses: bool = True
    """Fit the cameras' lenses where the shots of a board are enough and it helps."""
    rgb_lens: Path | None = option(None, metavar="F.json")
    """Known lens of the RGB camera: fx fy cx cy k1 k2 p1 p2 k3."""
    thermal_lens: Path | None = option(None, metavar="F.json")
    """Known lens of the thermal camera."""
    picture: Path | None = option(None, metavar="F.png")
    """Write a picture of the blend before and after."""
    host: str = option("127.0.0.1", metavar="ADDRESS")
    """pick: address to serve the page on; 0.0.0.0 lets a phone on the same network reach it."""
    port: int = option(0, metavar="N")
    """pick: port to serve the page on; 0 takes a free one."""
    json: bool = False
    """Print the summary as one JSON document on the last line."""

    def __post_init__(self) -> None:
        """Refuse options that the method does not take, or lacks.

        Raises:
            InputError: Names the option.
        """
        board = self.method in ("checkerboard", "circles", "asymmetric-circles")
        if board and self.pattern is None:
            raise InputError(f"register {self.method}: add --pattern COLUMNSxROWS, such as 9x6")
        if not board and self.pattern is not None:
            raise InputError(f"register {self.method}: takes no --pattern")
        if self.method == "points" and self.points is None:
            raise InputError("register points: add --points F.csv or F.json")
        if self.method not in ("points", "pick") and self.points is not None:
            raise InputError(f"register {self.method}: takes no --points")
        if self.method != "automatic" and self.start is not None:
            raise InputError(f"register {self.method}: takes no --start")
        if (self.rgb is None) != (self.thermal is None):
            raise InputError("register: give both --rgb and --thermal")
        if self.rgb is not None and self.session is not None:
            raise InputError("register: give --session DIR, or --rgb and --thermal")
        images = self.rgb is not None or self.session is not None
        if not images and (self.method != "points" or self.picture is not None):
            raise InputError(
                f"register {self.method}: add --rgb DIR and --thermal DIR, or --session DIR"
            )
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port: expected 0 to 65535, got {self.port}")


def register(method: MethodName, out: str | Path, **options: object) -> Found:
    """Register two cameras and write the file.

    Args:
        method: What to register from.
        out: The file to write.
        options: Fields of :class:`RegisterOptions`.

    Raises:
        InputError: Images, points or options cannot be used.
        CheckFailedError: The registration found is not good enough to be used; nothing is written
            but the picture.
    """
    unknown = sorted(set(options) - set(RegisterOptions.__dataclass_fields__))
    if unknown:
        raise InputError(f"register: there is no option '{unknown[0]}'")
    return execute(RegisterOptions(method, Path(out), **options))  # type: ignore[arg-type]


def execute(options: RegisterOptions) -> Found:
    """Do what the options say; see :func:`register`."""
    from differseg.runtime.register import methods

    _refuse_clashes(options)
    if options.method == "pick":
        from differseg.runtime.register.picking import pick

        found = pick(options)
    elif options.method == "points":
        found = methods.from_points(options)
    elif options.method == "automatic":
        found = methods.from_scenes(options)
    else:
        found = methods.from_board(options, options.method)
    if options.picture is not None:
        _write_picture(options.picture, found)
    if found.refusal is not None:
        seen = "" if options.picture is None else f" (look at {options.picture})"
        raise CheckFailedError(f"registration: {found.refusal}{seen}")
    if options.method != "pick":  # its page has written the file
        found.registration.save(options.out)
    return found


def _refuse_clashes(options: RegisterOptions) -> None:
    """Refuse to write over what is read."""
    from differseg.runtime.sinks.outputs import refuse_clashes

    names = ["rgb", "thermal", "session", "start", "rgb_lens", "thermal_lens"]
    if options.method == "points":
        names.append("points")
    inputs = [
        (f"--{name.replace('_', '-')}", getattr(options, name))
        for name in names
        if getattr(options, name) is not None
    ]
    outputs = [("--out", options.out)]
    if options.picture is not None:
        outputs.append(("--picture", options.picture))
    refuse_clashes(inputs, outputs)
    for name, path in outputs:
        if not path.resolve().parent.is_dir():
            raise InputError(f"{name} {path}: there is no folder {path.parent}")


def _write_picture(path: Path, found: Found) -> None:
    from differseg.runtime.register.picture import before_after
    from differseg.runtime.sinks.masks import write_png

    if path.suffix.lower() != ".png":
        raise InputError(f"--picture {path}: expected a name that ends in .png")
    write_png(path, before_after(found.shots, found.registration))


def summary_of(found: Found, out: Path) -> dict[str, Any]:
    """Return what a machine wants to know of a registration."""
    from differseg.schema import to_plain

    registration = found.registration
    return {
        "out": str(out),
        "coverage": round(registration.coverage, 4),
        "lenses": registration.fixed_lens is not None or registration.moving_lens is not None,
        "fit": to_plain(registration.fit),
        "notes": list(found.notes),
    }


def _print(found: Found, out: Path) -> None:
    fit = found.registration.fit
    assert fit is not None
    unit = "image blocks" if fit.method == "automatic" else "points"
    print(f"{fit.method}: {fit.model} from {fit.points} {unit} of {fit.shots} shots")
    off = fit.residual
    print(
        f"residuals: median {off.median_px:.2f} px, p95 {off.p95_px:.2f} px, largest "
        f"{off.max_px:.2f} px of the RGB image"
    )
    if fit.confidence is not None:
        print(f"confidence: {fit.confidence:.2f}")
    print(f"the thermal camera sees {100 * found.registration.coverage:.0f} % of the RGB view")
    if fit.reason is not None:
        print(fit.reason)
    print(f"written: {out}")


def _waiting(method: MethodName) -> AbstractContextManager[object]:
    """Return what shows on a terminal that work goes on; pick has a page of its own for that."""
    from rich.console import Console

    if method == "pick":
        return nullcontext()
    return Console(stderr=True).status(f"registering, {method} ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(RegisterOptions, argv, "differseg register")
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    try:
        with _waiting(options.method):
            found = execute(options)
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"differseg register needs the package '{error.name}', which is not installed; "
            "install it with: pip install 'differseg[runtime]'"
        ) from None
    for note in found.notes:
        _LOG.warning(note)
    if options.json:
        print(json_module.dumps(summary_of(found, options.out)))
    else:
        _print(found, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
