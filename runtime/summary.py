"""What a camera run reports at its end and while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from differseg.runtime.feed import Feed
from differseg.runtime.timing import Percentiles


@dataclass(frozen=True)
class LiveStatus:
    """A look at a run in progress.

    Attributes:
        frames: Results so far.
        fps: Results per second, lately.
        age_ms: From capture to mask, lately; None for recordings.
        skew_ms: Of the last pair.
        dropped: RGB frames dropped so far.
        cameras: What to say of each camera, such as ``thermal 9.0 Hz frozen``.
        note: Why the last result is not a normal one.
    """

    frames: int
    fps: float | None
    age_ms: float | None
    skew_ms: float | None
    dropped: int
    cameras: tuple[str, ...]
    note: str | None


@dataclass(frozen=True)
class CameraSummary:
    """One source over a whole run.

    Attributes:
        source: What it was.
        clock: Who stamped the frames: ``driver``, ``arrival`` or ``media``.
        fps: Measured frame rate in Hz.
        captured: Frames that reached this process.
        missed: Frames lost before, by the jumps of their numbers, where the source numbers them.
        drops: By cause, rgb: frames that became no result; thermal: frames that became no RGB
            frame's partner.
        faults: Frames that were black, frozen or NaN.
    """

    source: str
    clock: str
    fps: float | None
    captured: int
    missed: int
    drops: dict[str, int]
    faults: dict[str, int]


@dataclass(frozen=True)
class RunSummary:
    """A whole run.

    Attributes:
        end: Why the run ended.
        frames: Results, of any status.
        pairs: Results from a true pair.
        statuses: Results by status.
        seconds: Wall-clock length of the run.
        fps: Results per second.
        cameras: ``rgb`` and ``thermal``.
        skew_ms: Percentiles of the absolute skew; None without pairs.
        age_ms: Percentiles of the time from capture to mask; None for recordings.
        stages_ms: Percentiles of each stage.
        files: What was written.
        notes: Automatic choices and warnings, one line each.
        error: Why the run failed; None where it did not.
        model: The model file.
        backend: Inference engine, and why it was chosen.
        restarts: How often the run was started again; None where nothing supervises it.
    """

    end: str
    frames: int
    pairs: int
    statuses: dict[str, int]
    seconds: float
    fps: float
    cameras: dict[str, CameraSummary]
    skew_ms: Percentiles | None
    age_ms: Percentiles | None
    stages_ms: dict[str, Percentiles]
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    model: str = ""
    backend: str = ""
    restarts: int | None = None


def camera_summaries(feed: Feed) -> dict[str, CameraSummary]:
    """Return the books of both cameras.

    An RGB frame that was captured is a result or in ``drops``; a thermal frame is part of a pair
    (a pair that is dropped is counted with its RGB frame) or in ``drops``.
    """
    summaries: dict[str, CameraSummary] = {}
    for capture in feed.captures:
        name = capture.source.modality
        drops = dict(feed.drops if name == "rgb" else feed.thermal_drops)
        if feed.pairer is not None:
            # The feed says in more detail what became of unmatched RGB frames.
            for (stream, cause), number in feed.pairer.counts.items():
                if stream == name and cause not in ("unmatched", "clock_steps"):
                    drops[cause] = drops.get(cause, 0) + number
        summaries[name] = CameraSummary(
            source=capture.source.description,
            clock=capture.source.clock,
            fps=None if capture.fps is None else round(capture.fps, 2),
            captured=capture.captured,
            missed=capture.missed,
            drops={cause: number for cause, number in drops.items() if number},
            faults=dict(capture.health.counts),
        )
    return summaries


def camera_lines(feed: Feed) -> tuple[str, ...]:
    """Return what to say of each camera while the run goes on."""
    lines = []
    for capture in feed.captures:
        rate = "no frames yet" if capture.fps is None else f"{capture.fps:.1f} Hz"
        if capture.done:
            rate = "failed" if capture.error else "ended"
        elif (state := capture.check()) != "online":
            rate = state.upper()
        health = "" if capture.health.state == "ok" else f" {capture.health.state.upper()}"
        lines.append(f"{capture.source.modality} {rate}{health}")
    return tuple(lines)
