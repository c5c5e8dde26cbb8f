"""One run: pairs of frames in, results out, until something ends it.

    capture threads -> pairing -> [slot of one] -> intake -> this loop -> [queue of one] -> sinks
                                                                    +-> web page

Intake registers, prepares and begins, for an engine with two slots in a thread of its own; this
loop ends what was begun and decides; the sinks' thread paints and writes.

Everything that grows with time is a counter or a histogram of fixed size, and image buffers are
used again, so that a run may last a week.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, SourceError
from differseg.runtime.deadline import Deadline
from differseg.runtime.feed import Delivery, Feed
from differseg.runtime.intake import AheadIntake, Intake, SerialIntake
from differseg.runtime.processor import (
    FrameProcessor,
    LossPolicy,
    SegmenterLike,
    Shown,
    UnderWay,
)
from differseg.runtime.registration import Registration
from differseg.runtime.registration_watch import RegistrationWatch
from differseg.runtime.service.watchdog import ProgressWatch
from differseg.runtime.sinks import FrameResult, Sink
from differseg.runtime.sinks.window import WindowSink
from differseg.runtime.sinks.writer import SinkWriter
from differseg.runtime.smoothing import MaskSmoother
from differseg.runtime.summary import LiveStatus, RunSummary, camera_lines, camera_summaries
from differseg.runtime.supervision import CameraEvent
from differseg.runtime.thermal_correction import ThermalCorrector
from differseg.runtime.thermal_view import ThermalView
from differseg.runtime.timing import Histogram, StageTimes
from differseg.runtime.zones import ZoneMonitor

_POLL_S = 0.1
_STATUS_EVERY_S = 0.25


@dataclass(frozen=True)
class RunLimits:
    """When a run ends by itself.

    Attributes:
        frames: Results; None for no limit.
        seconds: Time from the first to the last RGB frame, by their stamps; None for no limit.
    """

    frames: int | None = None
    seconds: float | None = None


class Page(Protocol):
    """The part of :class:`differseg.runtime.preview.PreviewServer` that a run needs."""

    def publish(
        self,
        result: FrameResult,
        rgb: npt.NDArray[np.uint8],
        thermal: npt.NDArray[Any] | None,
        mask: npt.NDArray[np.uint8] | None,
    ) -> None:
        """Show a result; returns at once."""

    def close(self) -> None:
        """End it."""


class Pipeline:
    """One run from open sources to closed sinks.

    Args:
        segmenter: Takes frames in BGR order; must not be used elsewhere meanwhile.
        feed: Gives pairs; closed at the end.
        sinks: Written in a thread of their own; closed at the end.
        window: Shown from the calling thread; may be None.
        registration: Brings thermal frames into the RGB view; None where they are there already.
        on_thermal_loss: ``stop``, ``rgb_only`` or ``hold``.
        limits: When to end.
        deadline_ms: Largest age of a result; a frame that would be older is dropped.
        on_status: Called about four times a second.
        stop: Set from anywhere (a signal handler too) to end after the frame in work.
        watch: Told of every result that is owed and made.
        zones: Alarm zones; None without.
        smoother: Steadies the masks over time; None without.
        corrector: Corrects the thermal frames; None without.
        registration_watch: Looks whether the cameras move against each other; None without.
        page: Shows the results; closed at the end.
        note: Takes what the user must know, once each.
        on_event: Takes the changes of the cameras.
        board_events: Gives what happened to the board since the last call, ready for JSON.

    Attributes:
        times: Durations of the stages so far.
    """

    def __init__(
        self,
        segmenter: SegmenterLike,
        feed: Feed,
        sinks: Sequence[Sink],
        *,
        window: WindowSink | None = None,
        registration: Registration | None = None,
        on_thermal_loss: LossPolicy = "stop",
        limits: RunLimits | None = None,
        deadline_ms: float | None = None,
        on_status: Callable[[LiveStatus], None] | None = None,
        stop: threading.Event | None = None,
        watch: ProgressWatch | None = None,
        zones: ZoneMonitor | None = None,
        smoother: MaskSmoother | None = None,
        corrector: ThermalCorrector | None = None,
        registration_watch: RegistrationWatch | None = None,
        page: Page | None = None,
        note: Callable[[str], None] = lambda text: None,
        on_event: Callable[[CameraEvent], None] = lambda event: None,
        board_events: Callable[[], Sequence[dict[str, Any]]] = tuple,
    ) -> None:
        self._zones, self._page = zones, page
        self._corrector, self._registration_watch = corrector, registration_watch
        self._note, self._on_event, self._board_events = note, on_event, board_events
        self._told: dict[str, CameraEvent] = {}
        self._offset_told = False
        self.times = StageTimes()
        self._feed, self._sinks, self._window = feed, list(sinks), window
        self._policy = on_thermal_loss
        self._limits = limits or RunLimits()
        self._on_status = on_status
        self._stop = stop or threading.Event()
        self._skews, self._ages = Histogram(), Histogram()
        self._statuses: Counter[str] = Counter()
        self._pairs = 0
        self._first_s: float | None = None
        self._last: FrameResult | None = None
        self._status_due_s = 0.0
        view = ThermalView(registration, corrector, self.times, note)
        if feed.thermal is not None:
            feed.thermal.change = view.corrected
        self._processor = FrameProcessor(
            segmenter,
            view,
            hold=on_thermal_loss == "hold",
            live=feed.rgb.source.live,
            paint=window is not None or any(sink.wants_picture for sink in self._sinks),
            times=self.times,
            smoother=smoother,
        )
        self._deadline = Deadline(deadline_ms)
        self._watch = watch or ProgressWatch()
        self._writer: SinkWriter | None = None
        arguments = feed, self._processor, self._deadline, self._end_before, self._watch
        self._intake: Intake = (
            AheadIntake(*arguments, segmenter.slots)
            if segmenter.slots > 1
            else SerialIntake(*arguments)
        )

    def run(self) -> tuple[RunSummary, DifferSegError | None]:
        """Run until an end; the feed and the sinks are closed in any case.

        Returns:
            The summary, and the error that ended the run where one did.
        """
        start_s = time.monotonic()
        end, error, notes = "failed", None, []
        writer = self._writer = SinkWriter(self._sinks, self.times, self._stop)
        try:
            self._feed.start()
            self._intake.start()
            end = self._loop(writer)
        except DifferSegError as caught:
            error = caught
        finally:
            seconds = time.monotonic() - start_s
            self._intake.close()
            self._watch.closing()
            notes = self._feed.close()
            close_error = writer.close()
            error = error or close_error
            self._tell_changes()
            if self._page is not None:
                self._page.close()
            if self._window is not None:
                self._window.close()
        return self._summary(end, seconds, writer.files, notes, error), error

    def late_and_done(self) -> tuple[int, int]:
        """Return how many frames missed the deadline, and how many results there are."""
        drops = self._feed.drops
        return drops["too_late"] + drops["finished_late"], sum(self._statuses.values())

    def rescue(self) -> None:
        """Close the outputs of a run that hangs, from another thread."""
        if self._writer is not None:
            self._writer.close()

    def _loop(self, writer: SinkWriter) -> str:
        """Process deliveries until an end; returns why it ended."""
        waiting_since_s = time.perf_counter()
        while not self._stop.is_set():
            under_way = self._intake.take(_POLL_S)
            if under_way is None:
                self._watch.idle()
                self._report()
                if self._intake.ended:
                    return self._intake.end or "the RGB source ended"
                continue
            self.times.add("wait", (time.perf_counter() - waiting_since_s) * 1e3)
            try:
                self._handle(under_way, writer)
            finally:
                self._watch.finished()
            if sum(self._statuses.values()) == self._limits.frames:
                return f"{self._limits.frames} frames were processed"
            if self._window is not None and self._window.quit:
                return "the window was closed"
            waiting_since_s = time.perf_counter()
        return "a stop was asked for"

    def _end_before(self, delivery: Delivery) -> str | None:
        """Return why the run ends before this delivery, or None.

        Raises:
            SourceError: The thermal camera failed or fell silent and the policy is ``stop``.
        """
        time_s = delivery.pair.rgb.timestamp_s
        if self._first_s is None:
            self._first_s = time_s
        limit_s = self._limits.seconds
        if limit_s is not None and time_s - self._first_s >= limit_s - 1e-6:
            return f"{limit_s:g} s were processed"
        lost = delivery.thermal_lost
        if lost is None or self._policy != "stop":
            return None
        thermal, pairer = self._feed.thermal, self._feed.pairer
        assert thermal is not None
        assert pairer is not None
        if pairer.thermal_ended and thermal.error is None and thermal.captured:
            return f"the thermal source {lost}"
        self._feed.drops["at_stop"] += 1
        raise SourceError(
            f"thermal camera {lost}; to go on without it, use --on-thermal-loss rgb_only or hold"
        )

    def _handle(self, under_way: UnderWay, writer: SinkWriter) -> None:
        """Make the result of what was begun and give it to the sinks."""
        processed = self._processor.end(under_way, self._feed.drops.total())
        self._intake.done()
        result, paint = processed.result, processed.paint
        if result.age_ms is not None:
            self._deadline.took((time.monotonic() - under_way.since_s) * 1e3)
            if self._deadline.missed(result.age_ms):
                self._feed.drops["finished_late"] += 1
                return
        if self._window is not None and paint is not None:
            # A window belongs to this thread; without one, the sinks' thread paints.
            result, paint = replace(result, picture=paint()), None
        self._statuses[result.status] += 1
        if result.skew_ms is not None:
            self._pairs += 1
            self._skews.add(abs(result.skew_ms))
        if result.age_ms is not None:
            self._ages.add(result.age_ms)
        if self._zones is not None:
            with self.times.measure("zones", {}):
                events = self._zones.update(result.mask, result.rgb_time_s, result.index)
            result = replace(result, zones=self._zones.states, zone_events=events)
        result = replace(result, board_events=self._board_events())
        self._last, shown = result, processed.shown
        if self._page is not None:
            with self.times.measure("publish", {}):
                self._page.publish(result, shown.rgb, shown.thermal, shown.mask)
        with self.times.measure("hand_over", {}):
            writer.put(result, paint)
        if self._window is not None:
            with self.times.measure("window", {}):
                self._window.write(result)
        self._look_at_registration(result, shown)
        self._report()

    def _look_at_registration(self, result: FrameResult, shown: Shown) -> None:
        """Watch for cameras that were knocked, when the result is out."""
        watch, thermal = self._registration_watch, shown.thermal
        if watch is None or thermal is None or result.status != "ok" or result.thermal_reused:
            return
        if thermal.shape == shown.rgb.shape[:2]:
            warning = watch.update(shown.rgb, thermal, result.rgb_time_s)
            if warning is not None:
                self._note(warning)

    def _tell_changes(self) -> None:
        """Tell what has happened to the cameras, and when the thermal offset has been found."""
        for capture in self._feed.captures:
            name, events = capture.source.modality, list(capture.supervisor.events)
            told = next((k for k, e in enumerate(events) if e is self._told.get(name)), -1)
            for event in events[told + 1 :]:
                self._told[name] = event
                if event.after != "ended":
                    self._on_event(event)
        if not self._offset_told:
            offset = self._feed.thermal_offset()
            self._offset_told = offset is None or offset.settled
            if offset is not None and offset.settled:
                self._note(f"thermal offset: {offset.text()}")

    def _report(self) -> None:
        """Tell the listeners how the run goes, not too often."""
        now_s = time.monotonic()
        if now_s < self._status_due_s:
            return
        self._status_due_s = now_s + _STATUS_EVERY_S
        self._tell_changes()
        if self._on_status is None:
            return
        last = self._last
        self._on_status(
            LiveStatus(
                frames=sum(self._statuses.values()),
                fps=self._processor.fps,
                age_ms=last.age_ms if last else None,
                skew_ms=last.skew_ms if last else None,
                dropped=self._feed.drops.total(),
                cameras=camera_lines(self._feed),
                note=last.note if last else None,
            )
        )

    def _summary(
        self,
        end: str,
        seconds: float,
        files: list[str],
        notes: list[str],
        error: DifferSegError | None,
    ) -> RunSummary:
        frames = sum(self._statuses.values())
        watch, corrector = self._registration_watch, self._corrector
        return RunSummary(
            end=end if error is None else "an error",
            frames=frames,
            pairs=self._pairs,
            statuses=dict(self._statuses),
            seconds=round(seconds, 3),
            fps=round(frames / seconds, 3) if seconds > 0 else 0.0,
            cameras=camera_summaries(self._feed),
            skew_ms=self._skews.summary() if self._skews.count else None,
            age_ms=self._ages.summary() if self._ages.count else None,
            stages_ms=self.times.summary(),
            files=files,
            notes=notes,
            error=str(error) if error else None,
            thermal_offset=self._feed.thermal_offset(),
            registration_shift_px=None if watch is None else watch.shift_px,
            registration_moved=watch is not None and watch.moved,
            dead_pixels=None if corrector is None else len(corrector.dead.xy),
            thermal_jumps=None if corrector is None else corrector.jumps,
        )
