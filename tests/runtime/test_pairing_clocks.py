"""Pairs of two cameras whose true capture times are known, under every fault of stamps at once."""

import random
import re
from dataclasses import dataclass

import numpy as np
import pytest

from differseg.runtime.clock_offset import ClockOffset
from differseg.runtime.clock_steps import SteppingClock
from differseg.runtime.pairing import Pairer
from differseg.runtime.sources import Frame

IMAGE = np.zeros((1, 1), np.uint8)
TOLERANCE_MS = 60.0


@dataclass
class Shot:
    """A frame with the truth."""

    frame: Frame
    taken_s: float
    arrival_s: float


def camera(rng, rate_hz, seconds, stamp):
    """Return shots with jitter, one in five dropped, some repeated, some swapped in transport."""
    shots = []
    for k in range(int(rate_hz * seconds)):
        if rng.random() < 0.2:
            continue
        taken_s = 100 + k / rate_hz + rng.uniform(-0.005, 0.005)
        arrival_s = taken_s + 0.008 + rng.uniform(0, 0.01)
        shot = Shot(Frame(IMAGE, stamp(taken_s), k), taken_s, arrival_s)
        shots.append(shot)
        if rng.random() < 0.05:
            shots.append(Shot(shot.frame, taken_s, arrival_s + 0.001))
    for i in range(len(shots) - 1):
        a, b = shots[i], shots[i + 1]
        if rng.random() < 0.04 and b.taken_s - a.taken_s < 0.4:
            late_s = max(a.arrival_s, b.arrival_s)
            shots[i], shots[i + 1] = (
                Shot(b.frame, b.taken_s, late_s),
                Shot(a.frame, a.taken_s, late_s + 0.001),
            )
    return shots


def play(pairer, rgb, thermal):
    """Deliver all in the order of arrival; returns pairs with their true skew."""
    taken_s = {("rgb", s.frame.index): s.taken_s for s in rgb}
    taken_s |= {("thermal", s.frame.index): s.taken_s for s in thermal}
    events = [(s.arrival_s, "rgb", s) for s in rgb] + [(s.arrival_s, "thermal", s) for s in thermal]
    pairs, alone = [], 0
    for arrival_s, stream, shot in sorted(events, key=lambda e: e[0]):
        add = pairer.add_rgb if stream == "rgb" else pairer.add_thermal
        add(shot.frame, arrival_s)
        while (pair := pairer.next()) is not None:
            if pair.thermal is None:
                alone += 1
                continue
            truth_s = taken_s["thermal", pair.thermal.index] - taken_s["rgb", pair.rgb.index]
            pairs.append((pair, 1000 * truth_s, arrival_s))
        assert pairer.waiting <= 8
    return pairs, alone


def check(pairs, reuse, tolerance_ms, within_ms):
    used = set()
    for pair, truth_ms, _ in pairs:
        assert abs(pair.skew_ms) <= TOLERANCE_MS + 1e-6
        assert abs(truth_ms) <= tolerance_ms
        assert pair.skew_ms == pytest.approx(truth_ms, abs=within_ms)
        assert reuse or pair.thermal.index not in used
        assert pair.thermal_reused == (pair.thermal.index in used)
        used.add(pair.thermal.index)
    indices = [pair.rgb.index for pair, _, _ in pairs]
    assert indices == sorted(set(indices)), "no RGB frame twice"


