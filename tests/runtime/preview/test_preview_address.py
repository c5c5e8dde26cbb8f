import socket

import pytest

from differseg.errors import InputError
from differseg.runtime.preview.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        (":8080", "127.0.0.1", 8080, True),
        ("8080", "127.0.0.1", 8080, True),
        ("localhost:80", "localhost", 80, True),
        ("127.0.0.2:80", "127.0.0.2", 80, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("[::1]:8080", "::1", 8080, True),
        ("[::]:0", "::", 0, False),
        ("robot.local:8080", "robot.local", 8080, False),
    ],
)
def test_addresses(text, host, port, loopback):
    address = parse_address(text)
    assert address == Address(host, port)
    assert address.is_loopback is loopback


@pytest.mark.parametrize(
    "text", ["", ":", "host", "host:port", ":70000", "::1:80", "http://a:8080"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="expected \\[HOST\\]:PORT"):
        parse_address(text)


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port} cannot be served"):
            Address("127.0.0.1", port).listen()


def test_a_host_of_nobody_is_one_clear_line():
    with pytest.raises(InputError, match="no address of this machine"):
        Address("no.such.host.invalid", 8080).listen()


def test_urls():
    assert Address("127.0.0.1", 80).url() == "http://127.0.0.1:80/"
    assert Address("::1", 80).url() == "http://[::1]:80/"
    assert "0.0.0.0" not in Address("0.0.0.0", 80).url()
