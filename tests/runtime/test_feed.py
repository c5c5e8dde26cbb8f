"""Capture threads and feeds: nothing lost in recordings, newest first live, clean ends."""

import threading
import time

import numpy as np
import pytest
from fake_cameras import FakeSource

from differseg.errors import InputError, SourceError
from differseg.runtime import capture as capture_module
from differseg.runtime.capture import Capture
from differseg.runtime.feed import LiveFeed, RecordedFeed, ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.sources import Frame


def feed_of(rgb, thermal=None, *, tolerance_ms=30.0, timeout_s=0.3, offset_ms=0.0):
    pairer = None
    if thermal is not None:
        pairer = Pairer(tolerance_ms, offset_ms, live=rgb.live)
        thermal.open()
    return open_feed(rgb.open(), thermal, pairer, ThermalWatch(timeout_s))


def drain(feed, consume_s=0.0, limit=10_000, into=None):
    out = [] if into is None else into
    feed.start()
    while len(out) < limit:
        delivery = feed.take(0.2)
        if delivery is not None:
            out.append(delivery)
            time.sleep(consume_s)
        elif feed.ended:
            break
    return out


def books_are_right(feed, delivered):
    """What was captured was delivered or has a cause."""
    refused = 0
    if feed.pairer is not None:
        causes = ("out_of_order", "duplicate", "bad_timestamp")
        refused = sum(feed.pairer.counts["rgb", cause] for cause in causes)
    return feed.rgb.captured == delivered + feed.drops.total() + refused


def test_recorded_frames_all_come_in_order():
    feed = feed_of(FakeSource(live=False, count=50), FakeSource("thermal", live=False, count=50))
    assert isinstance(feed, RecordedFeed)
    out = drain(feed, consume_s=0.001)
    feed.close()
    assert [d.pair.rgb.index for d in out] == list(range(50))
    assert [d.pair.thermal.index for d in out] == list(range(50))
    assert feed.drops.total() == 0


def test_recorded_rgb_alone():
    feed = feed_of(FakeSource(live=False, count=20))
    out = drain(feed)
    feed.close()
    assert [d.pair.rgb.index for d in out] == list(range(20))
    assert all(d.pair.thermal is None and d.thermal_lost is None for d in out)


@pytest.mark.parametrize("consume_s", [0.0, 0.02])
def test_recorded_result_does_not_depend_on_speed(consume_s):
    thermal = FakeSource("thermal", live=False, count=10, fps=27.0, shift_s=0.004)
    feed = feed_of(FakeSource(live=False, count=20, fps=60.0), thermal, tolerance_ms=20)
    out = drain(feed, consume_s=consume_s)
    feed.close()
    pairs = [(d.pair.rgb.index, d.pair.thermal and d.pair.thermal.index) for d in out]
    assert pairs[:6] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert books_are_right(feed, len(out))


