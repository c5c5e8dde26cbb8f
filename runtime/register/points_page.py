"""The page on which points are picked, and the small server behind it.

Served on loopback.  The address holds a random key, without which nothing is answered: other
users of the machine, and other pages open in the browser, can neither look nor write.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, InputError
from differseg.runtime.register.fitting import LEAST_POINTS
from differseg.runtime.register.picture import blend
from differseg.runtime.register.points import PickedPoints, parse_points
from differseg.runtime.register.structure import stretched_u8

if TYPE_CHECKING:
    from differseg.runtime.register.picking import Picker

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_HTML = Path(__file__).with_name("page.html")


class PointsPage:
    """What the page asks for, without the network.

    Args:
        picker: Fits and saves.
    """

    def __init__(self, picker: Picker) -> None:
        self._picker = picker
        self._lock = threading.Lock()
        self.done = threading.Event()

    def setup(self) -> dict[str, Any]:
        """Return the shots, the sizes and the points so far."""
        thermal_wh, rgb_wh = self._picker.shots[0].sizes_wh
        with self._lock:
            points = json.loads(self._picker.picked.text())["points"]
        return {
            "shots": [shot.name for shot in self._picker.shots],
            "thermal_size_wh": thermal_wh,
            "rgb_size_wh": rgb_wh,
            "points": points,
        }

    def image(self, camera: str, number: int) -> bytes:
        """Return a shot's image as PNG; thermal stretched to 8 bit.

        Raises:
            KeyError: No such camera or shot.
        """
        if camera not in ("rgb", "thermal") or not 0 <= number < len(self._picker.shots):
            raise KeyError(camera)
        shot = self._picker.shots[number]
        return _png(shot.rgb if camera == "rgb" else stretched_u8(shot.thermal))

    def blended(self, number: int, document: dict[str, Any]) -> bytes:
        """Return the blend of one shot under the points given, as PNG.

        Raises:
            InputError: The points give no registration.
            KeyError: No such shot.
        """
        if not 0 <= number < len(self._picker.shots):
            raise KeyError(number)
        registration = self._picker.fit(self._parsed(document)).registration
        shot = self._picker.shots[number]
        rgb_wh = shot.sizes_wh[1]
        warped = registration.warp(shot.thermal, rgb_wh)
        return _png(blend(shot.rgb, warped, registration.valid(shot.sizes_wh[0], rgb_wh)))

    def fit(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return each point's residual and the matrix, or why there is none yet."""
        picked = self._parsed(document)
        if len(picked.points) < LEAST_POINTS:
            return {"message": f"{len(picked.points)} of at least {LEAST_POINTS} points"}
        try:
            found = self._picker.fit(picked)
        except InputError as error:
            return {"message": str(error)}
        fit = found.registration.fit
        assert fit is not None
        thermal = np.array([p.thermal for p in picked.points], np.float64)
        rgb = np.array([p.rgb for p in picked.points], np.float64)
        registration = found.registration
        if registration.moving_lens is not None:
            thermal = registration.moving_lens.undistort(thermal)
        if registration.fixed_lens is not None:
            rgb = registration.fixed_lens.undistort(rgb)
        off = np.hypot(*(cv2.perspectiveTransform(thermal[None], registration.matrix)[0] - rgb).T)
        return {
            "residuals_px": [round(float(v), 2) if np.isfinite(v) else None for v in off],
            "matrix": registration.matrix.tolist(),
            "median_px": fit.residual.median_px,
            "max_px": fit.residual.max_px,
            "coverage": round(registration.coverage, 3),
            "message": found.refusal or "; ".join(found.notes),
        }

    def save(self, document: dict[str, Any]) -> dict[str, str]:
        """Write the files and say so."""
        picked = self._parsed(document)
        with self._lock:
            return {"message": self._picker.save(picked)}

    def _parsed(self, document: dict[str, Any]) -> PickedPoints:
        thermal_wh, rgb_wh = self._picker.shots[0].sizes_wh
        stated = {"thermal_size_wh": thermal_wh, "rgb_size_wh": rgb_wh}
        return parse_points({"points": document.get("points", []), **stated}, "page")


def _png(image: npt.NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1])


class PageServer:
    """A running server.

    Attributes:
        address: What to open in a browser.
    """

    def __init__(self, page: PointsPage, host: str, port: int) -> None:
        self._page = page
        key = secrets.token_urlsafe(12)
        handler = type("Handler", (_Handler,), {"page": page, "key": key})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise InputError(
                f"--host {host} --port {port}: cannot be listened on ({error.strerror or error}); "
                "leave --port out for a free one"
            ) from None
        shown = "127.0.0.1" if host == "0.0.0.0" else host
        self.address = f"http://{shown}:{self._server.server_address[1]}/?key={key}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the page says that the user is done; False when the time is over."""
        return self._page.done.wait(timeout_s)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serve_page(page: PointsPage, host: str = "127.0.0.1", port: int = 0) -> Iterator[PageServer]:
    """Serve the page while the block runs.

    Raises:
        InputError: The address cannot be listened on.
    """
    server = PageServer(page, host, port)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    """One request; ``page`` and ``key`` are set by the server."""

    page: PointsPage
    key: str
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer the page, its setup and its images."""
        parts = self._allowed_path()
        if parts is None:
            return
        if parts == [""]:
            self._send(_HTML.read_bytes(), "text/html; charset=utf-8")
        elif parts == ["setup"]:
            self._send_json(self.page.setup())
        elif len(parts) == 3 and parts[0] == "image" and parts[2].isdigit():
            self._try(lambda: self._send(self.page.image(parts[1], int(parts[2])), "image/png"))
        else:
            self._send(b"not found", "text/plain", 404)

    def do_POST(self) -> None:
        """Take points: fit, blend, save, done."""
        parts = self._allowed_path()
        if parts is None:
            return
        document = self._body()
        if document is None:
            return
        if parts == ["fit"]:
            self._try(lambda: self._send_json(self.page.fit(document)))
        elif parts == ["save"]:
            self._try(lambda: self._send_json(self.page.save(document)))
        elif len(parts) == 2 and parts[0] == "blend" and parts[1].isdigit():
            self._try(lambda: self._send(self.page.blended(int(parts[1]), document), "image/png"))
        elif parts == ["done"]:
            self._send_json({"message": "done; this page can be closed"})
            self.page.done.set()
        else:
            self._send(b"not found", "text/plain", 404)

    def _allowed_path(self) -> list[str] | None:
        """Return the parts of the path; None, answered, without the key."""
        split = urlsplit(self.path)
        given = parse_qs(split.query).get("key", [""])[0]
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            self._send(b"open the address that the command printed", "text/plain", 403)
            return None
        return split.path.strip("/").split("/")

    def _body(self) -> dict[str, Any] | None:
        """Return the JSON object sent; None, answered, where it is none."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            self._send(b"no length, or too long", "text/plain", 413)
            return None
        try:
            document = json.loads(self.rfile.read(int(length)) or b"{}")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self._send(b"not a JSON object", "text/plain", 400)
            return None
        return document

    def _try(self, answer: Any) -> None:
        try:
            answer()
        except KeyError:
            self._send(b"not found", "text/plain", 404)
        except DifferSegError as error:
            self._send_json({"message": str(error)}, 400)
        except OSError as error:
            if isinstance(error, ConnectionError):
                return
            self._send_json({"message": f"not written: {error.strerror or error}"}, 500)

    def _send_json(self, document: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(document).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address holds the key."""
