"""The lateness of thermal stamps, from arrivals and from motion."""

import math
import random

import pytest
from two_views import TwoViews

from differseg.runtime.arrival_envelope import ArrivalEnvelope, lower_line
from differseg.runtime.clock_offset import ClockOffset
from differseg.runtime.pairing import Pairer
from differseg.runtime.sources import Frame


def events(rng, seconds, *, rgb_hz=30, thermal_hz=9):
    """Capture times of both cameras with jitter, one in five dropped."""
    out = []
    for stream, rate_hz in (("rgb", rgb_hz), ("thermal", thermal_hz)):
        for k in range(int(seconds * rate_hz)):
            if rng.random() > 0.2:
                out.append((k / rate_hz + 0.02 + rng.uniform(-0.005, 0.005), stream))
    return sorted(out)


def watch(clock, views, late_ms, rng, seconds=30, **rates):
    for taken_s, stream in events(rng, seconds, **rates):
        image = views.rgb(taken_s) if stream == "rgb" else views.thermal(taken_s)
        late_s = late_ms / 1000 if stream == "thermal" else 0.0
        clock.update(stream, 50 + taken_s + late_s, None, image)
    return clock.estimate


def test_the_line_lies_below_all_points_and_finds_drift_and_height():
    rng = random.Random(1)
    points = [(float(x), 3 + 8e-5 * x + rng.expovariate(500)) for x in range(60)]
    x0, height, slope = lower_line(points)
    assert all(y >= height + slope * (x - x0) - 1e-12 for x, y in points)
    assert slope == pytest.approx(8e-5, abs=2e-5)
    assert height == pytest.approx(3 + 8e-5 * x0, abs=5e-4)


def test_the_slope_is_bounded():
    x0, height, slope = lower_line([(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)])
    assert slope == pytest.approx(5e-4)
    assert height + slope * (2.0 - x0) <= 1.0


def feed(envelope, rng, start_s, seconds, offset_s, base_s=0.01):
    for k in range(int(30 * seconds)):
        taken_s = start_s + k / 30
        envelope.add(taken_s + offset_s, taken_s + base_s + rng.expovariate(200))


def test_a_burst_of_late_frames_does_not_move_the_envelope():
    rng, envelope = random.Random(2), ArrivalEnvelope()
    feed(envelope, rng, 0, 20, -700)
    before_s = envelope.at(22.0)
    feed(envelope, rng, 20, 2, -700, base_s=0.5)
    assert envelope.at(22.0) == pytest.approx(before_s, abs=1e-3)
    assert envelope.at(22.0) == pytest.approx(700.01, abs=2e-3)


@pytest.mark.parametrize("step_s", [-0.3, 0.3])
def test_a_small_step_of_a_clock_is_learnt_anew(step_s):
    rng, envelope = random.Random(3), ArrivalEnvelope()
    feed(envelope, rng, 0, 30, 5.0)
    feed(envelope, rng, 30, 15, 5.0 + step_s)
    assert envelope.at(45.0) == pytest.approx(0.01 - 5.0 - step_s, abs=3e-3)


def test_the_envelope_keeps_a_minute():
    rng, envelope = random.Random(4), ArrivalEnvelope()
    feed(envelope, rng, 0, 300, 0.0)
    assert len(envelope._blocks) <= 60


@pytest.mark.parametrize("late_ms", [0.0, 10.0, 50.0, -80.0, 200.0])
@pytest.mark.parametrize("rates", [(30, 9), (30, 30), (9, 30)])
def test_motion_shows_a_constant_lateness(late_ms, rates):
    rng = random.Random(f"{late_ms}{rates}")
    clock = ClockOffset()
    views = TwoViews(rng.randrange(100))
    found = watch(clock, views, late_ms, rng, rgb_hz=rates[0], thermal_hz=rates[1])
    assert found.settled
    assert found.offset_ms == pytest.approx(late_ms, abs=6)
    assert abs(found.offset_ms - late_ms) <= 3 * found.uncertainty_ms
    assert found.uncertainty_ms < 8
    assert found.reason.startswith("motion of both cameras, correlation ")


