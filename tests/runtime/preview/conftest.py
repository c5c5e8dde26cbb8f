"""A page on a free port."""

from __future__ import annotations

import pytest
from fake_cameras import FakeSource
from preview_run import CLASSES

from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.metrics import RunMetrics
from differseg.runtime.pairing import Pairer


@pytest.fixture
def feed():
    """Two fake cameras whose threads are not started."""
    rgb, thermal = FakeSource().open(), FakeSource("thermal").open()
    return open_feed(rgb, thermal, Pairer(30, live=True), ThermalWatch(1.0))


@pytest.fixture
def serve(feed):
    """Start servers that end with the test."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("websockets")
    pytest.importorskip("prometheus_client")
    from differseg.runtime.preview import PreviewServer

    started = []

    def start(address=":0", **options):
        metrics = RunMetrics(feed)
        server = PreviewServer(address, CLASSES, metrics, model="tiny", **options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.close()
