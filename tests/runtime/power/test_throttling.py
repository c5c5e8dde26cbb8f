from __future__ import annotations

from dataclasses import replace

from fake_boards import NVPMODEL_CONF

from differseg.runtime.power.nvpmodel import parse_modes
from differseg.runtime.power.reading import BoardReading, Clock
from differseg.runtime.power.throttling import ThrottleWatch

MODES, _ = parse_modes(NVPMODEL_CONF)


def course(watch, readings, begin_s=0.0):
    """Feed a reading a second; returns the events that began, in a flat list."""
    events = []
    for second, reading in enumerate(readings):
        events += watch.update(replace(reading, time_s=begin_s + second))
    return events


def oc(count):
    return BoardReading(0.0, "sysfs", counters={"OC3": count})


def cooled(state):
    return BoardReading(0.0, "sysfs", cooling={"gpu-throttle-alert": state, "cpufreq-cpu0": 0})


def clocked(limit_hz, load=0.99, mode=0, name="gpu", top_hz=1.02e9):
    clock = Clock(limit_hz, limit_hz, top_hz, load)
    return BoardReading(0.0, "sysfs", clocks={name: clock}, mode=MODES.get(mode))


def test_old_counts_are_no_event_and_a_rise_is_one():
    watch = ThrottleWatch()
    assert course(watch, [oc(813), oc(813)]) == []
    (event,) = course(watch, [oc(815)], 2.0)
    assert (event.time_s, event.kind, event.what) == (2.0, "over_current", "OC3")
    assert event.reason == "OC3 throttled 2 times in a second, 815 since boot"
    assert watch.active == (event,)


def test_a_counter_that_rises_for_minutes_is_one_event():
    watch = ThrottleWatch()
    events = course(watch, [oc(count // 3) for count in range(300)])
    assert len(events) == 1
    assert course(watch, [oc(99)] * 7, 300.0) == []
    assert watch.active == ()
    assert len(course(watch, [oc(100)], 307.0)) == 1
    assert watch.counts == {"over_current": 2}


def test_counters_that_begin_again_are_no_event():
    watch = ThrottleWatch()
    assert course(watch, [oc(813), oc(0), oc(0)]) == []
    assert len(course(watch, [oc(1)], 3.0)) == 1


def test_a_processor_package_throttles_for_heat():
    watch = ThrottleWatch()
    readings = [BoardReading(0.0, "sysfs", counters={"package": n}) for n in (7, 9)]
    (event,) = course(watch, readings)
    assert event.kind == "thermal"


def test_a_cooling_device_that_flickers_is_one_event():
    watch = ThrottleWatch()
    (event,) = course(watch, [cooled(k % 2) for k in range(60)])
    assert (event.kind, event.what, event.time_s) == ("thermal", "gpu-throttle-alert", 1.0)
    assert event.reason == "gpu-throttle-alert slows down to step 1"
    assert watch.active == (event,)
    course(watch, [cooled(0)] * 7, 60.0)
    assert watch.active == ()


def test_a_run_that_begins_throttled_says_so_at_once():
    assert len(course(ThrottleWatch(), [cooled(1)])) == 1


def test_a_limit_below_the_mode_is_throttling_and_the_mode_itself_is_not():
    watch = ThrottleWatch()
    assert course(watch, [clocked(612e6)] * 20) == []
    (event,) = course(watch, [clocked(408e6)] * 5, 20.0)
    assert (event.kind, event.what, event.time_s) == ("clock_cap", "gpu", 21.0)
    assert event.reason == "gpu may run at 408 MHz of 612 MHz"


def test_a_mode_without_limits_is_measured_by_the_hardware():
    watch = ThrottleWatch()
    assert course(watch, [clocked(1.02e9, mode=2)] * 10) == []
    assert len(course(watch, [clocked(918e6, mode=2)] * 3, 10.0)) == 1


def test_a_change_of_mode_is_no_throttling():
    watch = ThrottleWatch()
    assert course(watch, [clocked(1.02e9, mode=2)] * 10) == []
    # The limits come first, or the status.
    assert course(watch, [clocked(612e6, mode=2)], 10.0) == []
    assert course(watch, [clocked(612e6, mode=0)] * 20, 11.0) == []
    assert course(watch, [clocked(612e6, mode=2)] * 3, 31.0) == []
    assert course(watch, [clocked(1.02e9, mode=2)] * 20, 34.0) == []


def test_without_a_mode_a_limit_that_falls_is_throttling():
    watch = ThrottleWatch()
    assert course(watch, [clocked(3.1e9, mode=None, name="cpu0", top_hz=4.6e9)] * 10) == []
    assert course(watch, [clocked(3.05e9, mode=None, name="cpu0")] * 5, 10.0) == []  # 2 % less
    (event,) = course(watch, [clocked(2.2e9, mode=None, name="cpu0", load=None)] * 3, 15.0)
    assert event.reason == "cpu0 may run at 2200 MHz of 3100 MHz"


def test_an_idle_unit_is_not_throttled():
    watch = ThrottleWatch()
    assert course(watch, [clocked(1.02e9, mode=2)] * 10) == []
    assert course(watch, [clocked(306e6, load=0.05, mode=2)] * 10, 10.0) == []


def test_what_is_kept_does_not_grow():
    watch = ThrottleWatch()
    for turn in range(100):
        course(watch, [cooled(1), *[cooled(0)] * 7], 8.0 * turn)
    assert watch.counts["thermal"] == 100
    assert len(watch.recent) == 32
    assert watch.recent[-1].time_s == 792.0


def test_the_document_of_an_event():
    (event,) = course(ThrottleWatch(), [cooled(2)])
    assert event.document() == {
        "event": "throttle",
        "time_s": 0.0,
        "kind": "thermal",
        "what": "gpu-throttle-alert",
        "reason": "gpu-throttle-alert slows down to step 2",
    }
