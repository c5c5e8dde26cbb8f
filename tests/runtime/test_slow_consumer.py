"""Two cameras at 60 Hz before a consumer of 15 Hz: nothing queues, nothing ages, the books balance.

What waits is counted from outside, by frames that are captured and in no book yet and by images
that are still in memory, and not by what the feed says of itself.
"""

import os
import threading
import time
import weakref

import numpy as np
import psutil
import pytest
from fake_cameras import FakeSegmenter, ListSink

from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.segmenter import Result
from differseg.runtime.sources import Frame, Source

HZ_IN, HZ_OUT = 60.0, 15.0
SIZE_HW = (480, 640)
PERIOD_MS = 1e3 / HZ_IN
ALLOWANCE_MS = 5.0
"""For threads that wake each other; how late the machine wakes the cameras comes on top."""
WARM_UP_RESULTS = 15
GROWTH_MB = 20.0


class Camera(Source):
    """A live camera of 640x480 that knows how many of its images are still in memory.

    Attributes:
        most_alive: Images held at once, at most.
        late_ms: By how much each frame came later than its stamp.
        look: Called in the capture thread between two frames.
    """

    clock = "driver"
    fps = HZ_IN

    def __init__(self, modality, count, start_s):
        super().__init__(modality)
        self.description = f"camera {modality}"
        self.most_alive = 0
        self.late_ms = []
        self.look = lambda: None
        self._count, self._start_s = count, start_s
        self._index = self._alive = 0
        self._lock = threading.Lock()
        self._interrupted = threading.Event()

    def open(self):
        pass

    def close(self):
        pass

    def interrupt(self):
        self._interrupted.set()

    def read(self):
        self.look()
        index = self._index
        due_s = self._start_s + index / HZ_IN
        stopped = self._interrupted.wait(max(0.0, due_s - time.monotonic()))
        if stopped or index == self._count:
            return None
        self._index += 1
        self.late_ms.append(1e3 * (time.monotonic() - due_s))
        return Frame(self._image(index), due_s, index)

    def _image(self, index):
        shape, dtype = ((*SIZE_HW, 3), np.uint8) if self.modality == "rgb" else (SIZE_HW, np.uint16)
        image = np.full(shape, 60, dtype)
        image[8::16, 8::16] += index % 180
        with self._lock:
            self._alive += 1
            self.most_alive = max(self.most_alive, self._alive)
        weakref.finalize(image, self._freed)
        return image

    def _freed(self):
        with self._lock:
            self._alive -= 1


class Network(FakeSegmenter):
    """Takes its time, keeps nothing.

    Attributes:
        infer_ms: How long each inference took in truth.
    """

    def __init__(self, seconds):
        super().__init__(seconds)
        self.infer_ms = []
        self._mask = np.zeros(SIZE_HW, np.uint8)

    def begin(self, *, timestamp_s=None, **frames):
        return time.monotonic()

    def end(self, begun):
        time.sleep(self._seconds)
        self.infer_ms.append(1e3 * (time.monotonic() - begun))
        return Result(
            mask=self._mask,
            probability=None,
            timings_ms={"prepare": 0.0, "infer": self.infer_ms[-1], "post": 0.0},
            classes=self.manifest.classes,
            coverage=0.0,
            class_coverage={"background": 1.0, "object": 0.0},
        )


class Reader(ListSink):
    """Keeps figures, not results.

    Attributes:
        ages_ms: From capture to mask.
        rss_mb: Memory of the process at each result.
    """

    def __init__(self, seconds):
        super().__init__()
        self.ages_ms, self.rss_mb = [], []
        self._seconds, self._process = seconds, psutil.Process()

    def write(self, result):
        self.ages_ms.append(result.age_ms)
        self.rss_mb.append(self._process.memory_info().rss / 2**20)
        time.sleep(self._seconds)


@pytest.mark.parametrize("slow", ["network", "sink"])
@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_slow_consumer_gets_new_frames_and_every_other_is_counted(slow, seconds):
    start_s = time.monotonic() + 0.2
    rgb, thermal = (Camera(name, round(seconds * HZ_IN), start_s) for name in ("rgb", "thermal"))
    network = Network(1 / HZ_OUT if slow == "network" else 0.0)
    sink = Reader(1 / HZ_OUT if slow == "sink" else 0.0)
    feed = open_feed(rgb, thermal, Pairer(8.0), ThermalWatch(5.0))
    waiting, unwritten = [], []

    def look():
        """Count what waits; the RGB camera's own thread has no frame in hand here."""
        with feed._condition:  # or a frame on its way from the pairer to the slot counts twice
            booked = len(network.infer_ms) + feed.drops.total()
            waiting.append(feed.rgb.captured - booked - feed.pairer.waiting)
        unwritten.append(len(network.infer_ms) - len(sink.ages_ms))

    rgb.look = look
    summary, error = Pipeline(network, feed, [sink]).run()

    assert error is None
    assert max(waiting) <= 2, "one in work, one in the slot"
    assert max(unwritten) <= 3, "one that was just made, one in the queue, one on its way there"
    assert rgb.most_alive <= 6, "in the camera, pairer, slot, work, last result, its successor"

    books = summary.cameras["rgb"]
    assert books.captured == round(seconds * HZ_IN)
    assert books.captured == summary.frames + sum(books.drops.values())
    assert summary.frames == len(sink.ages_ms)
    assert 0.6 * seconds * HZ_OUT < summary.frames <= seconds * HZ_OUT + 3
    assert books.drops["consumer_busy"] > 0.6 * books.captured

    late_ms = float(np.percentile(rgb.late_ms + thermal.late_ms, 99))
    own_ms = np.percentile(np.subtract(sink.ages_ms, network.infer_ms), 99)
    limit_ms = PERIOD_MS + ALLOWANCE_MS + 2 * late_ms
    growth_mb = sink.rss_mb[-1] - sink.rss_mb[WARM_UP_RESULTS]
    print(
        f"\nslow {slow}, {seconds} s: {books.captured} captured = {summary.frames} results + "
        f"{books.drops}; waiting {max(waiting) - 1} at most; images alive {rgb.most_alive}; "
        f"p99 of the age {np.percentile(sink.ages_ms, 99):.1f} ms, without inference {own_ms:.1f} "
        f"(limit {limit_ms:.1f}); {growth_mb:+.1f} MB; load {os.getloadavg()[0]:.1f}"
    )
    assert own_ms <= limit_ms
    assert growth_mb < GROWTH_MB
