"""``differseg fit``: which networks, sizes and precisions should fit a board at a frame rate."""

from __future__ import annotations

import argparse
import difflib
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from differseg.errors import InputError
from differseg.fit.boards import Board, PowerMode, boards_named, modes_of
from differseg.options import option, parse, run_main, size_hw

if TYPE_CHECKING:
    from differseg.fit.judge import Fit

_PRECISIONS: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class FitOptions:
    """Estimate which networks, sizes and precisions fit a board at a frame rate.

    From the roofline of the graph and the board's figures, with the range that published times
    leave; nothing is measured. The words are: fits, may fit, does not.
    """

    device: tuple[str, ...] = option((), metavar="NAME")
    """A board such as orin-nano-8gb, a family such as orin-nano, or all (may be repeated)."""
    fps: float = option(15.0, metavar="N")
    """Frames a second to keep up with."""
    mode: str | None = option(None, metavar="NAME")
    """Power mode, such as 15W, 25W or MAXN_SUPER; all of them when left out."""
    model: tuple[str, ...] = option((), metavar="NAME")
    """A configuration, or an exported .onnx file as it is (may be repeated); the edge
    configurations when left out."""
    size: tuple[str, ...] = option((), metavar="HxW")
    """Size of the input (may be repeated); the configuration's own when left out."""
    precision: tuple[str, ...] = option((), metavar="P")
    """fp32, fp16 or int8 (may be repeated); all three when left out."""
    memory: bool = False
    """Also print the memory that a run takes, stage by stage."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be estimated.

        Raises:
            InputError: Names the option.
        """
        if not self.device:
            raise InputError("fit: add --device NAME, such as orin-nano-8gb, or all")
        if not 0 < self.fps <= 1000:
            raise InputError(f"fit: --fps: expected a number up to 1000, got {self.fps}")
        for name in self.precision:
            if name not in _PRECISIONS:
                raise InputError(f"fit: --precision: expected fp32, fp16 or int8, got '{name}'")
        if self.model and all(name.endswith(".onnx") for name in self.model):
            for flag, given in (("--size", self.size), ("--precision", self.precision)):
                if given:
                    raise InputError(
                        f"fit: {flag}: a file has its own; give the name of a configuration"
                    )

    def sizes_hw(self) -> tuple[tuple[int, int], ...]:
        """Return the sizes as numbers.

        Raises:
            InputError: One is none.
        """
        try:
            return tuple(size_hw(text) for text in self.size)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"fit: --size: {error}") from None

    def places(self) -> list[tuple[Board, PowerMode]]:
        """Return the boards with their power modes.

        Raises:
            InputError: There is no such board or mode.
        """
        boards = dict.fromkeys(board for name in self.device for board in boards_named(name))
        return [(board, mode) for board in boards for mode in modes_of(board, self.mode)]


def fit(options: FitOptions) -> tuple[list[Fit], list[str]]:
    """Judge everything that is asked for.

    Returns:
        The verdicts, and why some forms have none.

    Raises:
        InputError: A board, network or size that there is not; nothing could be judged.
        ModelFileError: A file that cannot be used.
    """
    from differseg.fit.graphs import graphs_of
    from differseg.fit.judge import fits_of

    places, sizes = options.places(), options.sizes_hw()
    wanted = tuple(name for name in _PRECISIONS if name in (options.precision or _PRECISIONS))
    names = _networks(options.model)
    fits: list[Fit] = []
    notes: list[str] = []
    for name in _told(names):
        for graph in graphs_of(name, sizes, wanted):
            if isinstance(graph, InputError):
                notes.append(f"{name}: {graph}")
            else:
                fits += fits_of(graph, places, options.fps)
    if not fits:
        raise InputError(f"fit: nothing can be judged: {notes[0]}")
    return fits, list(dict.fromkeys(notes))


def _networks(asked: Sequence[str]) -> list[str]:
    """Return the networks and files that are asked for, or the edge configurations.

    Raises:
        InputError: There is no network of a name; names the nearest.
    """
    from differseg.models.registry import list_models

    known = [info.name for info in list_models()]
    for name in asked:
        if name not in known and not name.endswith(".onnx"):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see 'differseg models'"
            raise InputError(f"fit: --model: there is no network '{name}'; {hint}")
    return list(dict.fromkeys(asked)) or [name for name in known if name.endswith("-edge")]


def _told(names: Sequence[str]) -> Iterator[str]:
    """Yield names, and say on the terminal which one is exported."""
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        for number, name in enumerate(names, start=1):
            status.update(f"reading {name} ({number} of {len(names)}) ...")
            yield name


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 0 also where nothing fits, which is an answer."""
    options = parse(FitOptions, argv, "differseg fit")
    from differseg.bench.tables import print_tables
    from differseg.fit.tables import document, memory_lines, memory_tables, summary, time_tables

    fits, notes = fit(options)
    tables, lines = time_tables(fits), summary(fits)
    if options.memory:
        tables, lines = tables + memory_tables(fits), lines + memory_lines(fits)
    print_tables(tables, lines, "; ".join(notes) or None)
    if options.json:
        print(json_module.dumps(document(fits, notes)))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
