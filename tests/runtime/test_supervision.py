"""States of a camera and the times of attempts to reopen it: the logic, without threads."""

import random

import numpy as np
import pytest

from differseg.runtime.health import FrameHealth
from differseg.runtime.supervision import ATTEMPTS_AFTER_S, CameraEvent, CameraSupervisor


def online(until_s=10.0, fps=10.0, **options):
    """Return a supervisor that has seen frames from 0 to ``until_s``."""
    supervisor = CameraSupervisor("rgb", random.Random(0))
    supervisor.opened(0.0, fps=fps, **options)
    for k in range(round(until_s * fps) + 1):
        supervisor.frame(k / fps)
    return supervisor


def changes(supervisor):
    return [(round(e.time_s, 6), e.before, e.after) for e in supervisor.events]


def attempts(supervisor, start_s, count, presence=None, step_s=0.01):
    """Return when attempts are made that all fail."""
    now_s, times_s = start_s, []
    while len(times_s) < count:
        if supervisor.attempt_due(now_s, presence):
            times_s.append(now_s)
            supervisor.attempt_failed(now_s)
        now_s += step_s
    return times_s


def test_silence_makes_a_camera_stale_and_then_offline():
    supervisor = online(10.0)
    for now_s, state in [(10.5, "online"), (11.0, "online"), (11.01, "stale"), (12.9, "stale"),
                         (13.0, "stale"), (13.01, "offline"), (20.0, "offline")]:  # fmt: skip
        assert supervisor.tick(now_s) == state
    assert changes(supervisor) == [(11.0, "online", "stale"), (13.0, "stale", "offline")]
    assert supervisor.events[0].reason == "no frame for 1 s"


def test_changes_are_dated_to_when_they_were_due_however_late_somebody_looks():
    supervisor = online(10.0)
    supervisor.frame(30.0)
    assert changes(supervisor) == [
        (11.0, "online", "stale"),
        (13.0, "stale", "offline"),
        (30.0, "offline", "online"),
    ]
    assert supervisor.events[-1].reason == "a frame came after 20.00 s"
    assert supervisor.counts == {"stale": 1, "offline": 1, "returns": 1}


def test_a_failure_is_offline_at_once():
    supervisor = online(10.0)
    supervisor.failed(10.05, "pulled out")
    assert supervisor.state == "offline"
    assert list(supervisor.events) == [CameraEvent(10.05, "rgb", "online", "offline", "pulled out")]
    assert supervisor.tick(60.0) == "offline"
    assert len(supervisor.events) == 1


def test_a_slow_camera_has_longer_limits():
    supervisor = online(10.0, fps=0.5)
    assert supervisor.tick(15.9) == "online"
    assert supervisor.tick(16.1) == "stale"
    assert supervisor.tick(22.1) == "offline"


def test_an_end_is_no_loss():
    supervisor = online(10.0)
    supervisor.ended(10.1)
    assert supervisor.tick(99.0) == "ended"
    assert not supervisor.overdue(99.0)


def test_attempts_follow_the_schedule_with_jitter():
    gaps = []
    for seed in range(20):
        supervisor = CameraSupervisor("rgb", random.Random(seed))
        supervisor.opened(0.0)
        supervisor.failed(1.0, "gone")
        times_s = [1.0, *attempts(supervisor, 1.0, 8)]
        gaps.append(np.diff(times_s))
    expected = np.array([*ATTEMPTS_AFTER_S, 8.0, 8.0, 8.0])
    assert list(expected[:5]) == [0.5, 1.0, 2.0, 4.0, 8.0]
    ratio = np.array(gaps) / expected
    assert ratio.min() > 0.79
    assert ratio.max() < 1.23
    assert ratio.std() > 0.08, "two cameras do not ask in step"
    assert supervisor.counts["attempts"] == 8


def test_equal_seeds_give_equal_attempts():
    times = []
    for _ in range(2):
        supervisor = online(1.0)
        supervisor.failed(1.0, "gone")
        times.append(attempts(supervisor, 1.0, 5))
    assert times[0] == times[1]


def test_a_device_that_comes_back_is_tried_at_once_and_the_schedule_begins_anew():
    supervisor = online(10.0, presence="node 1")
    supervisor.failed(10.0, "gone")
    attempts(supervisor, 10.0, 5)
    assert not supervisor.attempt_due(29.0, None)
    assert supervisor.attempt_due(29.05, "node 2")
    supervisor.attempt_failed(29.05)
    again_s = attempts(supervisor, 29.05, 1, "node 2")[0]
    assert 29.05 + 0.39 < again_s < 29.05 + 0.62


