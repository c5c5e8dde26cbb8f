"""The page in a browser: it shows, it obeys its controls, it fits a phone."""

from __future__ import annotations

import pytest
from chromium import browser, find_chromium
from preview_run import images, publishing, result

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here")

PICTURES = "Number(document.documentElement.dataset.pictures)"
PIXEL = "Array.from(document.getElementById('{}').getContext('2d').getImageData({}, {}, 1, 1).data)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("websockets")
    with browser(find_chromium(), tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def desktop(page):
    page.size(1280, 800)
    page.scheme("light")
    page.complaints.clear()
    yield
    page.open("about:blank")


def click(page, view):
    page.run(f"document.querySelector('[data-view={view}]').click()")


def set_opacity(page, percent):
    page.run(
        f"document.getElementById('opacity').value = {percent};"
        "document.getElementById('opacity').dispatchEvent(new Event('input'))"
    )


def test_it_shows_the_overlay_and_the_figures(serve, page):
    server = serve()
    with publishing(server):
        page.open(server.url)
        page.until(f"{PICTURES} > 3")
        set_opacity(page, 50)
        red, green, blue, _ = page.run(PIXEL.format("overlay", 20, 40))
        assert (red, green, blue) == pytest.approx((160, 65, 65), abs=6), "class 1 over grey 90"
        assert page.run(PIXEL.format("overlay", 100, 40))[:3] == pytest.approx([90] * 3, abs=6)
        set_opacity(page, 0)
        assert page.run(PIXEL.format("overlay", 20, 40))[:3] == pytest.approx([90] * 3, abs=6)
        page.until("document.getElementById('status').textContent === 'Live'")
        page.until("document.getElementById('fps').textContent.endsWith('Hz')")
        text = page.run("document.body.innerText")
        page.until("document.querySelectorAll('.stage canvas').length === 2")
    assert "person" in text
    assert "25.0 %" in text
    assert "30ms" in text.replace("\n", "").replace(" ", "")
    assert "fake thermal" in text
    assert page.complaints == []


def test_thermal_follows_the_palette(serve, page):
    server = serve()
    with publishing(server):
        page.open(server.url)
        page.until(f"{PICTURES} > 1")
        click(page, "side")
        page.run("document.getElementById('palette').value = 'White hot'")
        shown = PIXEL.format("thermal", 120, 40)
        page.until(f"{shown}[0] > 200")
        page.run(
            "document.getElementById('palette').value = 'Black hot';"
            "document.getElementById('palette').dispatchEvent(new Event('change'))"
        )
        assert page.run(shown)[0] < 60
        widths = page.run(
            "Array.from(document.querySelectorAll('figure')).map((f) => f.clientWidth)"
        )
        assert min(widths) > 200, "all three are shown"
        click(page, "overlay")
    assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["overlay", "side", "thermal"])
def test_a_phone_needs_no_sideways_scrolling(serve, page, scheme, view):
    server = serve()
    page.size(390, 844, phone=True)
    page.scheme(scheme)
    with publishing(server):
        page.open(server.url)
        page.until(f"{PICTURES} > 1")
        click(page, view)
        page.until("document.querySelectorAll('.stage canvas').length === 2")
        assert page.run("document.documentElement.scrollWidth") <= 390
        small = page.run(
            "Array.from(document.querySelectorAll('button, .button')).filter("
            "(b) => b.offsetParent && b.offsetHeight < 32).length"
        )
        assert small == 0, "buttons that a finger hits"
        background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) is (scheme == "dark")
    click(page, "overlay")


def test_before_any_picture_and_after_the_end(serve, page):
    server = serve()
    page.open(server.url)
    page.until("document.getElementById('empty').innerText.includes('no result yet')")
    assert page.run("document.getElementById('status').textContent") == "Trouble"
    server.publish(result(), *images())
    page.until(f"{PICTURES} === 1")
    assert page.run("document.getElementById('empty').hidden")
    server.close()
    page.until("document.getElementById('status').textContent === 'Disconnected'")
    assert page.run("document.getElementById('views').classList.contains('old')")


def test_a_page_comes_back_with_the_run(serve, page):
    server = serve()
    server.publish(result(), *images())
    page.open(server.url)
    page.until(f"{PICTURES} === 1")
    server.close()
    page.until("document.getElementById('status').textContent === 'Disconnected'")
    again = serve(f":{server.address.port}")
    again.publish(result(), *images())
    page.until(f"{PICTURES} > 1")
    page.until("document.getElementById('status').textContent === 'Live'")


def test_a_lost_camera_is_told(serve, page):
    server = serve()
    server.publish(result(0, "hold", note="thermal failed (pulled out)"), *images())
    page.open(server.url)
    page.until("document.getElementById('banner').innerText.includes('pulled out')")
    assert page.run("document.getElementById('status').textContent") == "Trouble"


def test_the_token_leaves_the_address(serve, page):
    server = serve("0.0.0.0:0")
    server.publish(result(), *images())
    page.open(f"http://127.0.0.1:{server.address.port}/?token={server._gate.token}")
    page.until(f"{PICTURES} === 1")
    assert "token" not in page.run("location.href")
    assert page.run("document.cookie") == "", "out of reach of scripts"


def test_a_new_token_is_told(serve, page):
    server = serve("0.0.0.0:0", token="the-first-token-of-all")
    server.publish(result(), *images())
    port = server.address.port
    page.open(f"http://127.0.0.1:{port}/?token=the-first-token-of-all")
    page.until(f"{PICTURES} === 1")
    server.close()
    serve(f"0.0.0.0:{port}", token="another-token-by-now")
    page.until("document.getElementById('banner').innerText.includes('new token')")
