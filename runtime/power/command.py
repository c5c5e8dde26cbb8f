"""``differseg power``: what this board says of its power, heat and clocks."""

from __future__ import annotations

import json as json_module
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from differseg.errors import InputError
from differseg.options import option, parse, run_main
from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.monitor import PERIOD_S, BoardMonitor, BoardState, open_board
from differseg.runtime.power.report import state_document, state_lines
from differseg.runtime.power.tegrastats import TegrastatsBoard


@dataclass(frozen=True)
class PowerOptions:
    """Show what this board says of its power, heat and clocks, and what throttles it."""

    seconds: float = option(3.0, metavar="S")
    """Watch for this long, one sample a second."""
    source: Literal["auto", "sysfs", "tegrastats"] = "auto"
    """What to read; auto takes tegrastats where sysfs knows neither heat nor power."""
    root: Path = option(Path("/"), metavar="DIR")
    """Where /sys, /etc and /var are, such as the folder that a container sees the host in."""
    json: bool = False
    """Print the last state and a summary as one JSON document on the last line."""

    def __post_init__(self) -> None:
        """Check the time and the folder.

        Raises:
            InputError: One cannot be used.
        """
        if not (0 < self.seconds < 1e9 and math.isfinite(self.seconds)):
            raise InputError(f"--seconds: expected more than 0, got {self.seconds}")
        if not self.root.is_dir():
            raise InputError(f"--root {self.root}: there is no such folder")


def show(options: PowerOptions) -> None:
    """Watch the board and print what it says.

    Raises:
        MissingComponentError: ``tegrastats`` was asked for and is not there.
    """
    if options.source == "auto":
        board, reason = open_board(options.root)
    elif options.source == "sysfs":
        board, reason = SysfsBoard(options.root), "sysfs: it was asked for"
    else:
        board, reason = TegrastatsBoard(), "tegrastats: it was asked for"
    if not options.json:
        print(reason)
    with BoardMonitor(board) as monitor:
        end_s = time.monotonic() + options.seconds
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, PERIOD_S))
        state, summary = monitor.state, monitor.summary()
    if options.json:
        document = {"source": reason, "state": state_document(state), "summary": asdict(summary)}
        print(json_module.dumps(document, allow_nan=False))
        return
    print("\n".join(_table(state)))
    share = summary.monitor_core_fraction
    if share is not None and summary.samples > 1:
        print(f"The monitor took {100 * share:.3f} % of one core for {summary.samples} samples.")


def _table(state: BoardState) -> list[str]:
    """Return a state in full, a line for each thing that is known."""
    reading = state.reading
    lines = [*state_lines(state)] or ["nothing is known of this board's heat or power"]
    for name, zone in reading.zones.items():
        now = "-" if zone.temperature_c is None else f"{zone.temperature_c:.1f} C"
        limits = [
            f"{text} at {value:g} C"
            for text, value in (("throttles", zone.throttle_c), ("critical", zone.critical_c))
            if value is not None
        ]
        lines.append(f"  zone     {name:24} {now:>10}  {', '.join(limits)}".rstrip())
    for name, watts in reading.rails_w.items():
        counted = "counted in the total" if name in reading.power_of else ""
        lines.append(f"  rail     {name:24} {watts:8.2f} W  {counted}".rstrip())
    for name, clock in reading.clocks.items():
        now = "-" if clock.hz is None else f"{clock.hz / 1e6:.0f} MHz"
        limit = "" if clock.limit_hz is None else f"limit {clock.limit_hz / 1e6:.0f} MHz"
        lines.append(f"  clock    {name:24} {now:>10}  {limit}".rstrip())
    lines += [f"  cooling  {name:24} step {step:5}" for name, step in reading.cooling.items()]
    lines += [f"  counter  {name:24} {count:10}" for name, count in reading.counters.items()]
    return lines


def _run(argv: Sequence[str] | None) -> int:
    show(parse(PowerOptions, argv, "differseg power"))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run_main(_run, argv)