def test_a_slow_consumer_gets_the_newest_and_every_drop_has_a_cause():
    """100 Hz in, about 20 Hz out: at most one waits, and what comes is fresh."""
    feed = feed_of(FakeSource(fps=100, count=120), FakeSource("thermal", fps=50, count=60))
    assert isinstance(feed, LiveFeed)
    ages_s, depths, delivered = [], [], []
    feed.start()
    while not feed.ended:
        delivery = feed.take(0.2)
        if delivery is None:
            continue
        ages_s.append(time.monotonic() - delivery.pair.rgb.timestamp_s)
        delivered.append(delivery.pair.rgb.index)
        time.sleep(0.05)
        depths.append(feed.depth)
    feed.close()
    assert max(depths) <= 1
    assert delivered == sorted(set(delivered))
    assert 8 <= len(delivered) <= 40
    assert feed.drops["consumer_busy"] > 40
    assert books_are_right(feed, len(delivered))
    # One period of the camera, the wait for the thermal partner, and a busy test machine.
    assert sorted(ages_s)[len(ages_s) // 2] < 0.06


def test_rgb_frames_that_one_late_thermal_frame_decides_are_superseded_by_the_newest():
    """Delivered by hand: three RGB frames wait, then their common thermal frame comes."""
    feed = feed_of(FakeSource(), FakeSource("thermal"), offset_ms=50.0, tolerance_ms=20)
    image = np.zeros((4, 4), np.uint8)
    feed._thermal_came(Frame(image, 9.95, 0))
    feed._thermal_came(Frame(image, 10.05, 1))
    for k, time_s in enumerate((10.09, 10.10, 10.11)):
        feed._rgb_came(Frame(image, time_s, k))
        assert feed.depth == 0
    feed._thermal_came(Frame(image, 10.15, 2))
    assert feed.depth == 1
    assert +feed.drops == {"superseded": 2}
    delivery = feed.take(0.0)
    assert (delivery.pair.rgb.index, delivery.pair.thermal.index) == (2, 2)
    assert delivery.pair.skew_ms == pytest.approx(-10)
    for source in feed.captures:
        source.source.close()


def test_live_rgb_alone_keeps_only_the_newest():
    feed = feed_of(FakeSource(fps=200, count=60))
    out = drain(feed, consume_s=0.03)
    feed.close()
    assert len(out) < 30
    assert out[-1].pair.rgb.index == 59
    assert books_are_right(feed, len(out))


@pytest.mark.parametrize("live", [True, False])
def test_a_failing_rgb_source_raises_after_its_last_frame(live):
    feed = feed_of(FakeSource(live=live, fail_at=5))
    seen = []
    with pytest.raises(SourceError, match="fake rgb: pulled out"):
        drain(feed, into=seen)
    feed.close()
    assert seen[-1].pair.rgb.index == 4


def test_a_surprise_in_a_driver_becomes_one_line():
    source = FakeSource()
    source.read = lambda: 1 / 0
    feed = feed_of(source)
    with pytest.raises(SourceError, match="fake rgb: division by zero"):
        drain(feed)
    feed.close()


@pytest.mark.parametrize("live", [True, False])
def test_thermal_that_ends_early_is_reported_with_the_rgb_frames(live):
    fps = 100.0
    feed = feed_of(
        FakeSource(live=live, fps=fps, count=40),
        FakeSource("thermal", live=live, fps=fps, count=10),
        tolerance_ms=5,
    )
    out = drain(feed)
    feed.close()
    lost = [d for d in out if d.thermal_lost is not None]
    assert len(lost) > 10
    assert all(d.thermal_lost == "ended after 10 frames" for d in lost)
    assert all(d.pair.thermal is None for d in lost), "no old frame passed off as a partner"
    assert books_are_right(feed, len(out))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"silent_from": 0}, "gave no frame for"),
        ({"silent_from": 20}, "gave no frame within the tolerance for"),
        ({"fail_at": 20}, "failed (fake thermal: pulled out)"),
        ({"shift_s": 0.2}, "gave no frame within the tolerance for"),
    ],
)
def test_reasons_for_a_lost_thermal_camera(options, words):
    feed = feed_of(
        FakeSource(fps=100, count=90), FakeSource("thermal", fps=100, **options), timeout_s=0.2
    )
    out = drain(feed)
    feed.close()
    lost = [d for d in out if d.thermal_lost is not None]
    assert lost
    assert lost[-1].thermal_lost.startswith(words)
    first_alone_s = lost[0].pair.rgb.timestamp_s - out[0].pair.rgb.timestamp_s
    if "fail_at" not in options:
        assert feed.drops["no_thermal_in_tolerance"] > 5, "not lost at once"
        assert first_alone_s > 0.15 or out[0] is lost[0]
    assert books_are_right(feed, len(out))


