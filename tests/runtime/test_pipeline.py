"""A whole run with cameras and a network whose behaviour is written down."""

import gc
import os
import threading
import time

import numpy as np
import psutil
import pytest
from fake_cameras import SIZE_HW, FakeSegmenter, FakeSource, ListSink

from differseg.errors import CheckFailedError, SourceError
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline, RunLimits
from differseg.runtime.registration import Registration
from differseg.runtime.thermal import NEUTRAL_THERMAL, ThermalMapper


def run(rgb, thermal=None, *, segmenter=None, sinks=None, timeout_s=0.2, tolerance_ms=30, **rest):
    sinks = [ListSink()] if sinks is None else sinks
    pairer = None
    if thermal is not None:
        pairer = Pairer(tolerance_ms, live=rgb.live)
        thermal.open()
    feed = open_feed(rgb.open(), thermal, pairer, ThermalWatch(timeout_s))
    summary, error = Pipeline(segmenter or FakeSegmenter(), feed, sinks, **rest).run()
    return summary, error, getattr(sinks[0], "results", [])


def recorded(count, thermal_count=None, **thermal_options):
    return (
        FakeSource(live=False, fps=100, count=count),
        FakeSource("thermal", live=False, fps=100, count=thermal_count or count, **thermal_options),
    )


def check_books(summary):
    rgb = summary.cameras["rgb"]
    assert rgb.captured == summary.frames + sum(rgb.drops.values())


def test_recorded_pair():
    summary, error, results = run(*recorded(30))
    assert error is None
    assert [r.index for r in results] == list(range(30))
    assert [r.thermal_index for r in results] == list(range(30))
    assert {r.status for r in results} == {"ok"}
    assert all(r.skew_ms == pytest.approx(0) and r.age_ms is None for r in results)
    assert results[0].area_fraction == {"object": 0.5}
    assert (results[7].mask[:, :32] == 1).all()
    assert (results[7].mask[:, 32:] == 0).all()
    assert summary.frames == summary.pairs == 30
    assert summary.end == "the RGB source ended"
    assert summary.skew_ms.max == 0
    assert {"wait", "infer", "hand_over", "write"} <= set(summary.stages_ms)
    check_books(summary)


def test_the_network_sees_this_pair_and_the_thermal_time():
    segmenter = FakeSegmenter()
    _, _, results = run(*recorded(5), segmenter=segmenter)
    for k, (timestamp_s, frames) in enumerate(segmenter.calls):
        assert (frames["rgb"] == 60 + k).all()
        assert (frames["thermal"] == 29500 + k).all()
        assert timestamp_s == pytest.approx(k / 100)
        assert results[k].thermal_time_s == timestamp_s


def test_registration_is_applied():
    segmenter = FakeSegmenter()
    registration = Registration.identity((32, 24), (64, 48))
    run(*recorded(2), segmenter=segmenter, registration=registration)
    assert segmenter.calls[0][1]["thermal"].shape == SIZE_HW
    assert segmenter.calls[0][1]["thermal"].dtype == np.uint16


def test_rgb_model():
    segmenter = FakeSegmenter()
    summary, error, results = run(FakeSource(live=False, count=5), segmenter=segmenter)
    assert error is None
    assert [set(frames) for _, frames in segmenter.calls] == [{"rgb"}] * 5
    assert summary.pairs == 0
    assert summary.skew_ms is None
    assert [r.status for r in results] == ["ok"] * 5


def test_a_slow_sink_holds_the_run_back_and_loses_nothing():
    sink = ListSink(seconds=0.03)
    summary, _, results = run(
        FakeSource(fps=100, count=60), FakeSource("thermal", fps=100, count=60), sinks=[sink]
    )
    assert len(results) == summary.frames < 50
    assert sink.closed == 1
    check_books(summary)


def test_limits():
    summary, _, results = run(*recorded(50), limits=RunLimits(frames=7))
    assert len(results) == 7
    assert summary.end == "7 frames were processed"
    check_books(summary)
    summary, _, results = run(*recorded(50), limits=RunLimits(seconds=0.2))
    assert len(results) == 20
    assert summary.end == "0.2 s were processed"
    check_books(summary)


def test_a_limit_stops_both_recordings_and_counts_what_was_read_ahead():
    summary, _, results = run(*recorded(50), limits=RunLimits(frames=7))
    thermal = summary.cameras["thermal"]
    assert thermal.captured == len({r.thermal_index for r in results}) + sum(thermal.drops.values())
    assert set(thermal.drops) <= {"at_stop", "unused"}
    assert thermal.captured <= 10, "nothing is read on after the end"


def test_stop_from_outside_is_quick_and_clean():
    stop, sink = threading.Event(), ListSink()
    threading.Timer(0.2, stop.set).start()
    start_s = time.monotonic()
    summary, error, _ = run(FakeSource(), FakeSource("thermal"), sinks=[sink], stop=stop)
    assert time.monotonic() - start_s < 1.5
    assert error is None
    assert summary.end == "a stop was asked for"
    assert sink.closed == 1
    check_books(summary)


