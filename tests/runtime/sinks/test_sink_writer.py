"""The sinks' thread: order, backpressure, and sinks that fail or hang."""

import threading
import time
from collections import deque

import pytest
from sink_results import result

from differseg.errors import DifferSegError, InputError
from differseg.runtime.sinks.writer import SinkWriter
from differseg.runtime.timing import StageTimes


class Recorder:
    wants_picture = False

    def __init__(self, seconds=0.0):
        self.files, self.seen, self.threads, self._seconds = [], [], set(), seconds

    def write(self, result):
        time.sleep(self._seconds)
        self.threads.add(threading.current_thread().name)
        self.seen.append(result.index)

    def close(self):
        self.threads.add(threading.current_thread().name)


def test_writer_keeps_order_in_one_thread():
    sink, times = Recorder(), StageTimes()
    writer = SinkWriter([sink], times, threading.Event())
    for k in range(50):
        writer.put(result(0.0, index=k))
    assert writer.close() is None
    assert writer.close() is None
    assert sink.seen == list(range(50))
    assert sink.threads == {"sinks"}
    assert times.summary()["write"].count == 50


def test_writer_lets_at_most_one_result_wait():
    sink = Recorder(seconds=0.05)
    writer = SinkWriter([sink], StageTimes(), threading.Event())
    start_s = time.monotonic()
    for k in range(6):
        writer.put(result(0.0, index=k))
    assert time.monotonic() - start_s > 0.15, "put waits for a slow sink"
    writer.close()
    assert sink.seen == list(range(6))


def test_writer_survives_a_bug_in_a_sink():
    class Broken(Recorder):
        def write(self, result):
            raise ZeroDivisionError("oops")

    good = Recorder()
    writer = SinkWriter([Broken(), good], StageTimes(), threading.Event())
    writer.put(result(0.0))
    error = writer.close()
    assert isinstance(error, DifferSegError)
    assert "oops" in str(error)
    assert good.seen == [0]


class Hanging(Recorder):
    """Like a network share that does not answer any more."""

    def __init__(self):
        super().__init__()
        self.files, self.released = ["/share/masks"], threading.Event()

    def write(self, result):
        self.released.wait(30)


@pytest.fixture
def hanging(monkeypatch):
    monkeypatch.setattr("differseg.runtime.sinks.writer.CLOSE_TIMEOUT_S", 0.5)
    sink = Hanging()
    yield sink
    sink.released.set()


@pytest.mark.parametrize("waiting", [1, 2])
def test_close_gives_up_on_a_sink_that_hangs(hanging, waiting):
    """With one result in the sink, and with another that fills the queue behind it."""
    writer = SinkWriter([hanging], StageTimes(), threading.Event())
    for k in range(waiting):
        writer.put(result(0.0, index=k))
    start_s = time.monotonic()
    error = writer.close()
    assert 0.4 < time.monotonic() - start_s < 2
    assert "did not finish within 0.5 s" in str(error)
    assert "/share/masks" in str(error)
    assert writer.close() is error


def test_a_stop_ends_a_put_that_waits_for_a_sink_that_hangs(hanging):
    stop = threading.Event()
    writer = SinkWriter([hanging], StageTimes(), stop)
    threading.Timer(0.5, stop.set).start()
    start_s = time.monotonic()
    with pytest.raises(InputError, match=r"did not finish within 0\.5 s"):
        deque(map(writer.put, [result(0.0)] * 9), maxlen=0)
    assert 0.8 < time.monotonic() - start_s < 3
    start_s = time.monotonic()
    assert writer.close() is not None
    assert time.monotonic() - start_s < 0.3, "the time to finish is given once"


def test_a_stop_loses_no_result_of_a_slow_sink():
    sink, stop = Recorder(seconds=0.3), threading.Event()
    stop.set()
    writer = SinkWriter([sink], StageTimes(), stop)
    for k in range(4):
        writer.put(result(0.0, index=k))
    assert writer.close() is None
    assert sink.seen == [0, 1, 2, 3]
