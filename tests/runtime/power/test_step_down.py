"""The policy on courses of time, one call a second."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from differseg.errors import InputError
from differseg.runtime.power.stepdown import LEAST_S, Signals, StepDown, StepRules

CALM = Signals(40.0, None, False)
HOT = Signals(2.0, None, False)
WARM = Signals(6.0, None, False)
THROTTLED = Signals(12.0, "gpu-throttle-alert slows down to step 1", False)
LATE = Signals(40.0, None, True)
IDLE = Signals(40.0, None, None)


def play(policy, *parts, begin_s=0):
    """Feed (signals, seconds) one after another; returns the changes."""
    now_s, changes = begin_s, []
    for signals, seconds in parts:
        for _ in range(seconds):
            now_s += 1
            change = policy.update(float(now_s), signals)
            if change is not None:
                changes.append(change)
    return changes


def steps(changes):
    return [(change.time_s, change.old, change.new) for change in changes]


@pytest.mark.parametrize(
    ("signals", "at_s", "reason"),
    [
        (HOT, 211, "less than 3 degrees were left to a trip point for 10 s"),
        (THROTTLED, 211, "gpu-throttle-alert slows down to step 1 for 10 s"),
        (LATE, 206, "most results were late for 5 s"),
    ],
)
def test_trouble_that_lasts_steps_down_once(signals, at_s, reason):
    (change,) = play(StepDown(2, 0.0), (CALM, 200), (signals, 30))
    assert (change.time_s, change.old, change.new) == (at_s, 0, 1)
    assert change.reason == reason


@pytest.mark.parametrize(("signals", "seconds"), [(HOT, 10), (THROTTLED, 10), (LATE, 5)])
def test_trouble_that_passes_changes_nothing(signals, seconds):
    policy = StepDown(2, 0.0)
    assert play(policy, (CALM, 100), *[(signals, seconds), (CALM, 1)] * 20) == []


def test_warm_is_neither_trouble_nor_calm():
    policy = StepDown(2, 0.0)
    changes = play(policy, (WARM, 1000), (HOT, 20), (WARM, 5000), (CALM, 119))
    assert steps(changes) == [(1011.0, 0, 1)]
    assert steps(play(policy, (CALM, 3), begin_s=6139)) == [(6141.0, 1, 0)]


def test_the_first_change_is_a_minute_after_the_start():
    assert steps(play(StepDown(2, 0.0), (LATE, 100))) == [(60.0, 0, 1)]


def test_calm_brings_the_larger_model_back():
    (down, up) = play(StepDown(2, 0.0), (CALM, 100), (HOT, 20), (CALM, 500))
    assert (up.time_s, up.old, up.new) == (241.0, 1, 0)
    assert up.time_s - down.time_s == 130
    assert up.reason == "cool, in time and not throttled for 120 s"


def test_each_return_that_fails_doubles_the_calm():
    policy = StepDown(2, 0.0)
    parts = [(CALM, 60), (HOT, 20)]
    ups = [change.time_s for change in play(policy, *parts) if change.new == 0]
    waits, now_s = [], 80
    for _ in range(5):
        first_s = now_s
        while policy.index:
            now_s += 1
            policy.update(float(now_s), CALM)
        waits.append(now_s - first_s - 1)
        while not policy.index:
            now_s += 1
            policy.update(float(now_s), HOT)
    assert ups == []
    assert waits == [120, 240, 480, 960, 1920]


def test_a_return_that_lasts_an_hour_has_not_failed():
    policy = StepDown(2, 0.0)
    play(policy, (CALM, 60), (HOT, 20), (CALM, 140), (HOT, 70))  # came back and failed
    changes = play(policy, (CALM, 260), (CALM, 3700), (HOT, 20), (CALM, 130), begin_s=290)
    assert [change.new for change in changes] == [0, 1, 0]
    assert changes[2].reason.endswith("for 120 s")


def test_three_models_are_taken_one_after_the_other():
    changes = play(StepDown(3, 0.0), (CALM, 100), (THROTTLED, 300), (CALM, 500))
    assert [change.new for change in changes] == [1, 2, 1, 0]
    assert changes[1].time_s - changes[0].time_s == LEAST_S


def test_the_smallest_stays_whatever_comes():
    policy = StepDown(2, 0.0)
    assert len(play(policy, (THROTTLED, 5000))) == 1
    assert policy.index == 1


def test_no_sensor_leaves_lateness():
    blind_late, blind = Signals(None, None, True), Signals(None, None, False)
    changes = play(StepDown(2, 0.0), (blind, 100), (blind_late, 6), (blind, 200))
    assert [change.new for change in changes] == [1, 0]


def test_an_idle_board_is_no_proof_that_the_larger_model_fits():
    policy = StepDown(2, 0.0)
    assert len(play(policy, (CALM, 60), (HOT, 20), (CALM, 20), (IDLE, 2980))) == 1
    assert steps(play(policy, (CALM, 122), begin_s=3080)) == [(3201.0, 1, 0)]


def test_a_model_that_takes_seconds_is_late_in_between_too():
    changes = play(StepDown(2, 0.0), (CALM, 100), *[(LATE, 1), (IDLE, 2)] * 4)
    assert steps(changes) == [(106.0, 0, 1)]


def test_a_gap_proves_nothing():
    policy = StepDown(2, 0.0)
    play(policy, (CALM, 100), (HOT, 9))
    assert policy.update(500.0, HOT) is None  # the board was suspended
    assert steps(play(policy, (HOT, 10), begin_s=500)) == [(510.0, 0, 1)]


def test_a_refused_model_is_not_asked_for_again():
    policy = StepDown(3, 0.0)
    (change,) = play(policy, (CALM, 60), (HOT, 15))
    policy.refuse(change)
    assert policy.index == 0
    changes = play(policy, (HOT, 100), (CALM, 1000), begin_s=75)
    assert [(c.old, c.new) for c in changes] == [(0, 2), (2, 0)]
    policy.refuse(changes[-1])
    assert policy.index == 2
    assert play(policy, (CALM, 5000), begin_s=1175) == []


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StepDown(1, 0.0), "expected two models or more, got 1"),
        (lambda: StepRules(near_c=10, clear_c=10), "expected 0 <= near_c < clear_c"),
        (lambda: StepRules(near_c=math.nan), "near_c"),
        (lambda: StepRules(hot_s=0), "hot_s must be positive"),
        (lambda: StepRules(calm_s=math.inf), "calm_s must be positive"),
    ],
)
def test_rules_without_hysteresis_are_refused(make, text):
    with pytest.raises(InputError, match=text):
        make()


def check_course(changes, models, seconds):
    """What holds for every course: a minute between changes, and few of them."""
    times = [0.0, *(change.time_s for change in changes)]
    assert all(later - earlier >= LEAST_S for earlier, later in pairwise(times))
    rises = [change for change in changes if change.new < change.old]
    # The first rise needs 120 s of calm; each round that fails within the hour doubles it, and
    # each of the models can rise in one round.
    rounds = math.log2(seconds / 120 + 1) + 1 + seconds / 3600
    assert len(rises) <= (models - 1) * rounds


@pytest.mark.parametrize("seed", range(12))
def test_no_course_of_signals_makes_it_oscillate(seed):
    """Property: random and spiteful courses over ten hours."""
    random_ = random.Random(seed)
    models = random_.choice([2, 3, 4])
    policy = StepDown(models, 0.0)
    seconds, changes = 36_000, []
    spiteful = seed % 2 == 0
    signals, left = CALM, 0
    for now_s in range(1, seconds):
        if spiteful:  # as calm as a rise needs, and trouble as soon as it rose
            signals = CALM if policy.index else random_.choice([HOT, LATE, THROTTLED])
        elif left <= 0:
            signals = random_.choice([CALM, CALM, CALM, HOT, WARM, LATE, THROTTLED, IDLE])
            left = random_.choice([1, 3, 12, 70, 200, 900])
        left -= 1
        change = policy.update(float(now_s), signals)
        if change is not None:
            changes.append(change)
    assert changes
    check_course(changes, models, seconds)


@pytest.mark.parametrize("constant_s", [20.0, 90.0, 400.0])
@pytest.mark.parametrize("large_c", [94.0, 97.5, 101.0])
def test_a_board_that_only_the_small_model_cools_settles(constant_s, large_c):
    """Property: in a closed loop with the board's heat, changes become ever rarer."""
    policy, temperature_c, changes, throttled = StepDown(2, 0.0), 50.0, [], False
    seconds = 12 * 3600
    for now_s in range(1, seconds):
        target_c = large_c if policy.index == 0 else 80.0
        temperature_c += (target_c - temperature_c) / constant_s
        throttled = temperature_c >= 99.0 or (throttled and temperature_c > 97.0)
        signals = Signals(99.0 - temperature_c, "hot" if throttled else None, False)
        change = policy.update(float(now_s), signals)
        if change is not None:
            changes.append(change)
    if large_c < 96:  # warm, and it stays so: nothing to do
        assert changes == []
        return
    check_course(changes, 2, seconds)
    rises_s = [change.time_s for change in changes if change.new == 0]
    gaps_s = [later - earlier for earlier, later in pairwise(rises_s)]
    assert all(later > earlier for earlier, later in pairwise(gaps_s))
    assert gaps_s[-1] > 3600
    assert 2 <= len(changes) <= 18
