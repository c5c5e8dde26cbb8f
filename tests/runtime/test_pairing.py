"""Pairing: what holds for every stream of time stamps, and single cases worked by hand."""

import itertools
import math
import random

import numpy as np
import pytest

from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sources import Frame

IMAGE = np.zeros((1, 1), np.uint8)


def frames(times_s):
    return [Frame(IMAGE, t, i) for i, t in enumerate(times_s)]


def stream(rng, rate_hz, seconds, *, jitter_ms=5.0, drop=0.2, duplicate=0.05, swap=0.05, shift=0.0):
    """Stamps of a poor camera: jitter, dropped, repeated and swapped frames."""
    times = []
    for k in range(int(seconds * rate_hz)):
        if rng.random() < drop:
            continue
        times.append(shift + k / rate_hz + rng.uniform(-jitter_ms, jitter_ms) / 1000)
        if rng.random() < duplicate:
            times.append(times[-1])
    for i in range(len(times) - 1):
        if rng.random() < swap:
            times[i], times[i + 1] = times[i + 1], times[i]
    return frames(times)


def play_live(pairer, rgb, thermal):
    """Deliver both streams in the order of their index and time, as they would arrive."""
    events = [(f.index / 1e9 + f.timestamp_s, "rgb", f) for f in rgb]
    events += [(f.index / 1e9 + f.timestamp_s, "thermal", f) for f in thermal]
    # Arrival keeps each stream's own order, also where stamps are out of order.
    arrival = {"rgb": -math.inf, "thermal": -math.inf}
    ordered = []
    for order, (time_s, kind, frame) in enumerate(events):
        arrival[kind] = max(arrival[kind], time_s)
        ordered.append((arrival[kind], order, kind, frame))
    out = []
    for _, _, kind, frame in sorted(ordered, key=lambda e: e[:2]):
        (pairer.add_rgb if kind == "rgb" else pairer.add_thermal)(frame)
        while (pair := pairer.next()) is not None:
            out.append(pair)
        assert pairer.waiting <= 8
    pairer.end_rgb()
    pairer.end_thermal()
    while (pair := pairer.next()) is not None:
        out.append(pair)
    pairer.finish()
    return out


def play_recorded(pairer, rgb, thermal):
    """Pull from both streams only what the pairer asks for."""
    streams = {"rgb": iter(rgb), "thermal": iter(thermal)}
    out, rgb_ended = [], False
    for _ in range(4 * (len(rgb) + len(thermal)) + 8):
        if (pair := pairer.next()) is not None:
            out.append(pair)
            continue
        if pairer.wants_thermal:
            kind, add, end = "thermal", pairer.add_thermal, pairer.end_thermal
        elif rgb_ended:
            break
        else:
            kind, add, end = "rgb", pairer.add_rgb, pairer.end_rgb
        frame = next(streams[kind], None)
        rgb_ended = rgb_ended or (kind == "rgb" and frame is None)
        end() if frame is None else add(frame)
    else:
        pytest.fail("the pairer neither decided nor asked for a frame")
    for frame in streams["thermal"]:  # what came after the last RGB frame
        pairer.add_thermal(frame)
    pairer.finish()
    return out


