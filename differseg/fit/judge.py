"""Whether a form of a network fits a board at a frame rate: the range of the estimate decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from differseg.bench.devices import DEVICES
from differseg.bench.estimate import CALIBRATED_ON, Estimate, estimate
from differseg.fit.boards import Board, PowerMode
from differseg.fit.graphs import Graph
from differseg.fit.lifetimes import tensor_memory
from differseg.fit.memory import Budget, budget_of

Verdict = Literal["yes", "may", "no"]


@dataclass(frozen=True)
class Fit:
    """One form of a network on one board in one power mode; estimated, not measured.

    Attributes:
        graph: The form.
        board: The board.
        mode: Its power mode.
        estimate: How long a frame may take.
        limit_ms: How long it may take at most: the time between two frames.
        budget: What it needs of the board's memory.
    """

    graph: Graph
    board: Board
    mode: PowerMode
    estimate: Estimate
    limit_ms: float
    budget: Budget

    @property
    def time(self) -> Verdict:
        """Whether the network keeps up: yes at the slow end, no not even at the fast end."""
        if self.estimate.slow_ms <= self.limit_ms:
            return "yes"
        return "may" if self.estimate.fast_ms <= self.limit_ms else "no"

    @property
    def memory(self) -> Verdict:
        """Whether what is known of its memory is there, likewise."""
        if self.budget.high_mib <= self.board.usable_mib:
            return "yes"
        return "may" if self.budget.low_mib <= self.board.usable_mib else "no"

    @property
    def verdict(self) -> Verdict:
        """The worse of both."""
        return max(self.time, self.memory, key=("yes", "may", "no").index)


def fits_of(graph: Graph, places: Iterable[tuple[Board, PowerMode]], fps: float) -> list[Fit]:
    """Judge one form of a network.

    Args:
        graph: The form.
        places: Boards with a power mode of theirs.
        fps: Frames a second that it shall keep up with.
    """
    needed = tensor_memory(graph.model, graph.layers)
    reference_mhz = DEVICES[CALIBRATED_ON].clock_mhz or 0.0
    return [
        Fit(
            graph,
            board,
            mode,
            estimate(graph.layers, board.at(mode), reference_mhz),
            1e3 / fps,
            budget_of(needed),
        )
        for board, mode in places
    ]
