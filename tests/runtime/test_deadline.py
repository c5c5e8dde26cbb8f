"""Which frames are worth computing."""

from __future__ import annotations

import pytest

from differseg.runtime.deadline import Deadline


def test_without_a_limit_nothing_is_too_late() -> None:
    deadline = Deadline(None)
    deadline.took(500.0)
    assert not deadline.too_late(1e6)
    assert not deadline.missed(1e6)


def test_the_expected_duration_counts() -> None:
    deadline = Deadline(100.0)
    assert not deadline.too_late(99.0)  # nothing is known yet
    deadline.took(40.0)
    assert not deadline.too_late(60.0)
    assert deadline.too_late(60.1)


def test_durations_are_smoothed() -> None:
    deadline = Deadline(100.0)
    deadline.took(20.0)
    deadline.took(70.0)
    assert deadline.usual_ms == pytest.approx(30.0)
    for _ in range(60):
        deadline.took(10.0)
    assert deadline.usual_ms == pytest.approx(10.0, abs=0.1)


def test_one_of_many_is_tried_all_the_same() -> None:
    deadline = Deadline(30.0)
    deadline.took(50.0)
    assert [deadline.too_late(0.0) for _ in range(93)].count(False) == 3
    deadline.took(-1e3)  # the network is fast again
    assert not deadline.too_late(0.0)


def test_results_are_judged_by_their_age() -> None:
    deadline = Deadline(30.0)
    assert not deadline.missed(30.0)
    assert deadline.missed(30.1)


def test_a_much_faster_network_is_believed_at_once():
    """Such as the smaller model of a hot board."""
    deadline = Deadline(100)
    for _ in range(20):
        deadline.took(200)
    assert deadline.too_late(5)
    deadline.took(60)
    assert deadline.usual_ms == pytest.approx(60)
    assert not deadline.too_late(5)