def test_policy_stop_ends_with_a_recording():
    summary, error, results = run(*recorded(40, thermal_count=10), tolerance_ms=5)
    assert error is None
    assert summary.end == "the thermal source ended after 10 frames"
    assert [r.index for r in results] == list(range(10))
    check_books(summary)


def test_policy_stop_fails_with_a_long_gap_in_a_recording():
    """The last frame comes 0.9 s after the gap began, and its reader is done long before."""

    class Gap(FakeSource):
        def read(self):
            frame = super().read()
            return self.read() if frame is not None and 30 <= frame.index < 119 else frame

    rgb = FakeSource(live=False, fps=100, count=120)
    thermal = Gap("thermal", live=False, fps=100, count=120)
    summary, error, results = run(rgb, thermal, tolerance_ms=5)
    assert "thermal camera gave no frame within the tolerance for" in str(error)
    assert summary.end == "an error"
    assert [r.index for r in results] == list(range(30))
    check_books(summary)


@pytest.mark.parametrize(
    ("thermal", "words"),
    [
        ({"fail_at": 10}, "failed (fake thermal: pulled out)"),
        ({"silent_from": 10}, "gave no frame within the tolerance"),
        ({"silent_from": 0}, "gave no frame for"),
        ({"count": 0}, "ended after 0 frames"),
    ],
)
def test_policy_stop_fails_with_a_camera(thermal, words):
    sink = ListSink()
    rgb, lost = FakeSource(count=200), FakeSource("thermal", **thermal)
    summary, error, _ = run(rgb, lost, sinks=[sink])
    assert isinstance(error, SourceError)
    assert f"thermal camera {words}" in str(error)
    assert "--on-thermal-loss" in str(error)
    assert summary.error == str(error)
    assert sink.closed == 1
    check_books(summary)


def test_policy_rgb_only_feeds_the_declared_constant_and_says_so():
    segmenter, sink = FakeSegmenter(), ListSink(wants_picture=True)
    summary, error, results = run(
        *recorded(30, thermal_count=10),
        segmenter=segmenter,
        sinks=[sink],
        tolerance_ms=5,
        on_thermal_loss="rgb_only",
    )
    assert error is None
    assert [r.status for r in results] == ["ok"] * 10 + ["rgb_only"] * 20
    assert summary.statuses == {"ok": 10, "rgb_only": 20}
    assert summary.pairs == 10
    for result, (timestamp_s, frames) in list(zip(results, segmenter.calls, strict=True))[10:]:
        assert result.thermal_index is None
        assert result.skew_ms is None
        assert "thermal input is the constant 0.5" in result.note
        assert "ended after 10 frames" in result.note
        assert timestamp_s is None, "the mapper's memory must not learn the constant"
        policy = segmenter.manifest.input("thermal").thermal_policy
        mapped = ThermalMapper(policy).map(frames["thermal"])
        assert (mapped == NEUTRAL_THERMAL).all()
    assert not (results[5].picture == results[25].picture).all()
    check_books(summary)


def test_policy_rgb_only_recovers():
    class Gap(FakeSource):
        def read(self):
            frame = super().read()
            if frame is not None and 30 <= frame.index < 80:
                return self.read()
            return frame

    rgb = FakeSource(live=False, fps=100, count=120)
    thermal = Gap("thermal", live=False, fps=100, count=120)
    summary, error, results = run(rgb, thermal, tolerance_ms=5, on_thermal_loss="rgb_only")
    assert error is None
    states = {r.index: r.status for r in results}
    assert states[29] == "ok"
    assert 31 not in states, "late, but not yet lost"
    assert states[70] == "rgb_only"
    assert all(states[k] == "ok" for k in range(80, 120))
    assert summary.cameras["rgb"].drops["no_thermal_in_tolerance"] == 20
    check_books(summary)


