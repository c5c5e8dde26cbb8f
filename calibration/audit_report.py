"""The result of an audit: findings, and figures of each input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from differseg.errors import CheckFailedError

Level = Literal["error", "warning", "note"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""In order of weight."""

SHOWN = 3
"""How many names a message spells out."""


@dataclass(frozen=True)
class Finding:
    """One thing that an audit has to say.

    Attributes:
        level: ``error``: do not calibrate on this; ``warning``: it costs accuracy; ``note``.
        check: Stable name of the check.
        what: What was found, in one sentence.
        where: Files or frames concerned, all of them; empty where it is the whole set.
        todo: What to do about it.
    """

    level: Level
    check: str
    what: str
    where: tuple[str, ...] = ()
    todo: str = ""

    def line(self) -> str:
        """Return the finding on one line, with the first names."""
        where = f" ({some(self.where)})" if self.where else ""
        return f"{self.check}: {self.what}{where}{f'; {self.todo}' if self.todo else ''}"


@dataclass(frozen=True)
class InputFigures:
    """What the images of one input cover.

    Attributes:
        name: Input of the network.
        images: Images measured.
        sizes: Each ``WIDTHxHEIGHT`` as read, most frequent first.
        dtypes: Each dtype as read.
        seen_share: Share of 256 steps of the value range in which values were seen.
        percentiles: Of the prepared values, in 0..1 of the value range: ``p0.1`` to ``p99.9``.
        mean_luminance: Mean over the set, 0..1.
        clipped_share: Mean share of pixels at the highest code.
    """

    name: str
    images: int
    sizes: tuple[str, ...]
    dtypes: tuple[str, ...]
    seen_share: float
    percentiles: dict[str, float]
    mean_luminance: float
    clipped_share: float


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        data: The set, in words.
        images: Samples looked at.
        distinct: Of these, how many are not near-repetitions of another.
        bright: Estimate of day images: RGB luminance above the limit; None without RGB.
        dark: Estimate of night images.
        inputs: Figures of each input.
        findings: Errors first.
    """

    data: str
    images: int
    distinct: int
    bright: int | None
    dark: int | None
    inputs: tuple[InputFigures, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no error was found."""
        return not self.of("error")

    def of(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(found for found in self.findings if found.level == level)

    def require_passed(self) -> None:
        """Refuse a set with errors.

        Raises:
            CheckFailedError: Names the first error and counts the others.
        """
        errors = self.of("error")
        if errors:
            more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
            raise CheckFailedError(f"calibration data: {errors[0].line()}{more}")

    def to_plain(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"passed": self.passed, **asdict(self)}


def some(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def by_weight(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, errors first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda found: LEVELS.index(found.level)))
