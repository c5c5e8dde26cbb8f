"""What a camera run reports at its end and while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from differseg.runtime.clock_offset import OffsetEstimate
from differseg.runtime.feed import Feed
from differseg.runtime.power.monitor import BoardSummary
from differseg.runtime.recorder import RecorderState
from differseg.runtime.supervision import CameraEvent
from differseg.runtime.timing import Percentiles

_EVENTS = 20


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
        recording: How the recording goes, such as ``REC 1.2 GB``; None without.
    """

    frames: int
    fps: float | None
    age_ms: float | None
    skew_ms: float | None
    dropped: int
    cameras: tuple[str, ...]
    note: str | None
    recording: str | None = None


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
        state: ``online``, ``stale``, ``offline`` or ``ended``, at the end.
        changes: How often it was ``stale``, ``offline``, ``black`` ..., came back (``returns``),
            was tried to be opened (``attempts``), paused for its shutter (``ffc``), or its clock
            stepped (``clock_steps``).
        events: The last 20 changes.
    """

    source: str
    clock: str
    fps: float | None
    captured: int
    missed: int
    drops: dict[str, int]
    faults: dict[str, int]
    state: str
    changes: dict[str, int]
    events: tuple[CameraEvent, ...]


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
        recording: What the recorder wrote and lost; None without one.
        restarts: How often the run was started again; None where nothing supervises it.
        thermal_offset: What is known of the lateness of the thermal stamps; None where it was not
            estimated.
        registration_shift_px: By how much the thermal picture has moved since the start, (x, y)
            pixels of the RGB frame; None where it was not watched, or cannot be told.
        registration_moved: Whether that is more than is taken for a good registration.
        dead_pixels: Thermal pixels found dead; None without correction.
        board: Temperatures, power and throttling of the machine; None where nobody watched.
        thermal_jumps: Jumps of the whole thermal picture that were smoothed; None without it.
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
    recording: RecorderState | None = None
    restarts: int | None = None
    thermal_offset: OffsetEstimate | None = None
    registration_shift_px: tuple[float, float] | None = None
    registration_moved: bool = False
    dead_pixels: int | None = None
    thermal_jumps: int | None = None
    board: BoardSummary | None = None


def camera_summaries(feed: Feed) -> dict[str, CameraSummary]:
    """Return the books of both cameras.

    An RGB frame that was captured is a result or in ``drops``; a thermal frame is part of a pair
    (a pair that is dropped is counted with its RGB frame) or in ``drops``.
    """
    summaries: dict[str, CameraSummary] = {}
    for capture in feed.captures:
        name = capture.source.modality
        supervisor = capture.supervisor
        drops = dict(feed.drops if name == "rgb" else feed.thermal_drops)
        changes = dict(supervisor.counts)
        if feed.pairer is not None:
            # The feed says in more detail what became of unmatched RGB frames.
            for (stream, cause), number in list(feed.pairer.counts.items()):
                if stream == name and cause == "clock_steps":
                    changes[cause] = number
                elif stream == name and cause != "unmatched":
                    drops[cause] = drops.get(cause, 0) + number
        summaries[name] = CameraSummary(
            source=capture.source.description,
            clock=capture.source.clock,
            fps=None if capture.fps is None else round(capture.fps, 2),
            captured=capture.captured,
            missed=capture.missed,
            drops={cause: number for cause, number in drops.items() if number},
            faults=dict(capture.health.counts),
            state=supervisor.state,
            changes={word: number for word, number in changes.items() if number},
            events=tuple(supervisor.events)[-_EVENTS:],
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