STEPS = {
    "steady": lambda t: 0.0,
    "forward": lambda t: 1.0 if t > 106 else 0.0,
    "back": lambda t: -1.0 if t > 106 else 0.0,
    "forward-and-back": lambda t: 1.0 if 106 < t < 110 else 0.0,
    "back-and-forward": lambda t: -1.0 if 106 < t < 110 else 0.0,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stepping", ["rgb", "thermal"])
@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("offset_ms", [0.0, 10.0, 50.0])
@pytest.mark.parametrize("rates", [(30, 9), (30, 30), (9, 30)])
def test_pairs_are_true_whatever_the_clocks_do(rates, offset_ms, reuse, stepping, step):
    rng = random.Random(f"{rates}{offset_ms}{reuse}{stepping}{step}")
    moved = STEPS[step]
    rgb = camera(rng, rates[0], 15, lambda t: t + (moved(t) if stepping == "rgb" else 0.0))
    thermal = camera(
        rng,
        rates[1],
        15,
        lambda t: t + offset_ms / 1000 + (moved(t) if stepping == "thermal" else 0.0),
    )
    pairer = Pairer(TOLERANCE_MS, offset_ms, reuse_thermal=reuse)
    pairs, _ = play(pairer, rgb, thermal)
    check(pairs, reuse, TOLERANCE_MS + 1e-6, 1e-6)
    paired_s = [arrival_s for _, _, arrival_s in pairs]
    assert sum(t < 106 for t in paired_s) > 20
    if step == "steady":
        assert pairer.distrust is None
        assert not pairer.counts["rgb", "clock_steps"] + pairer.counts["thermal", "clock_steps"]
    else:
        changes = 2 if "and" in step else 1
        steps = pairer.counts[stepping, "clock_steps"]
        # Two frames swapped just at a step are two steps more.
        assert steps >= changes
        assert (steps - changes) % 2 == 0
        assert not [t for t in paired_s if 106.3 < t < 110]
    if step in ("forward", "back"):
        assert paired_s[-1] < 106.3
        sign = 1 if (step == "forward") == (stepping == "thermal") else -1
        said_s = float(re.search(r"stepped by (\S+) s", pairer.distrust)[1])
        assert said_s == pytest.approx(sign, abs=0.01)
    else:
        assert pairer.distrust is None
        assert sum(t > 111 for t in paired_s) > 15, "pairs come again"


@pytest.mark.parametrize("step", ["steady", "forward", "back"])
@pytest.mark.parametrize("stepping", ["rgb", "thermal"])
@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("offset_ms", [0.0, 10.0, 50.0])
@pytest.mark.parametrize("rates", [(30, 9), (30, 30)])
def test_pairs_of_clocks_that_are_estimated(rates, offset_ms, reuse, stepping, step):
    """Two clocks with offsets and drifts of their own, and a step of one: within 3 ms."""
    rng = random.Random(f"{rates}{offset_ms}{reuse}{stepping}{step}")

    def moved(t, stream):
        return {"steady": 0, "forward": 1, "back": -1}[step] * (stream == stepping and t > 125)

    rgb = camera(rng, rates[0], 50, lambda t: t * (1 - 30e-6) - 77 + moved(t, "rgb"))
    thermal = camera(
        rng,
        rates[1],
        50,
        lambda t: t * (1 + 80e-6) + 5000 + offset_ms / 1000 + moved(t, "thermal"),
    )
    clock = ClockOffset(on_host_clock=False, use_motion=False)
    pairer = Pairer(TOLERANCE_MS, reuse_thermal=reuse, clock=clock)
    assert "clocks of their own" in pairer.distrust
    pairs, alone = play(pairer, rgb, thermal)
    check(pairs, reuse, TOLERANCE_MS + 3, 3.0)
    paired_s = [arrival_s for _, _, arrival_s in pairs]
    assert 108 < paired_s[0] < 111, "pairs as soon as the clocks are known"
    assert alone > 0
    assert paired_s[-1] > 149
    if step != "steady":
        assert not [t for t in paired_s if 125.3 < t < 132]
        assert sum(t > 136 for t in paired_s) > 40
    assert clock.estimate.drift_ppm == pytest.approx(110, abs=60)
    assert clock.estimate.uncertainty_ms < 3


def test_a_pause_and_a_stall_are_no_steps():
    """1 s without thermal frames, then 1 s in which RGB frames wait in a queue: pairs go on."""
    rgb = [Shot(Frame(IMAGE, k / 30, k), k / 30, k / 30 + 0.01) for k in range(300)]
    thermal = [
        Shot(Frame(IMAGE, k / 9, k), k / 9, k / 9 + 0.02) for k in range(90) if not 27 <= k < 37
    ]
    for shot in rgb:
        if 6 < shot.taken_s < 7:
            shot.arrival_s = 7.0 + shot.taken_s / 1e4
    pairer = Pairer(TOLERANCE_MS)
    pairs, _ = play(pairer, rgb, thermal)
    check(pairs, True, TOLERANCE_MS, 1e-6)
    assert pairer.distrust is None
    assert not [cause for cause in pairer.counts if cause[1] == "clock_steps"]
    assert sum(t > 8 for _, _, t in pairs) > 30


def test_a_backlog_at_the_start_is_no_step():
    """The first frames are 2 s old, the next are new: a queue that was emptied."""
    times = [k / 30 for k in range(4)] + [2 + k / 30 for k in range(60)]
    rgb = [Shot(Frame(IMAGE, t, k), t, max(t, 2.0) + k / 1e5) for k, t in enumerate(times)]
    thermal = [Shot(Frame(IMAGE, k / 9, k), k / 9, max(k / 9, 2.0) + 0.01) for k in range(36)]
    pairer = Pairer(TOLERANCE_MS)
    pairs, _ = play(pairer, rgb, thermal)
    assert pairer.distrust is None
    assert sum(t > 2.5 for _, _, t in pairs) > 20


def test_both_clocks_stepping_together_go_on():
    def stamp(t):
        return t - 1.0 * (t > 106)

    rng = random.Random(7)
    rgb, thermal = camera(rng, 30, 15, stamp), camera(rng, 9, 15, stamp)
    pairer = Pairer(TOLERANCE_MS)
    pairs, _ = play(pairer, rgb, thermal)
    check(pairs, True, TOLERANCE_MS + 1e-6, 1e-6)
    assert sum(t > 107 for _, _, t in pairs) > 100


@pytest.mark.parametrize("stepping", ["rgb", "thermal"])
def test_a_recording_whose_clock_stepped_back_has_no_pairs_until_it_is_forward_again(stepping):
    def stamps(rate, steps):
        taken = [k / rate for k in range(12 * rate)]
        return [(Frame(IMAGE, t - steps * (4 < t < 8), k), t) for k, t in enumerate(taken)]

    streams = {"rgb": stamps(30, stepping == "rgb"), "thermal": stamps(9, stepping == "thermal")}
    truth = {name: {f.index: t for f, t in frames} for name, frames in streams.items()}
    readers = {name: iter(frames) for name, frames in streams.items()}
    pairer = Pairer(TOLERANCE_MS, live=False)
    skews_ms = []
    rgb_left = True
    while rgb_left or pairer.waiting:
        if (pair := pairer.next()) is not None:
            if pair.thermal is not None:
                seen_s = truth["rgb"][pair.rgb.index]
                skews_ms.append((seen_s, 1000 * (truth["thermal"][pair.thermal.index] - seen_s)))
            continue
        name = "thermal" if pairer.wants_thermal else "rgb"
        frame, _ = next(readers[name], (None, 0))
        if frame is None:
            (pairer.end_rgb if name == "rgb" else pairer.end_thermal)()
            rgb_left = rgb_left and name != "rgb"
        else:
            (pairer.add_rgb if name == "rgb" else pairer.add_thermal)(frame)
    assert not [skew for skew in skews_ms if abs(skew[1]) > TOLERANCE_MS]
    assert sum(t < 3.9 for t, _ in skews_ms) > 90
    assert sum(t > 9.5 for t, _ in skews_ms) > 60


def test_a_slow_machine_that_becomes_quick_is_no_step():
    """Frames that came 2 s late come in time after a gap: only their wait is gone."""
    clock, stamp_s = SteppingClock(), 100.0
    for k in range(40):
        stamp_s += 3.0 if k == 15 else 0.1
        late_s = 2.0 if k < 15 else 0.02
        assert not clock.add(stamp_s, stamp_s + late_s, 0.1)
    assert clock.shift_s == 0
    # A stamp of the future is a step.
    assert clock.add(stamp_s + 1.1, stamp_s + 0.12, 0.1)
    assert clock.shift_s == pytest.approx(1.0, abs=0.05)
