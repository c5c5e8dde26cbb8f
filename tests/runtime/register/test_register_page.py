from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.register.lens_fit import LensChoice
from differseg.runtime.register.picking import Picker
from differseg.runtime.register.points_page import PageServer, PointsPage, serve_page
from differseg.runtime.register.shots import Shot
from differseg.runtime.registration import Registration

MATRIX = np.array([[2.0, 0.04, 8.0], [-0.03, 1.95, 4.0], [1e-4, -5e-5, 1.0]])
NO_LENS = LensChoice(None, None, "")


def shots() -> list[Shot]:
    rng = np.random.default_rng(0)
    return [
        Shot(
            name,
            rng.integers(0, 255, (120, 160, 3)).astype(np.uint8),
            (29000 + rng.integers(0, 500, (60, 80))).astype(np.uint16),
        )
        for name in ("first", "second")
    ]


def document(count: int = 6) -> dict[str, Any]:
    thermal = np.random.default_rng(1).uniform((5, 5), (70, 52), (count, 2))
    rgb = cv2.perspectiveTransform(thermal[None], MATRIX)[0]
    return {
        "points": [
            {"shot": ("first", "second")[i % 2], "thermal": t, "rgb": r}
            for i, (t, r) in enumerate(zip(thermal.tolist(), rgb.tolist(), strict=True))
        ]
    }


@pytest.fixture
def picker(tmp_path: Path) -> Picker:
    return Picker(shots(), tmp_path / "r.json", tmp_path / "r.points.json", NO_LENS)


@pytest.fixture
def server(picker: Picker) -> Iterator[PageServer]:
    with serve_page(PointsPage(picker)) as running:
        yield running


def ask(server: PageServer, path: str, body: Any = None, key: str | None = None) -> bytes:
    base, _, own = server.address.partition("/?key=")
    request = urllib.request.Request(
        f"{base}/{path}?key={own if key is None else key}",
        data=None if body is None else json.dumps(body).encode(),
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.read()


def status(server: PageServer, path: str, body: Any = None, key: str | None = None) -> int:
    try:
        ask(server, path, body, key)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code
    return 200


def test_the_page_and_its_images_are_served(server: PageServer) -> None:
    assert server.address.startswith("http://127.0.0.1:")
    page = ask(server, "").decode()
    assert "<!doctype html>" in page
    assert not re.search(r"https?://|src=\"/", page)  # nothing from anywhere else
    setup = json.loads(ask(server, "setup"))
    assert setup["shots"] == ["first", "second"]
    assert (setup["thermal_size_wh"], setup["rgb_size_wh"]) == ([80, 60], [160, 120])
    given = shots()[1]
    rgb = cv2.imdecode(np.frombuffer(ask(server, "image/rgb/1"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(rgb, given.rgb)
    heat = cv2.imdecode(np.frombuffer(ask(server, "image/thermal/1"), np.uint8), -1)
    assert (heat.shape, heat.dtype) == ((60, 80), np.uint8)
    assert np.corrcoef(heat.ravel(), given.thermal.ravel())[0, 1] > 0.99


def test_nothing_is_answered_without_the_key(server: PageServer, tmp_path: Path) -> None:
    for path, body in (("", None), ("setup", None), ("image/rgb/0", None), ("save", document())):
        assert status(server, path, body, key="wrong") == 403
        assert status(server, path, body, key="") == 403
    assert list(tmp_path.iterdir()) == []


def test_residuals_follow_the_points(server: PageServer) -> None:
    assert json.loads(ask(server, "fit", document(3))) == {"message": "3 of at least 4 points"}
    good = json.loads(ask(server, "fit", document()))
    assert max(good["residuals_px"]) == 0
    assert np.allclose(good["matrix"], MATRIX, atol=1e-6)
    bad = document(12)
    bad["points"][4]["rgb"][0] += 20
    reply = json.loads(ask(server, "fit", bad))
    assert reply["residuals_px"][4] == pytest.approx(20, abs=0.5)
    assert np.median(reply["residuals_px"]) < 0.1


def test_save_writes_both_files_and_the_points_are_there_again(
    server: PageServer, picker: Picker, tmp_path: Path
) -> None:
    reply = json.loads(ask(server, "save", document()))
    assert "r.json" in reply["message"]
    loaded = Registration.load(tmp_path / "r.json")
    assert np.allclose(loaded.matrix, MATRIX, atol=1e-6)
    assert loaded.fit is not None
    assert [(s.name, s.points) for s in loaded.fit.per_shot] == [("first", 3), ("second", 3)]
    again = PointsPage(Picker(shots(), tmp_path / "r.json", tmp_path / "r.points.json", NO_LENS))
    assert again.setup()["points"] == document()["points"]
    other = [Shot("else", s.rgb, s.thermal) for s in shots()[:1]]
    with pytest.raises(InputError, match="were picked in other images"):
        Picker(other, tmp_path / "r.json", tmp_path / "r.points.json", NO_LENS)


def test_too_few_points_are_kept_but_give_no_registration(
    server: PageServer, tmp_path: Path
) -> None:
    reply = json.loads(ask(server, "save", document(3)))
    assert "no registration: " in reply["message"]
    assert (tmp_path / "r.points.json").exists()
    assert not (tmp_path / "r.json").exists()


def test_blend_shows_the_points_registration(server: PageServer) -> None:
    picture = cv2.imdecode(np.frombuffer(ask(server, "blend/0", document()), np.uint8), -1)
    assert picture.shape == (120, 160, 3)
    assert status(server, "blend/0", document(3)) == 400
    assert status(server, "blend/7", document()) == 404


def test_nonsense_is_answered_with_a_status(server: PageServer) -> None:
    assert status(server, "elsewhere") == 404
    assert status(server, "image/rgb/9") == 404
    assert status(server, "image/depth/0") == 404
    assert status(server, "fit", [1]) == 400
    assert status(server, "fit", {"points": [{"rgb": [1, 2]}]}) == 400
    outside = {"points": [{"shot": "first", "thermal": [999, 0], "rgb": [1, 2]}]}
    assert status(server, "save", outside) == 400
    with pytest.raises((urllib.error.URLError, ConnectionError)):  # refused before it is read
        ask(server, "fit", {"points": "x" * (1 << 20)})
    assert status(server, "setup") == 200  # still there


def test_done_ends_the_wait(server: PageServer) -> None:
    assert not server.wait(0.01)
    ask(server, "done", {})
    assert server.wait(10)


def test_a_port_in_use_is_one_line(server: PageServer, picker: Picker) -> None:
    port = int(server.address.split(":")[2].split("/")[0])
    with (
        pytest.raises(InputError, match="cannot be listened on"),
        serve_page(PointsPage(picker), port=port),
    ):
        pass
