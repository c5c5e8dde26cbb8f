"""The page's addresses, asked as other programs ask them."""

from __future__ import annotations

import builtins
import io
import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import zipfile

import cv2
import numpy as np
import pytest
from preview_run import CLASSES, images, publishing, result, until

from differseg.errors import InputError, MissingComponentError
from differseg.runtime.metrics import RunMetrics

TOKEN = "0123456789abcdef0123"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


def get(server, path="/", **headers):
    """Return status, headers and body."""
    url = f"http://127.0.0.1:{server.address.port}{path}"
    request = urllib.request.Request(url, headers=headers)
    try:
        with OPENER.open(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def live(server, **options):
    from websockets.sync.client import connect

    url = f"ws://127.0.0.1:{server.address.port}/live"
    return connect(url, compression=None, proxy=None, open_timeout=20, **options)


def parts_of(message):
    length = struct.unpack_from("<I", message)[0]
    header = json.loads(message[4 : 4 + length])
    at, files = 4 + length, {}
    for layer in header["layers"]:
        files[layer["name"]] = message[at : at + layer["size"]]
        at += layer["size"]
    assert at == len(message)
    return header, files


def decoded(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_page_and_its_headers(serve):
    status, headers, body = get(serve())
    assert status == 200
    assert b"<title>differseg" in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert b"://" not in body.replace(b"http://www.w3.org/2000/svg", b"").replace(b"}://${", b"")


def test_before_the_first_result(serve):
    server = serve()
    assert get(server, "/healthz")[0] == 503
    assert b"no result yet" in get(server, "/healthz")[2]
    assert get(server, "/api/snapshot.zip")[0] == 503
    assert get(server, "/metrics")[0] == 200
    state = json.loads(get(server, "/api/state")[2])
    assert state["last"] is None
    assert [c["name"] for c in state["cameras"]] == ["rgb", "thermal"]


def test_state_health_and_setup(serve):
    server = serve()
    server.publish(result(4), *images())
    assert get(server, "/healthz")[::2] == (200, b"ok\n")
    state = json.loads(get(server, "/api/state")[2])
    assert state["healthy"] is True
    assert state["last"] == result(4).document()
    setup = json.loads(get(server, "/api/setup")[2])
    assert setup["model"] == "tiny"
    assert [spec["painted"] for spec in setup["classes"]] == [False, True]
    server.publish(result(5, "hold", note="thermal lost"), *images())
    status, _, body = get(server, "/healthz")
    assert status == 503
    assert b"thermal lost" in body


def test_prometheus_reads_the_metrics(serve):
    server = serve()
    for k in range(5):
        server.publish(result(k), *images())
    from prometheus_client.parser import text_string_to_metric_families

    text = get(server, "/metrics")[2].decode()
    samples = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    infer = ("stage", "infer")
    assert samples["differseg_results_total", ("status", "ok")] == 5
    assert samples["differseg_stage_seconds_count", infer] == 5
    assert samples["differseg_stage_seconds_sum", infer] == pytest.approx(0.075)
    assert samples["differseg_stage_seconds_bucket", ("le", "0.01"), infer] == 0
    assert samples["differseg_stage_seconds_bucket", ("le", "0.015"), infer] == 5
    assert samples["differseg_stage_seconds_bucket", ("le", "+Inf"), infer] == 5
    assert samples["differseg_skew_seconds_sum",] == pytest.approx(0.02)
    assert samples["differseg_area_ratio", ("class", "person")] == 0.25
    assert samples["differseg_camera_state", ("camera", "rgb"), ("state", "online")] == 1
    assert samples["differseg_camera_state", ("camera", "rgb"), ("state", "offline")] == 0
    assert samples["differseg_healthy",] == 1


def test_the_snapshot(serve):
    server = serve()
    rgb, thermal, mask = images()
    server.publish(result(7), rgb, thermal, mask)
    status, headers, body = get(server, "/api/snapshot.zip")
    assert status == 200
    assert headers["Content-Disposition"].startswith('attachment; filename="differseg-')
    archive = zipfile.ZipFile(io.BytesIO(body))
    np.testing.assert_array_equal(decoded(archive.read("thermal.png")), thermal)
    document = json.loads(archive.read("result.json"))
    assert document["result"]["index"] == 7
    assert document["run"]["frames"] == 1


def test_mjpeg_can_be_read_by_opencv(serve):
    server = serve()
    with publishing(server, size_hw=(96, 128)):
        capture = cv2.VideoCapture(
            f"http://127.0.0.1:{server.address.port}/stream.mjpg", cv2.CAP_FFMPEG
        )
        try:
            frames = [capture.read() for _ in range(3)]
        finally:
            capture.release()
    assert all(good for good, _ in frames)
    assert frames[0][1].shape == (96, 128, 3)
    assert get(server, "/stream.mjpg?view=other")[0] == 400


def test_a_page_gets_what_it_asks_for(serve):
    server = serve()
    server.publish(result(1), *images())
    with live(server) as page:
        page.send("next rgb mask")
        header, files = parts_of(page.recv(timeout=20))
        assert header["result"]["index"] == 1
        assert set(files) == {"rgb", "mask"}
        np.testing.assert_array_equal(decoded(files["mask"]), images()[2])
        page.send("next thermal nonsense")
        with pytest.raises(TimeoutError):
            page.recv(timeout=0.1)
        server.publish(result(2), *images())
        header, files = parts_of(page.recv(timeout=20))
        assert header["result"]["index"] == 2
        assert set(files) == {"thermal"}


def test_another_sites_page_gets_no_pictures(serve):
    from websockets.exceptions import InvalidStatus

    server = serve()
    with pytest.raises(InvalidStatus), live(server, origin="https://evil.example"):
        pass
    assert get(server, "/", Host="evil.example")[0] == 421
    assert get(server, "/api/state", Origin="https://evil.example")[0] == 403


def test_an_open_page_wants_its_token(serve):
    server = serve("0.0.0.0:0", token=TOKEN)
    assert server.url.endswith(f"?token={TOKEN}")
    for path in ("/", "/api/state", "/api/snapshot.zip", "/metrics", "/healthz", "/stream.mjpg"):
        assert get(server, path)[0] == 401
        assert get(server, f"{path}?token=wrong")[0] == 401
    status, headers, _ = get(server, f"/?token={TOKEN}")
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert get(server, "/", Cookie=cookie)[0] == 200
    assert get(server, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus), live(server):
        pass
    server.publish(result(), *images())
    with live(server, additional_headers={"Cookie": cookie}) as page:
        page.send("next rgb")
        assert parts_of(page.recv(timeout=20))[1]


def mute_viewers(server, number):
    """Viewers that ask and never read: half of them MJPEG, half web sockets that say ``next``."""
    viewers = []
    for k in range(number):
        viewer = socket.socket()
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", server.address.port))
        if k % 2:
            viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        else:
            viewer.sendall(
                b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            for _ in range(200):
                text = b"next rgb thermal mask"
                viewer.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
        viewers.append(viewer)
    return viewers


def test_viewers_that_do_not_read_hold_up_nobody(serve):
    """Pictures are noise, of 300 kB each: what is queued for 20 viewers would show at once."""
    import psutil

    server = serve()
    process = psutil.Process()
    with publishing(server, fps=60, size_hw=(480, 640), noise=True) as run:
        mute = mute_viewers(server, 20)
        try:
            until(lambda: server._viewers.count == 20)
            with live(server, max_size=None) as page:
                for _ in range(5):  # the buffers of the mute ones are full by now
                    page.send("next rgb")
                    page.recv(timeout=20)
                before_bytes, at = process.memory_info().rss, run.count
                first = last = None
                for _ in range(40):
                    page.send("next rgb")
                    last = parts_of(page.recv(timeout=20))[0]["number"]
                    first = first or last
            grown_bytes = process.memory_info().rss - before_bytes
            assert run.count - at >= 40
            assert last - first >= 39
            assert grown_bytes < 60e6, "40 pictures for 20 viewers would be 240 MB"
            # Far below the time that a viewer's network takes, and above a busy machine's pauses.
            assert run.longest_s < 1.0
        finally:
            for viewer in mute:
                viewer.close()
        until(lambda: server._viewers.count == 0)


def test_the_33rd_viewer_is_refused(serve):
    server = serve()
    server.publish(result(), *images())
    viewers = mute_viewers(server, 32)
    try:
        until(lambda: server._viewers.count == 32)
        assert get(server, "/stream.mjpg")[0] == 503
        assert get(server, "/healthz")[0] == 200
    finally:
        for viewer in viewers:
            viewer.close()


def test_close_is_quick_whoever_looks(serve):
    server = serve()
    mute = mute_viewers(server, 10)
    with publishing(server, fps=60, size_hw=(480, 640), noise=True), live(server) as page:
        until(lambda: server._viewers.count == 11)
        page.send("next rgb")
        page.recv(timeout=20)
        start_s = time.monotonic()
        server.close()
        taken_s = time.monotonic() - start_s
    for viewer in mute:
        viewer.close()
    assert taken_s < 1.0
    until(lambda: not server._thread.is_alive())
    server.close()
    server.publish(result(), *images())  # a run that ends may still have a result on its way
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.address.port), timeout=1)


def test_no_thread_is_left(serve):
    for _ in range(3):
        server = serve()
        server.publish(result(), *images())
        get(server, "/api/snapshot.zip")
        server.close()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("preview-")])


def test_a_missing_package_is_named(feed, monkeypatch):
    from differseg.runtime.preview import PreviewServer

    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "uvicorn":
            raise ModuleNotFoundError("no uvicorn", name="uvicorn")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingComponentError, match=r"'uvicorn'.*differseg\[web\]"):
        PreviewServer(":0", CLASSES, RunMetrics(feed))


def test_a_taken_port_is_refused_before_the_run(serve):
    port = serve().address.port
    with pytest.raises(InputError, match="cannot be served"):
        serve(f":{port}")


def test_a_viewer_that_gives_no_sign_is_let_go(serve, monkeypatch):
    from differseg.runtime.preview import streams

    monkeypatch.setattr(streams, "PATIENCE_S", 0.3)
    server = serve()
    with publishing(server, fps=60, size_hw=(480, 640), noise=True):
        mute = mute_viewers(server, 4)
        until(lambda: server._viewers.count == 4)
        until(lambda: server._viewers.count == 0)
    for viewer in mute:
        viewer.close()
