"""States of a camera and attempts to reopen it: first the logic, then with threads and cameras."""

import gc
import random
import threading
import time

import numpy as np
import psutil
import pytest
from fake_cameras import FakeSegmenter, ListSink
from pluggable_camera import PluggableCamera

from differseg.errors import SourceError
from differseg.runtime.capture import Capture
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.health import FrameHealth
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.sources import Frame
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


def wait_for(condition, timeout_s=5.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.002)


def handles():
    gc.collect()
    return psutil.Process().num_fds(), set(threading.enumerate())


class Run:
    """A feed of two cameras and the thread that takes from it."""

    def __init__(self, rgb, thermal, **options):
        self.rgb, self.thermal = rgb, thermal
        rgb.open()
        thermal.open()
        self.feed = open_feed(rgb, thermal, Pairer(30.0), ThermalWatch(0.5), **options)
        self.deliveries, self.error = [], None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self.feed.start()
        self._thread.start()

    def _take(self):
        try:
            while not self._stop.is_set() and not self.feed.ended:
                delivery = self.feed.take(0.05)
                if delivery is not None:
                    self.deliveries.append(delivery)
        except SourceError as error:
            self.error = error

    def state(self, name):
        return getattr(self.feed, name).check()

    def join(self):
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self):
        self._stop.set()
        self.join()
        return self.feed.close()

    def check_that_nothing_was_invented(self):
        for camera in (self.rgb, self.thermal):
            assert not camera.opened_twice
            seen = [getattr(d.pair, camera.modality) for d in self.deliveries]
            for frame in filter(None, seen):
                number = camera.given[frame.timestamp_s]
                shown = frame.image.max() - (60 if camera.modality == "rgb" else 29000)
                assert shown == number % (180 if camera.modality == "rgb" else 5000)
        indices = [d.pair.rgb.index for d in self.deliveries]
        assert indices == sorted(set(indices)), "frames are numbered on over a reopening"


def test_fifty_times_unplugged_and_plugged_in():
    before = handles()
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal"))
    back_s = []
    wait_for(lambda: len(run.deliveries) > 3)
    for k in range(100):
        name = ("rgb", "thermal")[k % 2]
        camera = getattr(run, name)
        camera.unplug()
        wait_for(lambda: run.state(name) == "offline", 1.0)  # noqa: B023
        if name == "thermal":
            wait_for(lambda: run.deliveries[-1].thermal_lost is not None, 1.0)
        camera.plug_in()
        since_s = time.monotonic()
        wait_for(lambda: run.state(name) == "online", 2.0)  # noqa: B023
        back_s.append(time.monotonic() - since_s)
    count = len(run.deliveries)
    wait_for(lambda: len(run.deliveries) > count + 3)
    assert run.close() == []
    assert run.error is None
    assert max(back_s) < 1.0
    for capture in run.feed.captures:
        assert capture.supervisor.counts["offline"] == capture.supervisor.counts["returns"] == 50
        assert len(capture.supervisor.events) == 100
        assert capture.error is None
    run.check_that_nothing_was_invented()
    lost = [d for d in run.deliveries if d.thermal_lost is not None]
    assert lost
    assert all(d.cameras["thermal"] == "offline" and d.pair.thermal is None for d in lost)
    assert all("pulled out" in d.thermal_lost or "no such" in d.thermal_lost for d in lost)
    assert handles() == before


def test_a_camera_that_cannot_say_that_it_is_back_is_found_by_the_schedule():
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal", tells=False))
    wait_for(lambda: len(run.deliveries) > 3)
    run.thermal.unplug()
    wait_for(lambda: run.state("thermal") == "offline")
    wait_for(lambda: len(run.thermal.opens) >= 3)
    run.thermal.plug_in()
    wait_for(lambda: run.state("thermal") == "online")
    run.close()
    first, second, third, *_ = run.thermal.opens
    assert second - first > 0.4
    assert 0.7 < third - second < 1.6
    run.check_that_nothing_was_invented()


def test_a_silent_camera_is_interrupted_and_opened_again(monkeypatch):
    monkeypatch.setattr("differseg.runtime.supervision.STALE_AFTER_S", 0.2)
    monkeypatch.setattr("differseg.runtime.supervision.OFFLINE_AFTER_S", 0.4)
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal"))
    wait_for(lambda: len(run.deliveries) > 3)
    run.thermal.silence()
    wait_for(lambda: len(run.thermal.opens) >= 2)
    run.thermal.plug_in()
    wait_for(lambda: run.state("thermal") == "online")
    run.close()
    words = [(e.before, e.after) for e in run.feed.thermal.supervisor.events]
    assert words == [("online", "stale"), ("stale", "offline"), ("offline", "online")]


def test_rgb_policy_stop_gives_up_after_a_while(monkeypatch):
    monkeypatch.setattr("differseg.runtime.feed_base.RGB_SILENT_S", 0.7)
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal"))
    wait_for(lambda: len(run.deliveries) > 3)
    run.rgb.unplug()
    run.join()
    run.close()
    assert "did not come back within" in str(run.error)
    assert "--on-rgb-loss wait" in str(run.error)


