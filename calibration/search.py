"""Which parts of a network stay out of int8 so that its masks stay as they are.

All in int8 is tried first.  Where that costs too much, every part is quantised alone once, which
gives the error that it adds.  Squared errors of parts nearly add up, so the parts are taken in the
order of error per work, and the longest beginning of this order that keeps the limit is found by
halving: for U parts U + log2 U evaluations, then a few to see whether a single part more fits.
Adding the best of what is left, one at a time, takes up to U (U + 1) / 2.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from differseg.calibration.placement import Kernel, Placement
from differseg.calibration.task_score import TaskScore

Score = Callable[[frozenset[str]], TaskScore]
"""From the nodes that are not quantised to the score of the graph."""

_DEPTH = 3
"""Names of modules that tell parts apart: ``encoder.stages.1`` is one."""
_LAST_TRIES = 6


@dataclass(frozen=True)
class Part:
    """Kernels that are quantised together.

    Attributes:
        name: Path of their module.
        nodes: Their names.
        macs: Their work.
        alone: Score where they alone are quantised; None before that is known.
        drop: How far it lies below float32's.
    """

    name: str
    nodes: tuple[str, ...]
    macs: int
    alone: TaskScore | None = None
    drop: float = 0.0

    @property
    def error_per_work(self) -> float:
        """What the part alone does to the probabilities, for the work that it saves."""
        return (self.alone.error if self.alone else 0.0) / max(1, self.macs)


@dataclass(frozen=True)
class SearchResult:
    """What was chosen.

    Attributes:
        without: Nodes that are not quantised.
        score: Score of the choice.
        plain: Score of all in int8.
        share: Of the work that is in int8; 0..1.
        evaluations: How many graphs were run, those of an earlier run of this search included.
        tried: Share and score of every choice, in order.
        parts: The parts with their errors; empty where all in int8 was good.
    """

    without: frozenset[str]
    score: TaskScore
    plain: TaskScore
    share: float
    evaluations: int
    tried: tuple[tuple[float, TaskScore], ...]
    parts: tuple[Part, ...]


def parts_of(kernels: Mapping[str, Kernel]) -> list[Part]:
    """Return the kernels by the first names of their modules, in the graph's order."""
    groups: dict[str, list[Kernel]] = {}
    for kernel in kernels.values():
        path = kernel.node.rpartition("/")[0] or kernel.node
        groups.setdefault(".".join(path.split(".")[:_DEPTH]), []).append(kernel)
    return [
        Part(name, tuple(k.node for k in members), sum(k.macs for k in members))
        for name, members in groups.items()
    ]


def search(
    placement: Placement,
    score: Score,
    reference: TaskScore,
    *,
    max_drop: float,
    seed: int = 0,
    only: frozenset[str] | None = None,
    log: Path | None = None,
    key: str = "",
    progress: Callable[[int, int, str], None] = lambda done, total, words: None,
) -> SearchResult:
    """Find the fastest choice whose score stays within a limit.

    Args:
        placement: All that may be quantised.
        score: Runs a choice.
        reference: Score of the float32 graph.
        max_drop: How far the worst figure may fall.
        seed: Decides the order of parts of equal error per work, and the last tries.
        only: Leave these nodes out, whatever it costs, and look no further.
        log: Evaluations are kept in this file while the search runs, and taken up from it.
        key: What evaluations depend on; others in the file are not taken up.
        progress: Told of every evaluation: done, total, and the best so far in words.

    Returns:
        The choice; with nothing in int8 where not a single part keeps the limit.
    """
    run = _Run(placement, score, reference, max_drop, _Log(log, key), progress)
    first = only or frozenset()
    plain = run.evaluate(first)
    if only is not None or run.fits(plain):
        run.finish()
        return run.result(first, plain, ())
    parts = run.alone(parts_of(placement.kernels))
    draw = np.random.default_rng(seed)
    order = sorted(
        (part for part in parts if run.fits_alone(part)),
        key=lambda part: (part.error_per_work, draw.random()),
    )
    count = run.longest(order)
    chosen = order[:count]
    rest = order[count:]
    # By how much the limit was missed nobody knows: parts with much work are worth the most.
    for part in sorted(rest, key=lambda part: -part.macs)[:_LAST_TRIES]:
        if run.fits(run.evaluate(run.without([*chosen, part]))):
            chosen = [*chosen, part]
    without = run.without(chosen)
    best = run.evaluate(without)
    run.finish()
    return run.result(without, plain, tuple(parts), best)


