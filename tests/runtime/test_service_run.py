"""A camera run as a service: watched, supervised, and with its notes as log lines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_cameras import FakeSegmenter, FakeSource, ListSink

from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.run_camera import main
from differseg.runtime.service.watchdog import WATCHDOG_STATUS, ProgressWatch, Watchdog


class Hanging(FakeSegmenter):
    """Never gives its fourth result, until it is let go."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.release = threading.Event()

    def end(self, begun: Any) -> Any:
        if len(self.calls) == 3:
            self.release.wait(60)
        return super().end(begun)


@pytest.mark.parametrize("slots", [1, 2])
def test_a_network_that_never_answers_ends_the_process(slots: int, caplog: Any) -> None:
    segmenter, sink, watch = Hanging(slots), ListSink(), ProgressWatch(0.5, 0.5)
    ended: list[int] = []

    def end_process(status: int) -> None:
        ended.append(status)
        segmenter.release.set()

    feed = open_feed(FakeSource(live=False, fps=100, count=8).open(), None, None, ThermalWatch(1.0))
    pipeline = Pipeline(segmenter, feed, [sink], watch=watch)
    with Watchdog(watch, rescue=pipeline.rescue, end_process=end_process, poll_s=0.05):
        pipeline.run()
    assert ended == [WATCHDOG_STATUS]
    assert "no result for" in caplog.text
    assert len(sink.results) >= 3  # what was there is safe
    assert sink.closed == 1


def test_cameras_that_give_nothing_are_no_hang() -> None:
    watch, ended = ProgressWatch(0.2, 0.2), []
    source = FakeSource(fps=100, count=5)
    feed = open_feed(source.open(), None, None, ThermalWatch(1.0))
    stop = threading.Event()
    pipeline = Pipeline(FakeSegmenter(), feed, [ListSink()], watch=watch, stop=stop)
    source.read = lambda: time.sleep(0.8)  # and then it has ended
    with Watchdog(watch, end_process=ended.append, poll_s=0.05):
        summary, error = pipeline.run()
    assert (summary.frames, error, ended) == (0, None, [])


def command(model: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "differseg.cli", "run", "--model", str(model), "--headless",
        "--rgb", "synthetic:size=96x64", "--thermal", "synthetic:size=96x64", *more,
    ]  # fmt: skip


def test_a_supervised_run_ends_within_two_seconds_of_a_signal(
    tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        command(tiny_model, "--supervise", "--out", str(out), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline_s = time.monotonic() + 60
        while not (out / "results.jsonl").exists() or not (out / "results.jsonl").stat().st_size:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    summary = json.loads(said.splitlines()[-1])
    assert summary["end"] == "a stop was asked for"
    assert summary["restarts"] == 0


def test_notes_become_log_lines(tiny_model: Path) -> None:
    done = subprocess.run(
        command(tiny_model, "--log", "json", "--frames", "3"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("own homography" in line["message"] for line in lines)
    assert {line["level"] for line in lines} <= {"info", "warning"}
    assert done.stdout.startswith("3 frames")


def test_a_wrong_option_is_not_tried_again(tiny_model: Path, capfd: Any) -> None:
    done = subprocess.run(
        [*command(tiny_model, "--supervise"), "--registration", "missing.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("error[") == 1
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--supervise" in capfd.readouterr().out
