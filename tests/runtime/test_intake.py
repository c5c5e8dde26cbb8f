"""Frames begun one ahead, for an engine that has room for two."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest
from fake_cameras import FakeSegmenter, FakeSource, ListSink

from differseg.errors import CheckFailedError, InputError
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.intake import EngineClock
from differseg.runtime.pipeline import Pipeline, RunLimits


class TwoSlots(FakeSegmenter):
    """An engine that computes one frame after the other beside its caller.

    Attributes:
        most: Most frames that were begun and not ended.
        threads: Names of the threads that began frames.
        waits_s: How long each frame, prepared, waited for the engine.
    """

    slots = 2

    def __init__(self, seconds: float = 0.0, nan_calls: Any = (), bad_frame: int = -1) -> None:
        super().__init__(0.0, nan_calls)
        self.most = self.under_way = 0
        self.threads: set[str] = set()
        self.waits_s: list[float] = []
        self._engine_s, self._free_s = seconds, 0.0
        self._bad_frame, self._begun = bad_frame, 0

    def begin(self, **frames: Any) -> Any:
        assert self.under_way < 2
        if self._begun == self._bad_frame:
            raise InputError("this frame has no pixels")
        self._begun += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.threads.add(threading.current_thread().name)
        now_s = time.monotonic()
        self.waits_s.append(max(0.0, self._free_s - now_s))
        self._free_s = max(self._free_s, now_s) + self._engine_s
        return self._free_s, super().begin(**frames)

    def end(self, begun: Any) -> Any:
        ready_s, frames = begun
        time.sleep(max(0.0, ready_s - time.monotonic()))
        self.under_way -= 1
        return super().end(frames)


def run(source: FakeSource, segmenter: FakeSegmenter, **rest: Any) -> Any:
    sinks = rest.pop("sinks", None) or [ListSink()]
    feed = open_feed(source.open(), None, None, ThermalWatch(1.0))
    summary, error = Pipeline(segmenter, feed, sinks, **rest).run()
    rgb = summary.cameras["rgb"]
    if error is None:  # else the frame that made it is neither
        assert rgb.captured == summary.frames + sum(rgb.drops.values())
    return summary, error, sinks[0].results


@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_recorded_frames_come_in_order_and_none_is_lost(seconds: float) -> None:
    segmenter = TwoSlots(seconds)
    summary, error, results = run(FakeSource(live=False, fps=100, count=40), segmenter)
    assert error is None
    assert [result.index for result in results] == list(range(40))
    assert summary.end == "the RGB source ended"
    assert segmenter.most == 2  # the second was begun before the first had ended
    assert segmenter.threads == {"intake"}
    assert segmenter.under_way == 0


def test_an_engine_with_one_slot_is_used_by_the_caller_alone() -> None:
    threads = set()

    class OneSlot(FakeSegmenter):
        def begin(self, **frames: Any) -> Any:
            threads.add(threading.current_thread())
            return super().begin(**frames)

    run(FakeSource(live=False, fps=100, count=5), OneSlot())
    assert threads == {threading.current_thread()}


def test_what_was_begun_when_the_run_ends_is_ended_and_counted() -> None:
    segmenter = TwoSlots(0.002)
    summary, error, results = run(
        FakeSource(live=False, fps=100, count=50), segmenter, limits=RunLimits(frames=7)
    )
    assert error is None
    assert [result.index for result in results] == list(range(7))
    assert segmenter.under_way == 0
    assert summary.end == "7 frames were processed"
    assert 1 <= summary.cameras["rgb"].drops["at_stop"] <= 4
    assert not [thread for thread in threading.enumerate() if thread.name == "intake"]


def test_a_time_limit_ends_the_run_before_the_frame() -> None:
    limits = RunLimits(seconds=0.1)
    summary, _, results = run(FakeSource(live=False, fps=100, count=50), TwoSlots(), limits=limits)
    assert len(results) == 10
    assert summary.end == "0.1 s were processed"


def test_a_frame_that_cannot_be_taken_ends_the_run_with_its_error() -> None:
    segmenter = TwoSlots(bad_frame=6)
    _, error, results = run(FakeSource(live=False, fps=100, count=20), segmenter)
    assert isinstance(error, InputError)
    assert [result.index for result in results] == list(range(6))
    assert segmenter.under_way == 0


def test_nan_is_told_and_the_next_frame_goes_on() -> None:
    _, error, results = run(FakeSource(live=False, fps=100, count=6), TwoSlots(nan_calls={2}))
    assert error is None
    assert [result.status for result in results] == ["ok", "ok", "nan_output", "ok", "ok", "ok"]
    _, error, _ = run(FakeSource(live=False, fps=100, count=30), TwoSlots(nan_calls={"all"}))
    assert isinstance(error, CheckFailedError)


def test_live_frames_are_taken_just_in_time() -> None:
    """One taken at once would wait a whole inference, 60 ms, for the engine."""
    segmenter = TwoSlots(0.06)
    source = FakeSource(fps=200, count=220)
    _, error, results = run(source, segmenter)
    assert error is None
    assert len(results) >= 8
    assert np.median(segmenter.waits_s[3:]) < 0.03


def test_the_engine_s_clock() -> None:
    clock = EngineClock()
    assert clock.prepare_at_s() == -math.inf
    clock.begun(10.0, 0.002)
    clock.ended(10.05)
    assert clock.prepare_at_s() == -math.inf
    clock.begun(11.0, 0.002)
    assert clock.prepare_at_s() == pytest.approx(11.05 - 0.002 - 0.001)
    clock.begun(11.045, 0.002)  # waits for the first until 11.05
    clock.ended(11.05)
    assert clock.prepare_at_s() == pytest.approx(11.10 - 0.003)
    clock.ended(11.10)  # it took 50 ms, not 55: it had waited
    clock.begun(12.0, 0.002)
    assert clock.prepare_at_s() == pytest.approx(12.05 - 0.003)


@pytest.mark.parametrize("segmenter", [FakeSegmenter(0.05), TwoSlots(0.05)])
def test_frames_that_would_be_too_late_are_dropped(segmenter: FakeSegmenter) -> None:
    summary, error, results = run(FakeSource(fps=50, count=80), segmenter, deadline_ms=30.0)
    assert error is None
    drops = summary.cameras["rgb"].drops
    assert drops["too_late"] >= 20
    assert 1 <= drops["finished_late"] <= 8  # until it is known how long one takes, and the tries
    assert results == []


def test_a_deadline_that_is_kept_drops_nothing() -> None:
    summary, _, results = run(FakeSource(fps=50, count=30), FakeSegmenter(0.001), deadline_ms=500.0)
    drops = summary.cameras["rgb"].drops
    assert len(results) >= 20
    assert "too_late" not in drops
    assert "finished_late" not in drops
