import time
from dataclasses import replace

import numpy as np
import pytest
from fake_cameras import FakeSource

from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.metrics import BOUNDS_MS, CameraReport, RunMetrics, camera_reports
from differseg.runtime.pairing import Pairer
from differseg.runtime.sinks import FrameResult


def open_cameras(rgb=None, thermal=None):
    rgb = (rgb or FakeSource()).open()
    thermal = (thermal or FakeSource("thermal")).open()
    return open_feed(rgb, thermal, Pairer(30, live=True), ThermalWatch(1.0))


@pytest.fixture
def metrics():
    return RunMetrics(open_cameras(), restarts=2)


def result(index=0, status="ok", **changes):
    return FrameResult(index, None, index / 30, status, **changes)


def test_results_are_counted(metrics):
    for k in range(10):
        metrics.observe(result(k, skew_ms=-4.0, age_ms=30.0, stage_ms={"infer": 1.0 + k}))
    metrics.observe(result(10, "nan_output", note="the network gave NaN"))
    report = metrics.report()
    assert report.frames == 11
    assert report.statuses == {"ok": 10, "nan_output": 1}
    assert report.restarts == 2
    assert sum(report.stages["infer"].counts) == 10
    assert report.stages["infer"].total_ms == pytest.approx(55)
    assert sum(report.age.counts) == sum(report.skew.counts) == 10
    assert report.skew.total_ms == pytest.approx(40), "of the absolute skew"
    assert report.last.note == "the network gave NaN"
    assert report.fps > 0
    assert metrics.fps == pytest.approx(report.fps)


def test_buckets_against_numpy(metrics):
    values = np.random.default_rng(0).gamma(1.0, 60.0, 2000)
    values[:5] = BOUNDS_MS[:5]  # a value on a bound belongs below it
    for value in [*values, float("nan")]:
        metrics.observe(result(stage_ms={"infer": float(value)}))
    edges = np.nextafter([*BOUNDS_MS, np.inf], np.inf)
    expected = np.histogram(values, [-1, *edges[:-1], np.inf])[0]
    assert list(metrics.report().stages["infer"].counts) == expected.tolist()


def test_no_array_is_held(metrics):
    metrics.observe(result(mask=np.zeros((2, 2), np.uint8), picture=np.zeros((2, 2, 3), np.uint8)))
    last = metrics.report().last
    assert last.mask is None
    assert last.picture is None


def test_health_over_a_run(metrics):
    assert metrics.report().trouble() == "no result yet"
    metrics.observe(result())
    healthy = metrics.report()
    assert healthy.trouble() is None
    assert replace(healthy, silent_s=12.3).trouble() == "no result for 12 s"
    for status, word in (("hold", "old result"), ("nan_output", "NaN"), ("no_result", "no result")):
        metrics.observe(result(1, status, note="thermal lost"))
        assert word in metrics.report().trouble()
    metrics.observe(result(2, "rgb_only", note="thermal ended after 3 frames"))
    report = metrics.report()
    assert report.trouble() is None, "a mode that was chosen"
    assert report.degraded() == "thermal ended after 3 frames"


def camera(name="rgb", state="online", reason=None):
    return CameraReport(name, "fake", state, reason, 30.0, 0.0, 1, 0, 0, 0, {}, {})


@pytest.mark.parametrize(
    ("cameras", "trouble", "degraded"),
    [
        ([camera(), camera("thermal")], None, None),
        (
            [camera(state="offline", reason="unplugged")],
            "the RGB camera is offline (unplugged)",
            "",
        ),
        ([camera(), camera("thermal", "offline")], None, "thermal offline"),
        ([camera(), camera("thermal", "ffc")], None, None),
        ([camera(state="frozen"), camera("thermal")], None, "rgb frozen"),
    ],
)
def test_cameras_in_the_verdict(metrics, cameras, trouble, degraded):
    metrics.observe(result())
    report = replace(metrics.report(), cameras=tuple(cameras))
    assert report.trouble() == trouble
    if degraded != "":
        assert report.degraded() == degraded


def test_camera_states_come_from_the_feed():
    feed = open_cameras(FakeSource(fps=200), FakeSource("thermal", fps=200, fail_at=5))
    assert [c.name for c in camera_reports(feed)] == ["rgb", "thermal"]
    feed.start()
    try:
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            rgb, thermal = camera_reports(feed)
            if thermal.state == "offline" and rgb.captured > 20:
                break
            time.sleep(0.01)
        assert rgb.state == "online"
        assert rgb.fps == pytest.approx(200, rel=0.5)
        assert rgb.reason is None
        assert thermal.state == "offline"
        assert thermal.captured == 5
        assert "pulled out" in thermal.reason
        assert thermal.fps is None
    finally:
        feed.close()


def test_a_frozen_camera_is_called_so():
    feed = open_cameras(FakeSource(fps=200, repeat_image_from=0))
    feed.start()
    try:
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s and camera_reports(feed)[0].state != "frozen":
            time.sleep(0.01)
        report = camera_reports(feed)[0]
        assert report.state == "frozen"
        assert report.faults["frozen"] > 0
    finally:
        feed.close()