@pytest.mark.parametrize("play", [play_live, play_recorded])
@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("rates", [(30, 9), (30, 30), (9, 30), (60, 27), (25, 25)])
@pytest.mark.parametrize("offset_ms", [0.0, 10.0, 50.0, -80.0])
def test_every_pair_keeps_the_promises(play, reuse, rates, offset_ms):
    for seed in range(4):
        rng = random.Random(f"{seed}{rates}{offset_ms}")
        tolerance_ms = rng.choice([15.0, 40.0, 60.0])
        rgb = stream(rng, rates[0], 4, shift=rng.uniform(0, 0.05))
        thermal = stream(rng, rates[1], 4, shift=rng.uniform(0, 0.05) + offset_ms / 1000)
        pairer = Pairer(tolerance_ms, offset_ms, reuse_thermal=reuse, live=play is play_live)
        out = play(pairer, rgb, thermal)
        pairs = [p for p in out if p.thermal is not None]
        assert pairs
        used = set()
        for pair in pairs:
            truth_ms = 1000 * (pair.thermal.timestamp_s - pair.rgb.timestamp_s) - offset_ms
            assert pair.skew_ms == pytest.approx(truth_ms, abs=1e-6)
            assert abs(truth_ms) <= tolerance_ms + 1e-6
            assert pair.thermal_reused == (pair.thermal.index in used)
            assert reuse or not pair.thermal_reused
            used.add(pair.thermal.index)
        rgb_times = [p.rgb.timestamp_s for p in out]
        assert all(a < b for a, b in itertools.pairwise(rgb_times)), "in order, each once"
        check_books(pairer, rgb, thermal, out, used)


def check_books(pairer, rgb, thermal, out, used):
    """Every frame that went in is accounted for once."""
    counts = pairer.counts
    refused = ("out_of_order", "duplicate", "bad_timestamp")
    alone = sum(p.thermal is None for p in out)
    assert alone == counts["rgb", "unmatched"]
    assert len(rgb) == len(out) + sum(counts["rgb", c] for c in refused)
    assert len(thermal) == (
        len(used) + counts["thermal", "unused"] + sum(counts["thermal", c] for c in refused)
    )


@pytest.mark.parametrize("reuse", [True, False])
def test_recorded_pairing_finds_the_nearest(reuse):
    """Against the literal definition, on streams without faults."""
    rng = random.Random(5)
    rgb = stream(rng, 30, 5, drop=0.1, duplicate=0, swap=0)
    thermal = stream(rng, 9, 5, drop=0.1, duplicate=0, swap=0, shift=0.013)
    out = play_recorded(Pairer(50, reuse_thermal=reuse, live=False), rgb, thermal)

    def gap(a, b):
        return abs(a.timestamp_s - b.timestamp_s)

    expected = {}
    for r in rgb:
        nearest = min(thermal, key=lambda t: gap(t, r))
        mutual = min(rgb, key=lambda x: gap(x, nearest)) is r
        if gap(nearest, r) <= 0.050 and (reuse or mutual):
            expected[r.index] = nearest.index
    got = {p.rgb.index: p.thermal.index for p in out if p.thermal is not None}
    assert got == expected
    assert [p.rgb.index for p in out] == [r.index for r in rgb], "no RGB frame is lost"


def test_equal_recordings_pair_one_to_one():
    times = [k / 30 for k in range(50)]
    pairer = Pairer(10, reuse_thermal=False, live=False)
    out = play_recorded(pairer, frames(times), frames(times))
    assert [(p.rgb.index, p.thermal.index, p.skew_ms) for p in out] == [
        (k, k, 0.0) for k in range(50)
    ]


def test_live_waits_for_a_frame_that_is_about_to_come():
    """30 and 30 Hz, thermal 3 ms behind: pairs must have +3 ms, not -30 ms."""
    rgb = frames([1 + k / 30 for k in range(30)])
    thermal = frames([1 + k / 30 + 0.003 for k in range(30)])
    for reuse in (True, False):
        out = play_live(Pairer(50, reuse_thermal=reuse), rgb, thermal)
        skews = [p.skew_ms for p in out if p.thermal is not None]
        assert skews[5:] == pytest.approx([3.0] * len(skews[5:]))


def test_live_waits_for_the_nearer_rgb_frame_when_each_thermal_serves_once():
    rgb = frames([1 + k / 30 for k in range(30)])
    thermal = frames([1 + k / 30 + 0.030 for k in range(30)])
    out = play_live(Pairer(50, reuse_thermal=False), rgb, thermal)
    skews = [p.skew_ms for p in out if p.thermal is not None]
    assert skews[5:] == pytest.approx([-1000 / 30 + 30] * len(skews[5:]))