def test_a_short_gap_is_not_a_loss():
    """A shutter pause of 0.2 s, shorter than the timeout: frames are dropped, not degraded."""

    class Shutter(FakeSource):
        def read(self):
            if self.reads == 20:
                time.sleep(0.2)
            return super().read()

    feed = feed_of(
        FakeSource(fps=100, count=90), Shutter("thermal", fps=100, count=90), timeout_s=0.5
    )
    out = drain(feed)
    feed.close()
    assert all(d.pair.thermal is not None for d in out[:-3])
    assert feed.drops["no_thermal_in_tolerance"] > 3


def test_live_and_recorded_do_not_mix():
    with pytest.raises(InputError, match=r"fake rgb is live but fake thermal is recorded.*--live"):
        feed_of(FakeSource(), FakeSource("thermal", live=False))


def test_closing_in_the_middle_leaves_nothing():
    before = set(threading.enumerate())
    for live in (True, False):
        for _ in range(5):
            rgb, thermal = FakeSource(live=live), FakeSource("thermal", live=live)
            feed = feed_of(rgb, thermal)
            delivered = len(drain(feed, limit=3))
            assert feed.close() == []
            assert not rgb.is_open
            assert not thermal.is_open
            assert books_are_right(feed, delivered)
    assert set(threading.enumerate()) == before


def test_a_driver_that_never_comes_back_is_left_behind(monkeypatch):
    monkeypatch.setattr(capture_module, "JOIN_TIMEOUT_S", 0.1)
    source = FakeSource()
    release = threading.Event()
    source.read = lambda: release.wait(10) and None
    feed = feed_of(source)
    feed.start()
    start_s = time.monotonic()
    assert feed.close() == ["fake rgb: the driver did not come back and was left behind"]
    assert time.monotonic() - start_s < 2
    assert source.is_open, "closing under a running read could crash the process"
    release.set()


def test_silent_rgb_is_a_failure(monkeypatch):
    monkeypatch.setattr("differseg.runtime.feed_base.RGB_SILENT_S", 0.2)
    feed = feed_of(FakeSource(silent_from=3))
    with pytest.raises(SourceError, match="no frame for"):
        drain(feed)
    feed.close()


def test_capture_measures_rate_and_missing_frames():
    source = FakeSource(fps=50, count=30)
    plain_read = source.read

    def skipping():
        if source.reads == 10:
            source.reads += 4
        return plain_read()

    source.read = skipping
    got, done = [], threading.Event()
    capture = Capture(source.open(), got.append, done.set)
    capture.start()
    assert done.wait(5)
    capture.close()
    assert len(got) == capture.captured == 26
    assert capture.missed == 4
    assert capture.fps == pytest.approx(50, rel=0.2)
    assert capture.done
    assert capture.error is None


class Stepping(FakeSource):
    """A thermal camera whose clock is set forward by a second after its 40th frame."""

    def read(self):
        frame = super().read()
        if frame is None or frame.index < 40:
            return frame
        return Frame(frame.image, frame.timestamp_s + 1.0, frame.index)


def test_a_clock_that_steps_forward_is_named_and_gives_no_false_pairs():
    """A pause would bring late stamps; the frames' arrival tells it from a step."""
    rgb, thermal = FakeSource(fps=50, count=110), Stepping("thermal", fps=50)
    thermal.open()
    feed = open_feed(rgb.open(), thermal, Pairer(10), ThermalWatch(0.2))
    feed.start()
    pairs, reasons = [], set()
    while not feed.ended:
        delivery = feed.take(0.05)
        if delivery is None:
            continue
        if delivery.thermal_lost is None:
            pairs.append(delivery.pair)
        else:
            reasons.add(delivery.thermal_lost)
    feed.close()
    assert len(pairs) > 20
    assert all(abs(pair.rgb.index - pair.thermal.index) <= 1 for pair in pairs)
    assert max(pair.rgb.index for pair in pairs) <= 41
    assert any("clock has stepped by +1.0" in reason for reason in reasons), reasons