def test_rgb_policy_wait_goes_on_trying_and_thermal_is_not_blamed(monkeypatch):
    monkeypatch.setattr("differseg.runtime.feed_base.RGB_SILENT_S", 0.3)
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal", fps=100.0), on_rgb_loss="wait")
    wait_for(lambda: len(run.deliveries) > 3)
    run.rgb.unplug()
    wait_for(lambda: run.state("rgb") == "offline")
    time.sleep(0.8)  # longer than the thermal camera's patience of 0.5 s
    count = len(run.deliveries)
    run.rgb.plug_in()
    wait_for(lambda: len(run.deliveries) > count + 10)
    run.close()
    assert run.error is None
    assert all(d.thermal_lost is None for d in run.deliveries)
    run.check_that_nothing_was_invented()


def test_the_time_without_rgb_is_not_held_against_the_thermal_camera():
    """Delivered by hand: RGB comes back after 5 s, and its first frames find no partner."""
    run = open_feed(
        PluggableCamera("rgb"), PluggableCamera("thermal"), Pairer(30.0), ThermalWatch(0.5)
    )
    image = np.zeros((4, 4), np.uint8)
    run._thermal_came(Frame(image, 10.0, 0))
    run._rgb_came(Frame(image, 10.0, 0))
    assert run.take(0.0).pair.thermal is not None
    run.rgb.supervisor.counts["returns"] += 1
    for k in range(8):
        run._rgb_came(Frame(image, 15.0 + k / 20, 1 + k))
    assert run.take(0.0) is None
    assert run.drops["no_thermal_in_tolerance"] > 3
    for k in range(4):
        run._rgb_came(Frame(image, 15.7 + k / 20, 9 + k))
    assert run.take(0.0).thermal_lost.startswith("gave no frame"), "but later it is lost"


def test_a_stop_while_a_camera_is_away_is_quick_and_leaves_nothing():
    before = handles()
    run = Run(PluggableCamera("rgb"), PluggableCamera("thermal"))
    wait_for(lambda: len(run.deliveries) > 3)
    run.thermal.unplug()
    wait_for(lambda: run.state("thermal") == "offline")
    start_s = time.monotonic()
    assert run.close() == []
    assert time.monotonic() - start_s < 1.0
    assert handles() == before


def test_a_driver_that_comes_back_after_the_end_closes_its_own_device(monkeypatch):
    monkeypatch.setattr("differseg.runtime.capture.JOIN_TIMEOUT_S", 0.1)
    before = handles()
    camera, release = PluggableCamera("rgb"), threading.Event()
    camera.open()
    camera.read = lambda: release.wait(10) and None
    done = threading.Event()
    capture = Capture(camera, lambda _: None, done.set)
    capture.start()
    assert not capture.close()
    assert handles() != before
    release.set()
    assert done.wait(5)
    wait_for(lambda: handles() == before)


def test_a_mistake_behind_the_camera_ends_the_run_and_is_not_retried():
    camera, done = PluggableCamera("rgb"), threading.Event()
    camera.open()

    def deliver(_):
        raise ValueError("a bug")

    capture = Capture(camera, deliver, done.set)
    capture.start()
    assert done.wait(5)
    capture.close()
    assert "a bug" in str(capture.error)
    assert capture.check() == "offline"
    assert len(camera.opens) == 1


class Replug(ListSink):
    """Unplugs the thermal camera after ten results, and plugs it in after ten more."""

    def __init__(self, camera):
        super().__init__()
        self._camera = camera

    def write(self, result):
        super().write(result)
        if len(self.results) == 10:
            self._camera.unplug()
        if [r.status for r in self.results].count("ok") + 10 < len(self.results):
            self._camera.plug_in()


@pytest.mark.parametrize(("policy", "status"), [("rgb_only", "rgb_only"), ("hold", "hold")])
def test_a_run_goes_on_without_thermal_and_takes_it_up_again(policy, status):
    rgb, thermal, stop = PluggableCamera("rgb"), PluggableCamera("thermal"), threading.Event()
    rgb.open()
    thermal.open()
    sink = Replug(thermal)
    feed = open_feed(rgb, thermal, Pairer(30.0), ThermalWatch(0.5))
    run = Pipeline(FakeSegmenter(), feed, [sink], on_thermal_loss=policy, stop=stop)

    def stop_when_it_is_back():
        def back():
            return len(sink.results) > 30 and sink.results[-1].status == "ok"

        wait_for(back, 10.0)
        stop.set()

    watcher = threading.Thread(target=stop_when_it_is_back)
    watcher.start()
    _, error = run.run()
    watcher.join()
    assert error is None
    statuses = [r.status for r in sink.results]
    first, last = statuses.index(status), len(statuses) - statuses[::-1].index(status)
    assert set(statuses[:first]) == {"ok"}
    assert set(statuses[first:last]) == {status}
    assert set(statuses[last:]) == {"ok"}
    assert all("pulled out" in r.note or "no such" in r.note for r in sink.results[first:last])


def test_policy_stop_ends_with_the_camera():
    rgb, thermal = PluggableCamera("rgb"), PluggableCamera("thermal")
    rgb.open()
    thermal.open()
    feed = open_feed(rgb, thermal, Pairer(30.0), ThermalWatch(0.5))
    _, error = Pipeline(FakeSegmenter(), feed, [Replug(thermal)]).run()
    assert "thermal camera failed (pluggable thermal: " in str(error)