def test_thirty_and_nine_hertz():
    rgb = frames([k / 30 for k in range(90)])
    thermal = frames([k / 9 + 0.004 for k in range(27)])
    shared = play_live(Pairer(60), rgb, thermal)
    single = play_live(Pairer(60, reuse_thermal=False), rgb, thermal)
    rates = [sum(p.thermal is not None for p in out) / 3 for out in (shared, single)]
    assert rates[0] > 20
    assert rates[1] == pytest.approx(9, abs=0.4)


@pytest.mark.parametrize("offset_ms", [0.0, 50.0, 80.0, 150.0])
def test_a_thermal_camera_that_lags_loses_no_pairs(offset_ms):
    """30 and 30 Hz: with the lag known, every RGB frame waits for its own thermal frame."""
    rgb = frames([1 + k / 30 for k in range(60)])
    thermal = frames([1.002 + k / 30 + offset_ms / 1000 for k in range(60)])
    for reuse in (True, False):
        out = play_live(Pairer(20, offset_ms, reuse_thermal=reuse), rgb, thermal)
        assert [p.rgb.index for p in out] == list(range(60))
        assert [p.skew_ms for p in out] == pytest.approx([2.0] * 60)


def test_a_silent_thermal_camera_holds_rgb_back_only_briefly():
    pairer = Pairer(50)
    for k in range(30):
        pairer.add_rgb(Frame(IMAGE, k / 30, k))
        while (pair := pairer.next()) is not None:
            assert pair.thermal is None
            assert k / 30 - pair.rgb.timestamp_s < 0.09
    assert pairer.waiting <= 2
    pairer.expect_no_thermal()
    while pairer.next() is not None:
        pass
    assert pairer.waiting == 0, "told that none will come, it holds nothing back"


def test_clock_step_of_one_stream_never_makes_a_false_pair():
    """Thermal steps back 1 s in the middle: no pair until it steps forward again."""
    rgb = frames([k / 30 for k in range(300)])
    thermal = frames([k / 9 - (1.0 if 30 <= k < 60 else 0.0) for k in range(90)])
    pairer = Pairer(50)
    out = []
    for (_, kind), frame in sorted(
        [((f.index / 30, "rgb"), f) for f in rgb]
        + [((f.index / 9, "thermal"), f) for f in thermal],
        key=lambda e: e[0],
    ):
        (pairer.add_rgb if kind == "rgb" else pairer.add_thermal)(frame)
        while (pair := pairer.next()) is not None:
            out.append(pair)
    paired = [p.rgb.timestamp_s for p in out if p.thermal is not None]
    assert pairer.counts["thermal", "clock_steps"] == 1
    assert not [t for t in paired if 3.5 < t < 6.6]
    assert [t for t in paired if t < 3.3]
    assert [t for t in paired if t > 6.8]


def test_faulty_stamps_are_refused_and_counted():
    pairer = Pairer(50)
    for time_s in (1.0, 1.0, 0.9, math.nan, math.inf, 1.1):
        pairer.add_rgb(Frame(IMAGE, time_s, 0))
    counts = pairer.counts
    assert counts["rgb", "duplicate"] == 1
    assert counts["rgb", "out_of_order"] == 1
    assert counts["rgb", "bad_timestamp"] == 2
    assert pairer.waiting == 2


def test_thermal_that_ends_leaves_rgb_alone():
    pairer = Pairer(20, live=False)
    out = play_recorded(pairer, frames([0, 0.1, 0.2]), frames([0.0]))
    assert [p.thermal is None for p in out] == [False, True, True]
    assert out[1] == Pair(out[1].rgb)


def test_memory_is_bounded_when_rgb_never_comes():
    pairer = Pairer(1000)
    for frame in frames([k / 60 for k in range(1000)]):
        pairer.add_thermal(frame)
    assert len(pairer._thermal) <= 8
    assert pairer.counts["thermal", "unused"] == 1000 - 8
