"""What a run says while it goes on: notes, changes of the cameras, a registration that moved."""

import logging
import threading

import numpy as np
from fake_cameras import FakeSegmenter, FakeSource, ListSink
from pluggable_camera import PluggableCamera

from differseg.runtime.console import RunConsole
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline, RunLimits
from differseg.runtime.registration import Registration
from differseg.runtime.run_listener import ConsoleListener, LogListener, RunListener
from differseg.runtime.service.notify import Notifier
from differseg.runtime.supervision import CameraEvent

LOST = CameraEvent(1.0, "thermal", "online", "offline", "no frame for 3 s")
BACK = CameraEvent(2.0, "thermal", "offline", "online", "a frame came after 4.20 s")


def test_changes_of_a_camera_are_told_once_each():
    camera, events, stop = PluggableCamera(fps=100), [], threading.Event()
    camera.open()

    def take(event):
        events.append(event)
        if event.after == "offline":
            camera.plug_in()
        if event.after == "online":
            stop.set()

    feed = open_feed(camera, None, None, ThermalWatch(1))
    timer = threading.Timer(0.3, camera.unplug)
    timer.start()
    summary, error = Pipeline(FakeSegmenter(), feed, [ListSink()], stop=stop, on_event=take).run()
    timer.join()
    assert error is None
    assert [(e.before, e.after) for e in events] == [("online", "offline"), ("offline", "online")]
    rgb = summary.cameras["rgb"]
    assert (rgb.changes["offline"], rgb.changes["returns"]) == (1, 1)
    assert rgb.events == tuple(events)
    assert rgb.state == "online"


class Watch:
    """Takes note of the pairs that it is shown, and warns at the third."""

    shift_px, moved = (12.0, 0.0), True

    def __init__(self):
        self.seen = []

    def update(self, rgb, warped_thermal, timestamp_s):
        self.seen.append((rgb.shape, warped_thermal.shape, timestamp_s))
        return "the thermal picture has moved" if len(self.seen) == 3 else None


def watched_run(registration, count=12):
    watch, notes = Watch(), []
    rgb = FakeSource(live=False, fps=30, count=count).open()
    thermal = FakeSource("thermal", live=False, fps=15, count=count // 2).open()
    feed = open_feed(rgb, thermal, Pairer(40, live=False), ThermalWatch(1))
    pipeline = Pipeline(
        FakeSegmenter(),
        feed,
        [ListSink()],
        registration=registration,
        registration_watch=watch,
        note=notes.append,
        limits=RunLimits(frames=count),
    )
    summary, error = pipeline.run()
    assert error is None
    return watch, notes, summary


def test_the_registration_is_watched_on_new_pairs():
    watch, notes, summary = watched_run(Registration.identity((32, 24), (64, 48)))
    assert notes == ["the thermal picture has moved"]
    assert len(watch.seen) == 6  # of 12 results, half with a thermal frame that came before
    assert {shapes[:2] for shapes in watch.seen} == {((48, 64, 3), (48, 64))}
    assert summary.registration_shift_px == (12.0, 0.0)
    assert summary.registration_moved


def test_pictures_of_two_sizes_are_not_compared():
    watch, notes, _ = watched_run(None)
    assert (watch.seen, notes) == ([], [])


def test_the_listener_without_ears_keeps_the_notes():
    statuses = []
    listener = RunListener(statuses.append)
    listener.note("a")
    listener.event(LOST)
    listener.page("http://127.0.0.1:1/")
    listener.status("now")
    assert listener.notes == ["a"]
    assert statuses == ["now"]


def test_the_terminal_gets_everything(capsys):
    with RunConsole(live=True) as console:
        listener = ConsoleListener(console, Notifier(None))
        listener.note("a note")
        listener.event(LOST)
        listener.page("http://0.0.0.0:1/?token=secret")
    said = capsys.readouterr().err
    assert "note: a note" in said
    assert "thermal: online -> offline (no frame for 3 s)" in said
    assert "preview: http://0.0.0.0:1/?token=secret" in said
    assert listener.notes == ["a note"]


def test_a_log_gets_no_secret(caplog):
    caplog.set_level(logging.INFO)
    listener = LogListener(Notifier(None))
    listener.note("a note")
    listener.event(LOST)
    listener.event(BACK)
    listener.page("http://0.0.0.0:1/?token=secret")
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert levels == [
        ("INFO", "a note"),
        ("WARNING", "thermal: online -> offline (no frame for 3 s)"),
        ("INFO", "thermal: offline -> online (a frame came after 4.20 s)"),
        ("INFO", "preview: http://0.0.0.0:1/"),
    ]


def test_every_result_says_how_the_cameras_are():
    rgb, thermal = FakeSource(fps=50, count=20), FakeSource("thermal", fps=50, count=20)
    sink = ListSink()
    feed = open_feed(rgb.open(), thermal.open(), Pairer(30), ThermalWatch(1))
    Pipeline(FakeSegmenter(), feed, [sink]).run()
    assert sink.results
    for result in sink.results[:-3]:
        assert result.cameras == {"rgb": "online", "thermal": "online"}
        assert result.document()["cameras"] == dict(result.cameras)
    assert np.all([r.status == "ok" for r in sink.results])
