"""One delivery to one result: register, segment or stand in, and paint."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import CheckFailedError
from differseg.manifest import Manifest, background_of
from differseg.runtime.buffers import BufferPool
from differseg.runtime.feed import Delivery
from differseg.runtime.overlay import OverlayPainter, StatusLine
from differseg.runtime.pairing import Pair
from differseg.runtime.segmenter import Begun, Result
from differseg.runtime.sinks import FrameResult, Status
from differseg.runtime.smoothing import MaskSmoother, class_counts
from differseg.runtime.thermal import NEUTRAL_THERMAL, neutral_thermal
from differseg.runtime.thermal_view import ThermalView
from differseg.runtime.timing import StageTimes

LossPolicy = Literal["stop", "rgb_only", "hold"]

_NAN_LIMIT = 10
_RECENT = 30
_FINE = ("online", "ended", "ffc")


class SegmenterLike(Protocol):
    """The part of :class:`differseg.runtime.segmenter.Segmenter` that a run needs."""

    @property
    def manifest(self) -> Manifest:
        """What the model file says."""

    @property
    def slots(self) -> int:
        """How many frames may be begun and not ended at once."""

    def begin(self, *, timestamp_s: float | None = None, **frames: npt.NDArray[Any]) -> Begun:
        """Begin with one pair of frames in one view."""

    def end(self, begun: Begun) -> Result:
        """Return the result of the pair that was begun first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a result shows: for a page, or to look at the two pictures.

    Attributes:
        rgb: (H, W, 3) uint8 BGR.
        thermal: (H, W) uint8 or uint16, as the network got it; None without.
        mask: (H, W) uint8 class ids; None without.
    """

    rgb: npt.NDArray[np.uint8]
    thermal: npt.NDArray[Any] | None
    mask: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Processed:
    """A result, what it shows, and how to paint it.

    Attributes:
        result: Without picture.
        shown: For ``hold``, the older pictures that the mask belongs to.
        paint: Gives the picture, once; None where no picture is wanted.  Always to be called
            from the same thread, which need not be the processor's.
    """

    result: FrameResult
    shown: Shown
    paint: Callable[[], npt.NDArray[np.uint8]] | None


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A delivery that was begun.

    Attributes:
        delivery: From the feed.
        frames: What the network got, the thermal frame in the RGB view; empty where it got nothing.
        begun: What :meth:`Segmenter.end` takes; None where the network got nothing.
        stage_ms: Milliseconds of the stages so far.
        since_s: When it was begun, on the monotonic clock.
    """

    delivery: Delivery
    frames: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    begun: Begun | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    since_s: float = field(default_factory=time.monotonic)