def test_a_device_that_was_replaced_between_two_looks_is_tried_at_once():
    supervisor = online(10.0, presence="node 1")
    supervisor.failed(10.0, "gone")
    assert not supervisor.attempt_due(10.01, "node 1")
    assert supervisor.attempt_due(10.02, "node 2")


def test_a_device_that_changes_all_the_time_is_not_tried_all_the_time():
    supervisor = online(10.0, presence=0)
    supervisor.failed(10.0, "gone")
    made = 0
    for k in range(100):
        if supervisor.attempt_due(10.0 + k / 100, k):
            supervisor.attempt_failed(10.0 + k / 100)
            made += 1
    assert 2 <= made <= 5


def test_an_opening_without_a_frame_is_no_return():
    supervisor = online(10.0)
    supervisor.failed(10.0, "gone")
    attempts(supervisor, 10.0, 2)
    assert supervisor.attempt_due(15.0, None)
    supervisor.opened(15.0)
    assert supervisor.tick(15.5) == "offline"
    assert supervisor.overdue(18.1)
    supervisor.failed(18.1, "gave no frame")
    assert attempts(supervisor, 18.1, 1)[0] > 18.1 + 3.1, "the schedule goes on"
    supervisor.opened(25.0)
    supervisor.frame(25.2)
    assert supervisor.state == "online"
    supervisor.failed(26.0, "gone again")
    assert attempts(supervisor, 26.0, 1)[0] < 26.0 + 0.62, "and begins anew after a frame"


def test_events_are_bounded():
    supervisor = online(1.0)
    for k in range(1000):
        supervisor.failed(2.0 + k, "gone")
        supervisor.opened(2.5 + k)
        supervisor.frame(2.6 + k)
    assert len(supervisor.events) == 200
    assert supervisor.counts["offline"] == supervisor.counts["returns"] == 1000


def thermal_camera(times_and_pictures):
    """Return the supervisor and health of a camera that gives numbered pictures at times."""
    supervisor = CameraSupervisor("thermal", random.Random(0))
    health = FrameHealth(shutter=True)
    supervisor.opened(0.0, fps=30)
    for time_s, picture in times_and_pictures:
        image = np.full((24, 32), 29000 + picture, np.uint16)
        supervisor.frame(time_s, health.update(image, time_s), health.pause_s)
    return supervisor, health


def with_pause(fps, pause_s, *, repeats, seconds=3.0):
    """A second of pictures, a pause in which the picture is repeated or none comes, and more."""
    frames, period_s, last = [], 1 / fps, 0
    for k in range(round(seconds * fps)):
        time_s = k * period_s
        if 1.0 + 1e-9 < time_s < 1.0 + pause_s - 1e-9:
            if repeats:
                frames.append((time_s, last))
            continue
        last = k
        frames.append((time_s, k))
    return frames


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize(("fps", "pause_s"), [(30, 0.1), (30, 0.4), (60, 0.25), (10, 0.6), (30, 1)])
def test_a_shutter_pause_is_seen_and_is_no_fault(repeats, fps, pause_s):
    supervisor, health = thermal_camera(with_pause(fps, pause_s, repeats=repeats))
    assert supervisor.counts == {"ffc": 1}
    (event,) = supervisor.events
    assert (event.camera, event.before, event.after) == ("thermal", "ok", "ffc")
    assert event.time_s == pytest.approx(1.0 + pause_s, abs=1e-6)
    assert event.reason == f"shutter pause of {pause_s:.2f} s"
    assert health.counts == {}


def test_a_longer_pause_is_frozen_or_stale():
    supervisor, health = thermal_camera(with_pause(30, 1.5, repeats=True))
    assert health.counts["frozen"] > 10
    assert supervisor.counts == {"frozen": 1}
    assert [(e.before, e.after) for e in supervisor.events] == [("ok", "frozen"), ("frozen", "ok")]
    supervisor, _ = thermal_camera(with_pause(30, 1.5, repeats=False))
    assert supervisor.counts == {"stale": 1, "returns": 1}


def test_a_lost_frame_and_a_camera_that_repeats_are_no_pause():
    frames = [(k / 10, k) for k in range(40) if k not in (15, 25)]
    assert thermal_camera(frames)[0].counts == {}
    thirds = [(k / 27, k // 3) for k in range(100)]  # a Lepton: 27 Hz, 9 of them new
    assert thermal_camera(thirds)[0].counts == {}


def test_an_rgb_camera_has_no_shutter_pauses():
    health = FrameHealth()
    for time_s, picture in with_pause(30, 0.4, repeats=True):
        health.update(np.full((48, 64, 3), 60 + picture, np.uint8), time_s)
        assert health.pause_s is None
