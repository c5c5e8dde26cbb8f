"""Split a data set by sequence, so that neighbours in time never stand on both sides.

The rule.

*Time.*  Of the numbers in a name the one that differs most often between names of the same form
is its time (``frame_00012_cam1``: 12); a date with a clock time (``20230310_172035_959``) is
seconds, and a word of hexadecimal digits (a hash) is no number.  All names stand on one line of
time whatever their other text, so two cameras (``camL_00012``, ``camR_00012``) and changed copies
(``00012D_flip``) stay together.

*Runs.*  A step of more than ``gap`` between neighbours in time begins a new run.  The gap is ten
times the median step (fewer times, down to three, below 200 names: a small set cannot give away
more), and at least 10 where numbers are whole.  Names without a number are runs of one.

*Sides.*  Runs with the same other texts are a group (for MFNet: day and night), and each group
large enough for it gives its share: whole runs, in an order that a hash of their first name
decides, as long as they do not pass the share by more than a third.  Where more than a third of
it is then lacking, the end of the longest run left is held out too, and the names within ``gap``
before the cut belong to neither side.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite
from statistics import median_low

from differseg.errors import InputError

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DATE_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?([0-2]\d|3[01])"
    r"[-_.T ]?([01]\d|2[0-3])[-_.h]?([0-5]\d)[-_.m]?([0-5]\d)(?:[-_.]?(\d{6}|\d{3}))?(?!\d)"
)
_HASH = re.compile(r"(?<![0-9A-Za-z])(?=\d*[a-f])[0-9a-f]{8,}(?![0-9A-Za-z])")

_LEAST_GAP = 10
_TOLERANCE = 1 / 3
"""Part of the share by which whole runs may miss it."""


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


@dataclass(frozen=True, order=True)
class _Frame:
    """A name, its time (infinite without a number), and the rest of its text."""

    time: float
    stem: str
    family: str


_Run = list[_Frame]


def find_runs(stems: Sequence[str], gap: float | None = None) -> list[list[str]]:
    """Group names into runs of near frame numbers, each in time order.

    Args:
        stems: Names without their ending.
        gap: Largest step between the numbers of neighbours in a run; by the module's rule
            when None.
    """
    frames = _read(stems)
    runs = _runs(frames, _choose_gap(frames) if gap is None else gap)
    return [[frame.stem for frame in run] for run in runs]


def timelines(stems: Sequence[str]) -> list[dict[float, str]]:
    """Return names by their time, each group of names that differ in their time alone.

    Args:
        stems: Names without their ending; those without a number are left out.
    """
    lines: dict[str, dict[float, str]] = defaultdict(dict)
    for frame in sorted(_read(stems)):
        if isfinite(frame.time):
            lines[frame.family][frame.time] = frame.stem
    return list(lines.values())


def split_by_sequence(
    stems: Sequence[str], share: float = 0.15, *, gap: float | None = None, seed: int = 0
) -> Split:
    """Hold out about ``share`` of the samples by whole runs; see the module for the rule.

    Args:
        stems: Names without their ending; the order plays no part.
        share: Part to hold out, above 0 and below 1.
        gap: Largest step between frame numbers of one run; by the module's rule when None.
        seed: Another seed holds out other runs.

    Raises:
        InputError: Too few samples, or a share outside 0..1.
    """
    if not 0 < share < 1:
        raise InputError(f"holdout share: expected more than 0 and less than 1, got {share}")
    if len(stems) < 2:
        raise InputError(f"split: {len(stems)} samples cannot be split; give at least 2")
    frames = _read(stems)
    gap = _choose_gap(frames) if gap is None else gap
    runs = _runs(frames, gap)
    held: set[str] = set()
    dropped: set[str] = set()
    cuts = 0
    for group in _groups(runs, share):
        wanted = share * sum(map(len, group))
        chosen = _whole_runs(group, wanted, seed)
        held.update(frame.stem for run in chosen for frame in run)
        lacking = wanted - sum(map(len, chosen))
        if lacking > _TOLERANCE * wanted:
            longest = max((run for run in group if run not in chosen), key=len)
            end, beside = _cut_end(longest, round(lacking), gap)
            held.update(end)
            dropped.update(beside)
            cuts += bool(end)
    train = tuple(sorted(set(stems) - held - dropped))
    if not held or not train:
        raise InputError(
            f"split: {len(stems)} samples in {len(runs)} runs (steps up to {gap:g}) cannot be "
            f"split {1 - share:.0%} to {share:.0%} by sequence; add data or hold out by hand"
        )
    reason = (
        f"{len(held)} of {len(stems)} held out ({len(held) / len(stems):.0%}) by whole runs of "
        f"frame numbers (steps up to {gap:g}, seed {seed})"
    )
    if cuts:
        reason += f"; long runs cut at their end: {cuts}, with {len(dropped)} beside them dropped"
    alone = sum(len(run) == 1 for run in runs)
    if 2 * alone > len(runs):
        reason += (
            f"; warning: {alone} of {len(runs)} runs hold one name, so if the samples are frames "
            "of videos, neighbours may be on both sides"
        )
    return Split(train, tuple(sorted(held)), tuple(sorted(dropped)), reason)


def _read(stems: Sequence[str]) -> list[_Frame]:
    """Read time and remaining text of every name, by what differs between names of one form."""
    forms: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for stem in sorted(set(stems)):
        text = _HASH.sub("~", _DATE_TIME.sub(_seconds, stem))
        forms[_NUMBER.sub("#", text)].append((stem, _NUMBER.findall(text)))
    frames = []
    for form, named in forms.items():
        columns = list(zip(*(numbers for _, numbers in named), strict=True))
        if not columns:
            frames += [_Frame(inf, stem, "") for stem, _ in named]
            continue
        place = max(
            range(len(columns)),
            key=lambda k: (len(set(columns[k])), max(map(len, columns[k])), k),
        )
        for stem, numbers in named:
            others = [*numbers[:place], "#", *numbers[place + 1 :]]
            frames.append(_Frame(float(numbers[place]), stem, " ".join([form, *others])))
    return frames


def _seconds(found: re.Match[str]) -> str:
    """Return a date with clock time as seconds; a month of 31 days, since only steps count."""
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    days = (year * 12 + month) * 31 + day
    return f"{((days * 24 + hour) * 60 + minute) * 60 + second}.{found[7] or 0}"


def _choose_gap(frames: Sequence[_Frame]) -> float:
    times: dict[str, set[float]] = defaultdict(set)
    for frame in frames:
        if isfinite(frame.time):
            times[frame.family].add(frame.time)
    steps = [b - a for family in times.values() for a, b in pairwise(sorted(family))]
    whole = all(time.is_integer() for family in times.values() for time in family)
    count = min(10, max(3, len(frames) // 20))
    return max(count * median_low(steps) if steps else 0, _LEAST_GAP if whole else 0)


def _runs(frames: Sequence[_Frame], gap: float) -> list[_Run]:
    runs: list[_Run] = []
    before = -inf
    for frame in sorted(frames):
        if not frame.time - before <= gap:  # the step between two names without a number is NaN
            runs.append([])
        runs[-1].append(frame)
        before = frame.time
    return runs


def _groups(runs: list[_Run], share: float) -> list[list[_Run]]:
    """Group runs by the texts in them; groups whose share is less than a name are one group."""
    by_texts: dict[tuple[str, ...], list[_Run]] = defaultdict(list)
    for run in runs:
        by_texts[tuple(sorted({frame.family for frame in run}))].append(run)
    groups, small = [], []
    for _, group in sorted(by_texts.items()):
        if share * sum(map(len, group)) < 1:
            small += group
        else:
            groups.append(group)
    return [*groups, small] if small else groups


def _whole_runs(runs: list[_Run], wanted: float, seed: int) -> list[_Run]:
    """Take runs in hashed order that bring the number held out nearer to ``wanted``."""
    ordered = sorted(
        runs, key=lambda run: hashlib.sha256(f"{seed}:{run[0].stem}".encode()).digest()
    )
    most = max(1.0, (1 + _TOLERANCE) * wanted)
    chosen: list[_Run] = []
    count = 0
    for run in ordered:
        after = count + len(run)
        nearer = after <= most and abs(after - wanted) < abs(count - wanted)
        if nearer and len(chosen) + 1 < len(runs):
            chosen.append(run)
            count = after
    return chosen


def _cut_end(run: _Run, count: int, gap: float) -> tuple[list[str], list[str]]:
    """Return about the last ``count`` names of a run, and those within ``gap`` before them.

    Names of one time stay together; a run of one time is not cut.
    """
    last = run[max(0, len(run) - count) :]
    first = next((frame.time for frame in last if frame.time > run[0].time), None)
    if first is None:
        return [], []
    end = [frame.stem for frame in run if frame.time >= first]
    return end, [frame.stem for frame in run if first - gap <= frame.time < first]
