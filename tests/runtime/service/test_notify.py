"""What a real datagram socket receives."""

import os
import socket
import sys
import uuid

import pytest

from differseg.runtime.service.notify import STATUS_EVERY_S, Notifier


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(5)
        self.address = address

    def receive(self):
        return self.socket.recv(4096).decode()

    def is_quiet(self):
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    if request.param == "abstract":
        if not sys.platform.startswith("linux"):
            pytest.skip("abstract sockets are Linux's")
        manager = Manager(f"@differseg-test-{uuid.uuid4()}")
    else:
        manager = Manager(str(tmp_path / "n"))
    yield manager
    manager.socket.close()


def notifier_of(manager, **environ):
    return Notifier.from_environment({"NOTIFY_SOCKET": manager.address, **environ})


def test_every_message_arrives_as_systemd_reads_it(manager):
    notifier = notifier_of(manager, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid()))
    assert notifier.enabled
    assert notifier.heartbeat_s == 2.0
    notifier.ready("29.8 Hz")
    assert manager.receive() == "READY=1\nSTATUS=29.8 Hz"
    notifier.status("two\nlines", now_s=0)
    assert manager.receive() == "STATUS=two lines"
    notifier.heartbeat(now_s=0)
    assert manager.receive() == "WATCHDOG=1"
    notifier.stopping()
    assert manager.receive() == "STOPPING=1"
    notifier.close()
    notifier.close()
    notifier.ready()
    assert manager.is_quiet()
    assert notifier.failed == 0


def test_signs_of_life_come_at_half_of_the_allowed_time(manager):
    notifier = notifier_of(manager, WATCHDOG_USEC="3000000")
    sent_s = []
    for tenth in range(100):
        notifier.heartbeat(now_s=tenth / 10)
        if not manager.is_quiet():
            sent_s.append(tenth / 10)
    assert sent_s == [0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0]


def test_a_status_is_sent_when_it_is_new_and_not_too_often(manager):
    notifier = notifier_of(manager)
    notifier.status("a", now_s=0.0)
    assert manager.receive() == "STATUS=a"
    notifier.status("a", now_s=100.0)
    assert manager.is_quiet()
    notifier.status("b", now_s=STATUS_EVERY_S / 2)
    assert manager.is_quiet()
    notifier.status("b", now_s=STATUS_EVERY_S)
    assert manager.receive() == "STATUS=b"


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
    ids=["another process is watched", "zero", "no number", "not watched"],
)
def test_without_a_watchdog_no_sign_of_life_is_sent(manager, environ):
    notifier = notifier_of(manager, **environ)
    assert notifier.heartbeat_s is None
    notifier.heartbeat()
    assert manager.is_quiet()
    notifier.ready()
    assert manager.receive() == "READY=1"


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1234"])
def test_without_systemd_nothing_happens(address):
    environ = {} if address is None else {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    notifier = Notifier.from_environment(environ)
    assert not notifier.enabled
    assert notifier.heartbeat_s is None
    for call in (notifier.ready, notifier.heartbeat, notifier.stopping, notifier.close):
        call()
    notifier.status("x")
    assert notifier.failed == 0


def test_a_service_manager_that_is_gone_ends_nothing(tmp_path):
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.ready()
    assert notifier.failed == 1
    notifier.close()