def test_policy_hold_shows_the_last_result_marked_stale():
    segmenter, sink = FakeSegmenter(), ListSink(wants_picture=True)
    summary, error, results = run(
        *recorded(30, thermal_count=10),
        segmenter=segmenter,
        sinks=[sink],
        tolerance_ms=5,
        on_thermal_loss="hold",
    )
    assert error is None
    assert summary.statuses == {"ok": 10, "hold": 20}
    assert len(segmenter.calls) == 10, "the network is not asked about frames it cannot have"
    held = results[10:]
    assert all(r.mask is None and r.area_fraction == {} and r.skew_ms is None for r in held)
    assert "shows frame 9, 0.010 s old" in held[0].note
    assert "shows frame 9, 0.200 s old" in held[-1].note
    # The old picture: its brightness is frame 9's, not that of the frame that came now.
    assert int(held[-1].picture[2, -20 // 1, 0]) == pytest.approx(
        int(results[9].picture[2, -20, 0]), abs=1
    )
    check_books(summary)


def test_policy_hold_before_any_result():
    segmenter, sink = FakeSegmenter(), ListSink(wants_picture=True)
    summary, error, results = run(
        FakeSource(count=60),
        FakeSource("thermal", silent_from=0),
        segmenter=segmenter,
        sinks=[sink],
        on_thermal_loss="hold",
    )
    assert error is None
    assert set(summary.statuses) == {"no_result"}
    assert segmenter.calls == []
    assert results[0].mask is None
    assert results[0].picture.shape == (*SIZE_HW, 3)
    assert "gave no frame" in results[0].note


def test_a_frame_that_gives_nan_is_marked_and_the_run_goes_on():
    summary, error, results = run(*recorded(12), segmenter=FakeSegmenter(nan_calls=[3, 4]))
    assert error is None
    assert [r.status for r in results[2:6]] == ["ok", "nan_output", "nan_output", "ok"]
    assert results[3].mask is None
    assert summary.statuses == {"ok": 10, "nan_output": 2}


def test_a_network_that_gives_only_nan_is_an_error():
    summary, error, _ = run(*recorded(50), segmenter=FakeSegmenter(nan_calls=["all"]))
    assert isinstance(error, CheckFailedError)
    assert summary.statuses == {"nan_output": 9}


def test_a_failing_sink_ends_the_run_with_its_words():
    sink, other = ListSink(fail_at=5), ListSink()
    summary, error, _ = run(*recorded(500), sinks=[sink, other])
    assert "the disk is full" in str(error)
    assert summary.frames < 20
    assert sink.closed == other.closed == 1


def test_a_failing_rgb_source_keeps_what_was_done():
    rgb = FakeSource(live=False, fail_at=8)
    summary, error, results = run(rgb, FakeSource("thermal", live=False, count=50))
    assert "pulled out" in str(error)
    assert len(results) == summary.frames == 8


def test_results_kept_by_a_sink_do_not_change():
    class Moving(FakeSegmenter):
        def end(self, begun):
            result = super().end(begun)
            result.mask[:] = len(self.calls) % 2
            return result

    sink = ListSink(wants_picture=True)
    _, _, results = run(*recorded(40), segmenter=Moving(), sinks=[sink])
    assert [int(r.mask[0, 0]) for r in results] == [(k + 1) % 2 for k in range(40)]
    assert len({r.picture.__array_interface__["data"][0] for r in results}) == 40


def test_status_reports():
    seen = []
    run(
        FakeSource(count=80, repeat_image_from=0),
        FakeSource("thermal", count=80),
        on_status=seen.append,
    )
    assert 2 <= len(seen) <= 8
    assert seen[-1].frames > 10
    assert seen[1].cameras[0].startswith("rgb ")
    assert "Hz" in seen[1].cameras[1]
    assert abs(seen[-1].skew_ms) < 30


class FakeWindow:
    """Closes itself after some pictures."""

    def __init__(self, quit_after):
        self.shown, self.threads, self.quit, self.closed = [], set(), False, False
        self._quit_after = quit_after

    def write(self, result):
        self.shown.append(result.picture.copy())
        self.threads.add(threading.current_thread())
        self.quit = len(self.shown) >= self._quit_after

    def close(self):
        self.closed = True


def test_a_window_shows_what_the_sinks_get_and_can_end_the_run():
    window, sink = FakeWindow(quit_after=6), ListSink(wants_picture=True)
    summary, error, results = run(*recorded(50), window=window, sinks=[sink])
    assert error is None
    assert summary.end == "the window was closed"
    assert window.threads == {threading.main_thread()}
    assert window.closed
    assert len(results) == 6
    for shown, result in zip(window.shown, results, strict=True):
        assert (shown == result.picture).all()


def test_a_frozen_camera_is_seen():
    seen = []
    summary, _, _ = run(
        FakeSource(fps=50, count=75, repeat_image_from=5), on_status=seen.append
    )  # fmt: skip
    assert summary.cameras["rgb"].faults["frozen"] > 5
    assert "FROZEN" in seen[-1].cameras[0]


def test_nothing_is_left_open():
    def look():
        gc.collect()
        return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))

    run(*recorded(5))
    before = look()
    for live in (True, False):
        for policy in ("stop", "hold"):
            run(
                FakeSource(live=live, count=10),
                FakeSource("thermal", live=live, count=4),
                on_thermal_loss=policy,
            )
    assert look() == before


def test_memory_does_not_grow():
    """2,000 frames; the slope over the second half is what would add up over a week."""
    process = psutil.Process()
    samples = []

    class Watch(ListSink):
        def write(self, result):
            if result.index % 100 == 0:
                samples.append(process.memory_info().rss / 2**20)

    rgb = FakeSource(live=False, fps=100, count=2000)
    thermal = FakeSource("thermal", live=False, fps=100, count=2000)
    segmenter = FakeSegmenter()
    segmenter.calls = Forgetful()
    summary, error, _ = run(rgb, thermal, segmenter=segmenter, sinks=[Watch(wants_picture=True)])
    assert error is None
    assert summary.frames == 2000
    slope = np.polyfit(np.arange(10) / 10, samples[10:20], 1)[0]
    assert slope < 1.0, f"{slope:.2f} MB per 1,000 frames"


class Forgetful(list):
    def append(self, item):
        pass
