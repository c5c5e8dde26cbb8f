import socket

import pytest

from differseg.errors import InputError
from differseg.runtime.preview.access import Gate
from differseg.runtime.preview.address import Address

TOKEN = "0123456789abcdef"
HERE = Address("127.0.0.1", 8080)
ALL = Address("0.0.0.0", 8080)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9000", "[::1]:8080", "LOCALHOST"])
def test_a_loopback_page_needs_no_token(host):
    gate = Gate(HERE)
    assert gate.token is None
    assert gate.judge({"host": host}, None).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.9", "[x"]
)
def test_a_loopback_page_refuses_other_hosts(host):
    assert Gate(HERE).judge({"host": host}, None).status == 421


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("192.168.0.9:8080", True),
        ("[fe80::1]:8080", True),
        (socket.gethostname(), True),
        ("evil.example:8080", False),
    ],
)
def test_hosts_of_an_open_page(host, known):
    verdict = Gate(ALL, TOKEN).judge({"host": host}, TOKEN)
    assert verdict.status == (200 if known else 421)


def test_an_open_page_makes_a_token_of_its_own_each_time():
    first, second = Gate(ALL).token, Gate(ALL).token
    assert first != second
    assert len(first) >= 32


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, None, 401),
        ({}, TOKEN, 200),
        ({}, TOKEN + "x", 401),
        ({}, "", 401),
        ({}, "ä", 401),
        ({"authorization": f"Bearer {TOKEN}"}, None, 200),
        ({"authorization": "Bearer other"}, None, 401),
        ({"cookie": f"a=b; differseg_8080={TOKEN}"}, None, 200),
        ({"cookie": f"differseg_8081={TOKEN}"}, None, 401),
        ({"cookie": "differseg_8080=other"}, None, 401),
    ],
)
def test_the_token(headers, query, status):
    assert Gate(ALL, TOKEN).judge({"host": "10.0.0.2:8080", **headers}, query).status == status


def test_another_sites_page_is_refused_also_with_the_cookie():
    headers = {"host": "127.0.0.1:8080", "origin": "https://evil.example"}
    assert Gate(HERE).judge(headers, None).status == 403
    # Another program's page on this machine is another site too.
    assert Gate(HERE).judge(headers | {"origin": "http://127.0.0.1:3000"}, None).status == 403
    assert Gate(HERE).judge(headers | {"origin": "http://127.0.0.1:8080"}, None).status == 200


def test_the_cookie_is_out_of_reach_of_scripts():
    text = Gate(ALL, TOKEN).set_cookie()
    assert TOKEN in text
    assert "HttpOnly" in text
    assert "SameSite=Lax" in text


def test_a_short_token_is_refused():
    with pytest.raises(InputError, match="at least 16"):
        Gate(ALL, "secret")
