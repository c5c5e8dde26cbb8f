"""A network camera: motion JPEG over HTTP from this machine."""

import http.server
import threading
import time

import cv2
import numpy as np
import pytest

from differseg.errors import SourceError
from differseg.runtime.sources import open_source

FRAMES, FPS = 40, 25.0


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends a numbered grey level each 40 ms, then hangs up."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for k in range(FRAMES):
            ok, data = cv2.imencode(".jpg", np.full((48, 64, 3), 20 + 5 * k, np.uint8))
            assert ok
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data.tobytes() + b"\r\n")
            self.wfile.flush()
            time.sleep(1 / FPS)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/video.mjpg"
    server.shutdown()
    thread.join()
    server.server_close()


def read_until_it_fails(source, frames):
    while True:
        frames.append(source.read())
        assert abs(time.monotonic() - frames[-1].timestamp_s) < 0.2


def test_frames_are_stamped_on_arrival_and_hanging_up_is_a_failure(address):
    frames = []
    with open_source(address, "rgb") as source:
        assert source.live
        with pytest.raises(SourceError, match="the stream ended") as caught:
            read_until_it_fails(source, frames)
    assert "secret" not in str(caught.value)
    assert source.clock == "arrival"
    levels = [float(frame.image.mean()) for frame in frames]
    assert len(levels) >= FRAMES - 2
    assert levels == sorted(levels)
    # The reader sees frames as they are sent, not in one heap at the end.
    middle, last = frames[len(frames) // 2], frames[-1]
    assert last.timestamp_s - middle.timestamp_s > 0.5 * (FRAMES / 2) / FPS
