"""The figures of a run for Prometheus, https://prometheus.io/docs/instrumenting/exposition_formats/.

The counts live in :class:`~differseg.runtime.metrics.RunMetrics`; ``prometheus_client`` writes the
format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from differseg.runtime.metrics import BOUNDS_MS, Buckets, CameraReport, RunReport

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES = ("online", "stale", "offline", "ended", "black", "frozen", "nan", "ffc")


def exposition(report: RunReport, model: str, viewers: int, more: Iterable[Metric] = ()) -> bytes:
    """Return the page that Prometheus reads.

    Args:
        report: Figures of the moment.
        model: Name of the network, for the label.
        viewers: Streams that are open.
        more: What else there is to say, such as of the board.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Run(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _run(report, model, viewers)
            yield from _times(report)
            yield from _cameras(report.cameras)
            yield from more

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Run())
    return generate_latest(registry)


def _run(report: RunReport, model: str, viewers: int) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    yield InfoMetricFamily("differseg_run", "The run", value={"model": model})
    healthy = float(report.trouble() is None)
    yield GaugeMetricFamily("differseg_healthy", "1 where /healthz says 200", value=healthy)
    seconds = GaugeMetricFamily("differseg_running_seconds", "Time since the start")
    seconds.add_metric([], report.running_s)
    yield seconds
    silent = GaugeMetricFamily("differseg_silent_seconds", "Time since the last result")
    silent.add_metric([], report.silent_s)
    yield silent
    rate = GaugeMetricFamily("differseg_result_rate_hertz", "Results per second, lately")
    rate.add_metric([], report.fps or 0.0)
    yield rate
    yield CounterMetricFamily(
        "differseg_restarts", "Times a supervisor started the run again", value=report.restarts
    )
    yield GaugeMetricFamily("differseg_preview_viewers", "Open streams", value=viewers)
    results = CounterMetricFamily("differseg_results", "Results, by status", labels=["status"])
    for status, number in report.statuses.items():
        results.add_metric([status], number)
    yield results
    area = GaugeMetricFamily(
        "differseg_area_ratio", "Part of the last mask that shows a class", labels=["class"]
    )
    for name, part in (report.last.area_fraction if report.last else {}).items():
        area.add_metric([name], part)
    yield area


def _times(report: RunReport) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily

    stages = HistogramMetricFamily(
        "differseg_stage_seconds", "Time of each stage", labels=["stage"]
    )
    for name, buckets in report.stages.items():
        stages.add_metric([name], *_cumulative(buckets))
    yield stages
    for name, text, values in (
        ("differseg_age_seconds", "From capture to mask", report.age),
        ("differseg_skew_seconds", "Difference in capture time within a pair", report.skew),
    ):
        if values is not None:
            family = HistogramMetricFamily(name, text)
            family.add_metric([], *_cumulative(values))
            yield family


def _cameras(cameras: tuple[CameraReport, ...]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    state = GaugeMetricFamily(
        "differseg_camera_state",
        "1 for the state that the camera is in",
        labels=["camera", "state"],
    )
    silent = GaugeMetricFamily(
        "differseg_camera_silent_seconds", "Time since the last frame", labels=["camera"]
    )
    rate = GaugeMetricFamily("differseg_camera_rate_hertz", "Frames per second", labels=["camera"])
    counters = {
        name: CounterMetricFamily(f"differseg_{name}", text, labels=["camera"])
        for name, text in (
            ("frames_captured", "Frames that reached the process"),
            ("frames_missed", "Frames lost before, where the source numbers them"),
            ("camera_attempts", "Times a lost camera was opened again"),
            ("camera_returns", "Times frames came again after a loss"),
        )
    }
    dropped = CounterMetricFamily(
        "differseg_frames_dropped", "Frames dropped, by cause", labels=["camera", "cause"]
    )
    faulty = CounterMetricFamily(
        "differseg_frames_faulty", "Black, frozen or NaN frames", labels=["camera", "fault"]
    )
    for camera in cameras:
        for each in STATES:
            state.add_metric([camera.name, each], float(camera.state == each))
        silent.add_metric([camera.name], camera.silent_s)
        rate.add_metric([camera.name], camera.fps or 0.0)
        for name, number in (
            ("frames_captured", camera.captured),
            ("frames_missed", camera.missed),
            ("camera_attempts", camera.attempts),
            ("camera_returns", camera.returns),
        ):
            counters[name].add_metric([camera.name], number)
        for cause, number in camera.drops.items():
            dropped.add_metric([camera.name, cause], number)
        for fault, number in camera.faults.items():
            faulty.add_metric([camera.name, fault], number)
    yield from (state, silent, rate, *counters.values(), dropped, faulty)


def _cumulative(values: Buckets) -> tuple[list[tuple[str, float]], float]:
    """Return Prometheus' buckets, each with all values up to its bound, and the sum in seconds."""
    bounds = [*(repr(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    counts = (float(number) for number in accumulate(values.counts))
    return list(zip(bounds, counts, strict=True)), values.total_ms / 1000