class FrameProcessor:
    """Makes results; its buffers are used again as soon as no sink holds them.

    Args:
        segmenter: Takes frames in BGR order; used by nobody else meanwhile.
        view: Gives the thermal images.
        hold: When thermal is lost, show the last result again (else: a neutral thermal input).
        live: Whether time stamps are on the monotonic clock, so that ages can be told.
        paint: Whether pictures are wanted.
        times: Where the stages are counted.
        smoother: Steadies the masks over time; None without.
    """

    def __init__(
        self,
        segmenter: SegmenterLike,
        view: ThermalView,
        *,
        hold: bool,
        live: bool,
        paint: bool,
        times: StageTimes,
        smoother: MaskSmoother | None = None,
    ) -> None:
        self._smoother = smoother
        self._segmenter, self._view = segmenter, view
        self._hold, self._live, self._paints, self._times = hold, live, paint, times
        classes = segmenter.manifest.classes
        self._background = background_of(classes)
        self._painter = OverlayPainter(classes)
        self._masks, self._pictures = BufferPool(), BufferPool()
        self._neutral: npt.NDArray[np.uint16] | None = None
        self._held: tuple[Pair, Shown] | None = None
        self._nan_run = 0
        self._done_s: deque[float] = deque(maxlen=_RECENT)

    @property
    def fps(self) -> float | None:
        """Results per second over the last 30; None before the second."""
        span_s = self._done_s[-1] - self._done_s[0] if len(self._done_s) > 1 else 0.0
        return (len(self._done_s) - 1) / span_s if span_s > 0 else None

    def begin(self, delivery: Delivery) -> UnderWay:
        """Bring one delivery's thermal frame into view and begin with the network.

        As many may be begun as the segmenter has slots; they are ended in their order.  One thread
        may begin them and another end them.

        Raises:
            InputError: A frame that the model cannot take.
        """
        pair, lost = delivery.pair, delivery.thermal_lost
        if lost is not None and self._hold:
            return UnderWay(delivery)
        since_s, stage_ms = time.monotonic(), dict[str, float]()
        frames: dict[str, npt.NDArray[Any]] = {"rgb": pair.rgb.image}
        # Without a time stamp, the mapper's memory of the real camera stays as it was.
        timestamp_s = None
        if pair.thermal is not None:
            frames["thermal"] = self._view.of(pair, stage_ms)
            timestamp_s = pair.thermal.timestamp_s
        elif lost is not None:
            frames["thermal"] = self._neutral_thermal()
        begun = self._segmenter.begin(timestamp_s=timestamp_s, **frames)
        return UnderWay(delivery, frames, begun, stage_ms, since_s)

    def end(self, under_way: UnderWay, dropped: int) -> Processed:
        """Return the result of what was begun first, not yet painted.

        Args:
            under_way: From :meth:`begin`.
            dropped: RGB frames dropped so far, for the picture.

        Raises:
            CheckFailedError: The network gave NaN for 10 frames on end.
        """
        if under_way.begun is None:
            done = self._held_result(under_way.delivery, dropped)
        else:
            done = self._segmented(under_way, under_way.begun, dropped)
        self._done_s.append(time.monotonic())
        return done

    def discard(self, under_way: UnderWay) -> None:
        """End what was begun first, without a result."""
        if under_way.begun is not None:
            with contextlib.suppress(CheckFailedError):
                self._segmenter.end(under_way.begun)

    def _segmented(self, under_way: UnderWay, begun: Begun, dropped: int) -> Processed:
        pair, lost = under_way.delivery.pair, under_way.delivery.thermal_lost
        frames, stage_ms = under_way.frames, under_way.stage_ms
        try:
            output = self._segmenter.end(begun)
        except CheckFailedError as error:
            return self._not_finite(under_way.delivery, error, dropped)
        self._nan_run = 0
        age_ms = self._age_ms(pair)
        for stage, duration_ms in output.timings_ms.items():
            self._times.add(stage, duration_ms)
            stage_ms[stage] = duration_ms
        mask = self._masks.take(output.mask.shape, np.uint8)
        coverage = output.class_coverage
        if self._smoother is None:
            np.copyto(mask, output.mask)
        else:
            with self._times.measure("smooth", stage_ms):
                self._smoother.smooth(output.mask, pair.rgb.timestamp_s, mask)
                coverage = self._coverage(mask)
        thermal = frames["thermal"] if pair.thermal is not None else None
        shown = Shown(pair.rgb.image, thermal, mask)
        if lost is None:
            self._held = (pair, shown)
        mode = "rgb only, thermal lost" if lost else _trouble(under_way.delivery)
        line = self._line(pair, age_ms, dropped, mode)
        result = FrameResult(
            index=pair.rgb.index,
            name=pair.rgb.name,
            rgb_time_s=pair.rgb.timestamp_s,
            status="rgb_only" if lost else "ok",
            mask=mask,
            area_fraction=self._areas(coverage),
            thermal_index=pair.thermal.index if pair.thermal else None,
            thermal_time_s=pair.thermal.timestamp_s if pair.thermal else None,
            skew_ms=pair.skew_ms,
            thermal_reused=pair.thermal_reused,
            age_ms=age_ms,
            stage_ms=stage_ms,
            note=f"thermal {lost}; thermal input is the constant {NEUTRAL_THERMAL}"
            if lost
            else None,
            cameras=under_way.delivery.cameras,
        )
        return Processed(result, shown, self._painting(pair, shown, line))

    def _held_result(self, delivery: Delivery, dropped: int) -> Processed:
        """Return the last result again, marked with its age; or none, where there was none."""
        pair, lost = delivery.pair, delivery.thermal_lost
        if self._held is None:
            note = f"thermal {lost}; no result yet"
            return self._without_mask(delivery, "no_result", note, "no result, no thermal", dropped)
        old, shown = self._held
        stale_s = pair.rgb.timestamp_s - old.rgb.timestamp_s
        line = StatusLine(mode=f"stale {stale_s:.1f} s, thermal lost")
        result = FrameResult(
            index=pair.rgb.index,
            name=pair.rgb.name,
            rgb_time_s=pair.rgb.timestamp_s,
            status="hold",
            note=f"thermal {lost}; shows frame {old.rgb.index}, {stale_s:.3f} s old",
            cameras=delivery.cameras,
        )
        return Processed(result, shown, self._painting(old, shown, line))

    def _not_finite(self, delivery: Delivery, error: CheckFailedError, dropped: int) -> Processed:
        self._nan_run += 1
        if self._nan_run >= _NAN_LIMIT:
            raise error
        return self._without_mask(delivery, "nan_output", str(error), "network gave NaN", dropped)

    def _without_mask(
        self, delivery: Delivery, status: Status, note: str, mode: str, dropped: int
    ) -> Processed:
        """Return a result that shows the RGB frame and no mask."""
        pair, shown = delivery.pair, Shown(delivery.pair.rgb.image, None, None)
        result = FrameResult(
            index=pair.rgb.index,
            name=pair.rgb.name,
            rgb_time_s=pair.rgb.timestamp_s,
            status=status,
            thermal_index=pair.thermal.index if pair.thermal else None,
            thermal_time_s=pair.thermal.timestamp_s if pair.thermal else None,
            skew_ms=pair.skew_ms,
            thermal_reused=pair.thermal_reused,
            note=note,
            cameras=delivery.cameras,
        )
        line = self._line(pair, None, dropped, mode)
        return Processed(result, shown, self._painting(pair, shown, line))

    def _coverage(self, mask: npt.NDArray[np.uint8]) -> dict[str, float]:
        """Return each class's part of a smoothed mask."""
        classes = self._segmenter.manifest.classes
        counts = class_counts(mask, max(spec.id for spec in classes) + 1)
        return {spec.name: int(counts[spec.id]) / mask.size for spec in classes}

    def _areas(self, coverage: Mapping[str, float]) -> dict[str, float]:
        """Return each class's part of the mask, without the background."""
        hidden = None if self._background is None else self._background.name
        return {name: part for name, part in coverage.items() if name != hidden}

    def _neutral_thermal(self) -> npt.NDArray[np.uint16]:
        """Return what is fed in ``rgb_only``, made once."""
        if self._neutral is None:
            spec = self._segmenter.manifest.input("thermal")
            assert spec is not None
            assert spec.thermal_policy is not None
            self._neutral = neutral_thermal(spec.thermal_policy, spec.size_hw)
        return self._neutral

    def _age_ms(self, pair: Pair) -> float | None:
        return (time.monotonic() - pair.rgb.timestamp_s) * 1e3 if self._live else None

    def _line(self, pair: Pair, age_ms: float | None, dropped: int, mode: str | None) -> StatusLine:
        return StatusLine(
            fps=self.fps,
            latency_ms=age_ms,
            skew_ms=pair.skew_ms,
            dropped=dropped if self._live else None,
            mode=mode,
        )

    def _painting(
        self, pair: Pair, shown: Shown, line: StatusLine
    ) -> Callable[[], npt.NDArray[np.uint8]] | None:
        """Return the call that paints a picture, for the thread that needs it; None if nobody."""
        return partial(self._paint, pair.rgb.timestamp_s, shown, line) if self._paints else None

    def _paint(self, time_s: float, shown: Shown, line: StatusLine) -> npt.NDArray[np.uint8]:
        out = self._pictures.take(shown.rgb.shape, np.uint8)
        with self._times.measure("paint", {}):
            return self._painter.draw(
                shown.rgb,
                shown.mask,
                thermal=shown.thermal,
                status=line,
                timestamp_s=time_s,
                out=out,
            )


def _trouble(delivery: Delivery) -> str | None:
    """Return what is to be said of cameras that still count as working, such as ``rgb frozen``."""
    odd = [f"{name} {state}" for name, state in delivery.cameras.items() if state not in _FINE]
    return ", ".join(odd) or None
