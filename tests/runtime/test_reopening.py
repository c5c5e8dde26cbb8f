"""Cameras that are unplugged, silent or replaced, with threads: they are opened again."""

import gc
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
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.sources import Frame


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
