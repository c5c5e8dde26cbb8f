"""Network cameras, served by this machine: motion JPEG over HTTP, and RTSP."""

import http.server
import itertools
import threading
import time

import cv2
import numpy as np
import pytest
from rtsp_camera import RtspCamera

from differseg.errors import SourceError
from differseg.runtime.capture import Capture
from differseg.runtime.sources import cameras, open_source

FRAMES, FPS = 60, 25.0


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends a numbered grey level each 40 ms, then hangs up."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for k in range(FRAMES):
            ok, data = cv2.imencode(".jpg", np.full((48, 64, 3), 20 + 3 * k, np.uint8))
            assert ok
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data.tobytes() + b"\r\n")
            self.server.sent_s.append(time.monotonic())
            self.wfile.flush()
            time.sleep(1 / FPS)

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def short_settling(monkeypatch):
    """The streams here last two seconds."""
    monkeypatch.setattr(cameras, "_SETTLE_S", 0.1)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.sent_s = []
    server.address = f"http://user:secret@127.0.0.1:{server.server_port}/video.mjpg"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def read_until_it_fails(source, frames):
    while True:
        frames.append(source.read())
        assert abs(time.monotonic() - frames[-1].timestamp_s) < 0.2


def test_frames_are_stamped_on_arrival_and_hanging_up_is_a_failure(server):
    frames = []
    with open_source(server.address, "rgb") as source:
        assert source.live
        with pytest.raises(SourceError, match="the stream ended") as caught:
            read_until_it_fails(source, frames)
    assert "secret" not in str(caught.value)
    assert source.clock == "arrival"
    levels = [float(frame.image.mean()) for frame in frames]
    assert len(levels) >= FRAMES - 10
    assert levels == sorted(levels)
    # The reader sees frames as they are sent, not in one heap at the end.
    middle, last = frames[len(frames) // 2], frames[-1]
    assert last.timestamp_s - middle.timestamp_s > 0.5 * (FRAMES / 2) / FPS


def test_what_was_sent_before_the_first_read_is_let_go(server):
    """The other camera opens and the network warms up meanwhile: 1 s of frames waits."""
    with open_source(server.address, "rgb") as source:
        time.sleep(1.0)
        for index in range(3):
            frame = source.read()
            number = round((float(frame.image.mean()) - 20) / 3)
            assert frame.index == index
            assert frame.timestamp_s - server.sent_s[number] < 0.5


def test_a_thermal_stream_of_eight_bits_says_so(server):
    with open_source(server.address, "thermal") as source:
        assert source.read().image.shape == (48, 64)
        (note,) = source.notes
    assert "the thermal picture has 8 bits" in note
    assert "secret" not in note


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory):
    """Two seconds of MPEG-TS whose brightness rises."""
    path = tmp_path_factory.mktemp("ts") / "a.ts"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (64, 48))
    for k in range(50):
        noise = np.random.default_rng(k).integers(0, 60, (48, 64, 3), dtype=np.uint8)
        writer.write(noise + np.uint8(3 * k))
    writer.release()
    return path.read_bytes()


def test_rtsp(transport_stream):
    frames = []
    with RtspCamera(transport_stream, 2.0) as camera:
        with open_source(camera.address, "rgb") as source:
            assert source.notes == []
            assert source.description == camera.address.replace("user:secret@", "")
            with pytest.raises(SourceError, match="the stream ended"):
                read_until_it_fails(source, frames)
        assert camera.methods[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    levels = [float(frame.image.mean()) for frame in frames]
    assert len(levels) >= 30
    assert all(b > a - 1 for a, b in itertools.pairwise(levels))
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_an_rtsp_camera_that_falls_silent_is_a_failure(transport_stream, monkeypatch):
    monkeypatch.setattr(cameras, "_READ_TIMEOUT_MS", 700)
    frames = []
    with (
        RtspCamera(transport_stream, 0.5, silence_s=4.0) as camera,
        open_source(camera.address, "rgb") as source,
    ):
        with pytest.raises(SourceError, match="gave nothing for"):
            read_until_it_fails(source, frames)
        assert 0.4 < time.monotonic() - frames[-1].timestamp_s < 3.0
    assert len(frames) > 20


def wait_for(condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.01)


def test_a_camera_that_goes_and_comes_back_is_read_on(transport_stream):
    """It hangs up and its server is gone; a second later it listens again at the same port."""
    frames, done = [], threading.Event()
    with RtspCamera(transport_stream, 1.0) as camera:
        port = camera.server_address[1]
        capture = Capture(open_source(camera.address, "rgb"), frames.append, done.set)
        capture.start()
        wait_for(lambda: len(frames) > 5)
        assert capture.check() == "online"
    wait_for(lambda: capture.check() == "offline")
    assert "the stream ended" in str(capture.error)
    wait_for(lambda: capture.supervisor.counts["attempts"] >= 2)
    assert "cannot connect" in str(capture.error)
    count = len(frames)
    with RtspCamera(transport_stream, 4.0, port=port):
        back_s = time.monotonic()
        wait_for(lambda: capture.check() == "online")
        opening_s = 1.0  # FFmpeg's look at the stream, and a busy test machine
        assert time.monotonic() - back_s < 1.0 + opening_s
        wait_for(lambda: len(frames) > count + 5)
        assert capture.error is None
        assert not done.is_set()
        assert capture.close()
    assert [frame.index for frame in frames] == list(range(len(frames)))
    words = [(e.before, e.after) for e in capture.supervisor.events]
    assert words == [("online", "offline"), ("offline", "online")]
