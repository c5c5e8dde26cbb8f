"""Split a data set by sequence, so that neighbours in time never stand on both sides.

The rule.  A name is read as text, frame number, text (``00107D``: number 107, suffix ``D``).
Frames with equal texts belong together, and a jump of more than ``gap`` numbers between sorted
frames begins a new run.  Within each pair of texts (for MFNet: day and night) whole runs are held
out until their share is as near as possible to the share asked for, in an order that a hash of
the run's first name decides.  Where every run is too long for that, the last frames of the longest
one are held out and the ``gap`` numbers before them belong to neither side.  Names without a
number are runs of one.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from differseg.errors import InputError

_NAME = re.compile(r"^(.*?)(\d+)(\D*)$")


@dataclass(frozen=True)
class Split:
    """Two sides of a data set, and what was left out between them.

    Attributes:
        train: Names to learn from, sorted.
        held_out: Names to judge by, sorted.
        dropped: Names on neither side, because they lie next to held-out frames.
        reason: One line that says how it was made.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    dropped: tuple[str, ...]
    reason: str


def find_runs(stems: Sequence[str], gap: int = 10) -> list[list[str]]:
    """Group names into runs of near frame numbers, each in time order.

    Args:
        stems: Names without their ending.
        gap: Largest step between the numbers of neighbours in a run.
    """
    groups: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    runs: list[list[str]] = []
    for stem in sorted(stems):
        found = _NAME.match(stem)
        if found is None:
            runs.append([stem])
        else:
            groups[found[1], found[3]].append((int(found[2]), stem))
    for frames in groups.values():
        frames.sort()
        before = None
        for number, stem in frames:
            if before is None or number - before > gap:
                runs.append([])
            runs[-1].append(stem)
            before = number
    return runs


def split_by_sequence(
    stems: Sequence[str], share: float = 0.15, *, gap: int = 10, seed: int = 0
) -> Split:
    """Hold out about ``share`` of the samples by whole runs; see the module for the rule.

    Args:
        stems: Names without their ending; the order plays no part.
        share: Part to hold out, above 0 and below 1.
        gap: Largest step between frame numbers of one run.
        seed: Another seed holds out other runs.

    Raises:
        InputError: Too few samples, or a share outside 0..1.
    """
    if not 0 < share < 1:
        raise InputError(f"holdout share: expected more than 0 and less than 1, got {share}")
    if len(stems) < 2:
        raise InputError(f"split: {len(stems)} samples cannot be split; give at least 2")
    families: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for run in find_runs(stems, gap):
        found = _NAME.match(run[0])
        families[(found[1], found[3]) if found else ("", "")].append(run)
    held: set[str] = set()
    dropped: set[str] = set()
    cut = 0
    for runs in families.values():
        chosen = _nearest_share(runs, share, seed)
        longest = max(runs, key=len)
        if not chosen and len(longest) > 2:
            end, beside = _cut_end(longest, round(share * sum(map(len, runs))), gap)
            held.update(end)
            dropped.update(beside)
            cut += 1
        held.update(stem for run in chosen for stem in run)
    train = tuple(sorted(set(stems) - held - dropped))
    if not held or not train:
        raise InputError(
            f"split: {len(stems)} samples in {sum(map(len, families.values()))} runs cannot be "
            f"split {1 - share:.0%} to {share:.0%} by sequence; add data or hold out by hand"
        )
    reason = (
        f"{len(held)} of {len(stems)} held out by whole runs of frame numbers (steps up to {gap}, "
        f"seed {seed})" + (f"; {cut} long runs cut at their end" if cut else "")
    )
    return Split(train, tuple(sorted(held)), tuple(sorted(dropped)), reason)


def _nearest_share(runs: list[list[str]], share: float, seed: int) -> list[list[str]]:
    """Take runs in hashed order while each brings the number held out nearer to its share."""
    wanted = share * sum(map(len, runs))
    ordered = sorted(runs, key=lambda run: hashlib.sha256(f"{seed}:{run[0]}".encode()).digest())
    chosen: list[list[str]] = []
    count = 0
    for run in ordered:
        if len(chosen) + 1 < len(runs) and abs(count + len(run) - wanted) < abs(count - wanted):
            chosen.append(run)
            count += len(run)
    return chosen


def _cut_end(run: list[str], count: int, gap: int) -> tuple[list[str], list[str]]:
    """Return the last ``count`` frames of a run, and those within ``gap`` numbers before them."""
    first = len(run) - min(max(1, count), len(run) - 1)

    def number(stem: str) -> int:
        found = _NAME.match(stem)
        return int(found[2]) if found else 0

    beside = [stem for stem in run[:first] if number(run[first]) - number(stem) <= gap]
    return run[first:], beside