def test_without_motion_nothing_is_guessed():
    clock = ClockOffset(assumed_ms=12.0)
    found = watch(clock, TwoViews(1, moves=False), 50.0, random.Random(1))
    assert found.offset_ms is None
    assert not found.settled
    assert found.uncertainty_ms is None
    assert "nothing moves before the RGB camera" in found.reason
    assert "12 ms is used meanwhile" in found.reason
    assert clock.offset_s == pytest.approx(0.012)


def test_cameras_that_see_different_things_give_no_offset():
    clock, rng = ClockOffset(), random.Random(6)
    a, b = TwoViews(1), TwoViews(2)
    for taken_s, stream in events(rng, 30):
        image = a.rgb(taken_s) if stream == "rgb" else b.thermal(taken_s)
        clock.update(stream, taken_s, None, image)
    assert clock.estimate.offset_ms is None
    assert "not alike" in clock.estimate.reason


def test_motion_that_repeats_gives_no_offset():
    clock, rng, views = ClockOffset(), random.Random(7), TwoViews(1)
    for taken_s, stream in events(rng, 30):
        again_s = 1 + 0.02 * math.sin(2 * math.pi * taken_s / 0.5)  # the same swing, 2 Hz
        image = views.rgb(again_s) if stream == "rgb" else views.thermal(again_s)
        clock.update(stream, taken_s, None, image)
    assert clock.estimate.offset_ms is None
    assert "no estimate" in clock.estimate.reason


def test_a_lateness_out_of_reach_is_not_invented():
    found = watch(ClockOffset(), TwoViews(5), 900.0, random.Random(8))
    assert found.offset_ms is None


def test_own_clocks_and_a_late_sensor_together():
    """Arrivals give the clocks, motion what they cannot show: a sensor 60 ms late."""
    rng, views = random.Random(9), TwoViews(9)
    clock = ClockOffset(on_host_clock=False)
    skews = []
    for taken_s, stream in events(rng, 40):
        thermal = stream == "thermal"
        image = views.thermal(taken_s) if thermal else views.rgb(taken_s)
        stamped_s = taken_s + (0.060 if thermal else 0.0)  # stamped when it is handed over
        stamp_s = stamped_s * (1 + 1e-4) + 900 if thermal else stamped_s
        clock.update(stream, stamp_s, 70 + stamped_s + 0.01 + rng.uniform(0, 0.01), image)
        if thermal and clock.estimate.settled:
            skews.append(1000 * (stamp_s - clock.offset_s - taken_s))
    assert clock.estimate.drift_ppm == pytest.approx(100, abs=60)
    assert "arrival times" in clock.estimate.reason
    assert "motion" in clock.estimate.reason
    assert len(skews) > 60
    assert max(map(abs, skews[20:])) < 8


def test_arrivals_alone_say_what_they_leave_out():
    rng, clock = random.Random(10), ClockOffset(on_host_clock=False)
    assert not clock.comparable
    for taken_s, stream in events(rng, 12):
        clock.update(stream, taken_s, taken_s + 0.01 + rng.uniform(0, 0.01))
    assert clock.comparable
    assert not clock.estimate.settled
    assert "a constant lateness of a sensor is not in it" in clock.estimate.reason


@pytest.mark.parametrize("live", [True, False])
def test_the_pairer_uses_what_was_found(live):
    """A sensor late by 90 ms: pairs come 90 ms wrong at first, then right."""
    rng, views, late_s = random.Random(11), TwoViews(3), 0.090
    pairer = Pairer(60, clock=ClockOffset(), live=live)
    errors = []
    for taken_s, stream in events(rng, 30):
        if stream == "rgb":
            pairer.add_rgb(Frame(views.rgb(taken_s), taken_s, 0))
        else:
            pairer.add_thermal(Frame(views.thermal(taken_s), taken_s + late_s, 0))
        while (pair := pairer.next()) is not None:
            if pair.thermal is not None:
                truth_s = pair.thermal.timestamp_s - late_s - pair.rgb.timestamp_s
                errors.append(pair.skew_ms - 1000 * truth_s)
    assert errors[0] == pytest.approx(90)
    assert pairer.offset_ms == pytest.approx(90, abs=5)
    assert abs(errors[-1]) < 5


def test_memory_is_bounded():
    clock, views = ClockOffset(), TwoViews(1)
    image = views.rgb(0.0)
    for k in range(6000):
        clock.update("rgb", k / 60, None, image)
    assert len(clock._signals["rgb"]._frames) <= 1250
