"""Whether a lost camera's device node or server is there again."""

import os
import socket
import time

import pytest

from differseg.runtime.sources import parse_source, presence
from differseg.runtime.sources.presence import ServerPresence, device_presence


def test_a_node_is_told_from_its_successor(tmp_path):
    node = tmp_path / "video9"
    assert device_presence(str(node)) is None
    node.touch()
    first = device_presence(str(node))
    assert first is not None
    assert device_presence(str(node)) == first
    (tmp_path / "other").touch()
    os.replace(tmp_path / "other", node)
    assert device_presence(str(node)) not in (None, first)


def test_a_change_of_permissions_is_seen(tmp_path):
    """A node belongs to root for a moment, until udev gives it to its group."""
    node = tmp_path / "video9"
    node.touch(0o600)
    first = device_presence(str(node))
    time.sleep(0.02)
    node.chmod(0o660)
    assert device_presence(str(node)) != first


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(presence, "_EVERY_S", 0.0)


def test_a_server_is_seen_to_go_and_to_come_back(often):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = ServerPresence(f"rtsp://user:secret@127.0.0.1:{port}/live")
        assert asked.ask() == asked.seen() == "up"
    assert asked.ask() is None
    with socket.create_server(("127.0.0.1", port)):
        assert asked.ask() == "up"


def test_a_server_is_not_asked_all_the_time(monkeypatch):
    calls = []

    def refuse(*_):
        calls.append(1)
        raise OSError

    monkeypatch.setattr(presence.socket, "create_connection", refuse)
    asked = ServerPresence("http://127.0.0.1:1/")
    assert [asked.ask() for _ in range(50)] == [None] * 50
    assert len(calls) == 1


def test_a_name_is_looked_up_only_while_the_server_is_read_from(often):
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = ServerPresence(f"rtsp://localhost:{server.getsockname()[1]}/live")
        assert asked.ask() == "unknown"
        assert asked.seen() == asked.ask() == "up"
    assert asked.ask() is None


@pytest.mark.parametrize("address", ["udp://h:5000", "rtsp://", "rtsp://h:99999999/x", "foo://h"])
def test_of_others_nothing_is_known(address):
    assert ServerPresence(address).ask() == "unknown"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/dev/video987", "device"),
        ("v4l2src device=/dev/video987 ! videoconvert", "device"),
        ("nvv4l2:/dev/video987", "device"),
        ("rtsp://127.0.0.1:9/live", "server"),
        ("nvdec:rtsp://127.0.0.1:9/live", "server"),
        ('rtspsrc location="rtsp://127.0.0.1:9/live" ! decodebin', "server"),
        ("csi:0", "unknown"),
        ("videotestsrc ! identity", "unknown"),
    ],
)
def test_what_sources_ask_for(text, kind):
    source = parse_source(text, "rgb")
    assert source.reopens
    assert source.presence() == ("unknown" if kind == "unknown" else None)


@pytest.mark.parametrize("text", ["synthetic:", "."])
def test_recordings_and_synthetic_cameras_are_not_reopened(text):
    for live in (True, False):
        assert not parse_source(text, "rgb", live=live).reopens