class _Run:
    """The evaluations of one search."""

    def __init__(
        self,
        placement: Placement,
        score: Score,
        reference: TaskScore,
        max_drop: float,
        log: _Log,
        progress: Callable[[int, int, str], None],
    ) -> None:
        self._kernels = placement.kernels
        self._all = frozenset(placement.kernels)
        self._macs = {name: kernel.macs for name, kernel in placement.kernels.items()}
        self._score, self._reference, self._max_drop = score, reference, max_drop
        self._log, self._progress = log, progress
        self._tried: list[tuple[float, TaskScore]] = []
        self._known: dict[frozenset[str], TaskScore] = {}
        self._best = 0.0
        self._planned = 1

    def evaluate(self, without: frozenset[str]) -> TaskScore:
        """Return the score of a choice; each is run once."""
        if without not in self._known:
            found = self._log.get(without)
            if found is None:
                found = self._score(without)
                self._log.put(without, found)
            self._known[without] = found
            share = self.share(without)
            self._tried.append((share, found))
            if self.fits(found):
                self._best = max(self._best, share)
            total = max(self._planned, len(self._known))
            self._progress(len(self._known), total, f"best {100 * self._best:.0f} % in int8")
        return self._known[without]

    def fits(self, score: TaskScore) -> bool:
        return self._reference.drop_to(score) <= self._max_drop

    def fits_alone(self, part: Part) -> bool:
        return part.drop <= self._max_drop

    def share(self, without: frozenset[str]) -> float:
        return 1 - sum(self._macs[name] for name in without) / max(1, sum(self._macs.values()))

    def without(self, parts: Sequence[Part]) -> frozenset[str]:
        """Return what is left out where these parts are quantised."""
        return self._all.difference(*(part.nodes for part in parts))

    def alone(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts with the drop of each one alone."""
        halving = max(1, len(parts)).bit_length()
        self._planned = 1 + len(parts) + halving + _LAST_TRIES
        found = []
        for part in parts:
            score = self.evaluate(self.without([part]))
            drop = self._reference.drop_to(score)
            found.append(replace(part, alone=score, drop=drop))
        return found

    def longest(self, order: Sequence[Part]) -> int:
        """Return how many parts from the start keep the limit, by halving."""
        low, high = 0, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            if self.fits(self.evaluate(self.without(order[:middle]))):
                low = middle
            else:
                high = middle - 1
        return low

    def finish(self) -> None:
        self._log.remove()

    def result(
        self,
        without: frozenset[str],
        plain: TaskScore,
        parts: tuple[Part, ...],
        score: TaskScore | None = None,
    ) -> SearchResult:
        return SearchResult(
            without=without,
            score=plain if score is None else score,
            plain=plain,
            share=self.share(without),
            evaluations=len(self._known),
            tried=tuple(self._tried),
            parts=parts,
        )


class _Log:
    """Evaluations on disk: one line each, so that a kill loses the one that runs.

    Args:
        path: The file; None keeps nothing.
        key: Lines with another key are not taken up.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path = path
        self._key = hashlib.sha256(key.encode()).hexdigest()
        self._found: dict[str, TaskScore] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    if entry["key"] == self._key:
                        score = {**entry["score"], "bands": tuple(entry["score"]["bands"])}
                        self._found[entry["without"]] = TaskScore(**score)
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a kill cut off

    def get(self, without: frozenset[str]) -> TaskScore | None:
        return self._found.get(_digest(without))

    def put(self, without: frozenset[str], score: TaskScore) -> None:
        if self._path is None:
            return
        line = {"key": self._key, "without": _digest(without), "score": asdict(score)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _digest(names: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
