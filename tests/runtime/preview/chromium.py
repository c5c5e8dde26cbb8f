"""A headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --hide-scrollbars "
    "--disable-dev-shm-usage --remote-debugging-port=0"
).split()


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """One tab.

    Attributes:
        complaints: Errors of scripts and what the console says of refused content.
    """

    def __init__(self, socket) -> None:
        self.complaints: list[str] = []
        self._socket, self._ids = socket, itertools.count(1)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)
        raise TimeoutError(method)

    def _note(self, message) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip

    def scheme(self, name: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str):
        """Return the value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str, timeout_s: float = 20.0):
        """Wait until an expression is true; returns its value."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            with suppress(AssertionError):  # while a page is replaced by the next
                if value := self.run(script):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; {self.complaints}; {self._text()}")

    def _text(self) -> str:
        return self.run("document.body.innerText")[:600]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Page]:
    """Start one, with its profile in a folder; ended with the block."""
    from websockets.sync.client import connect

    command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = _port(folder / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
                pages = [t for t in json.load(answer) if t["type"] == "page"]
            url = pages[0]["webSocketDebuggerUrl"]
            with connect(url, max_size=None, compression=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(path: Path, process: subprocess.Popen) -> int:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s and process.poll() is None:
        with suppress(OSError, IndexError, ValueError):
            return int(path.read_text().splitlines()[0])
        time.sleep(0.05)
    raise AssertionError("chromium did not start")
