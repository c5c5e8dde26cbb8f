"""Restarts: how many, for what, and that a stop is a stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from differseg.runtime.service.notify import Notifier
from differseg.runtime.service.restarts import (
    RESTARTS_VARIABLE,
    RestartLimit,
    RestartPolicy,
    Supervisor,
    child_command,
    exit_status,
    is_restarted,
    restarts_so_far,
)
from differseg.runtime.service.watchdog import WATCHDOG_STATUS

QUICK = RestartPolicy(delay_s=0.0)


def script(tmp_path, code):
    """Return a command whose child appends its environment's restart count to a file."""
    path = tmp_path / "child.py"
    head = (
        "import os, signal, sys, time\n"
        f"log = open({str(tmp_path / 'starts')!r}, 'a')\n"
        f"restarts = int(os.environ[{RESTARTS_VARIABLE!r}])\n"
        "print(restarts, file=log, flush=True)\n"
    )
    path.write_text(head + code)
    return [sys.executable, str(path)]


def starts(tmp_path):
    path = tmp_path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_the_limit_is_five_in_any_minute():
    limit = RestartLimit(5, 60.0)
    allowed = [now_s for now_s in range(300) if limit.allow(float(now_s))]
    assert allowed == [start + k for start in range(0, 300, 60) for k in range(5)]
    for first in allowed:
        assert sum(first <= now_s < first + 60 for now_s in allowed) <= 5
    assert limit.total == 25
    assert not limit.allow(299.5)
    assert limit.allow(300.0)


def test_no_restart_at_all_can_be_asked_for():
    limit = RestartLimit(0, 60.0)
    assert not limit.allow(0.0)
    assert not limit.allow(1000.0)


@pytest.mark.parametrize(
    ("returncode", "restarted", "status"),
    [
        (0, False, 0),
        (2, False, 2),
        (3, False, 3),
        (130, False, 130),
        (1, True, 1),
        (70, True, 70),
        (WATCHDOG_STATUS, True, WATCHDOG_STATUS),
        (-signal.SIGSEGV, True, 139),
        (-signal.SIGKILL, True, 137),
    ],
)
def test_what_is_restarted_and_what_the_status_says(returncode, restarted, status):
    assert is_restarted(returncode) is restarted
    assert exit_status(returncode) == status


def test_a_crash_loop_is_given_up_after_five_restarts(tmp_path, caplog):
    command = script(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    supervisor = Supervisor(command, policy=QUICK)
    assert supervisor.run() == 128 + signal.SIGSEGV
    assert starts(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert supervisor.restarts == 5
    messages = [record.getMessage() for record in caplog.records]
    assert sum("started again" in text for text in messages) == 5
    assert "SIGSEGV, and 5 restarts within 60 s did not help; given up" in messages[-1]


def test_a_slow_crash_loop_goes_on(tmp_path):
    """One crash in 13 s never makes more than five in a minute."""
    moments = iter(13.0 * k for k in range(1000))
    command = script(tmp_path, "sys.exit(75 if restarts < 8 else 0)")
    assert Supervisor(command, policy=QUICK, clock=lambda: next(moments)).run() == 0
    assert starts(tmp_path) == list(range(9))


def test_wrong_input_is_not_tried_again_and_keeps_its_status(tmp_path):
    assert Supervisor(script(tmp_path, "sys.exit(2)"), policy=QUICK).run() == 2
    assert starts(tmp_path) == [0]


def test_a_run_that_is_done_ends_the_supervisor(tmp_path):
    assert Supervisor(script(tmp_path, ""), policy=QUICK).run() == 0
    assert starts(tmp_path) == [0]


def test_the_child_is_the_one_that_gives_systemd_signs_of_life(tmp_path):
    code = "import json; print(json.dumps(dict(os.environ)), file=open(sys.argv[1], 'w'))"
    command = [*script(tmp_path, code), str(tmp_path / "environ")]
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    Supervisor(command, environ, QUICK).run()
    seen = json.loads((tmp_path / "environ").read_text())
    notifier = Notifier.from_environment(seen)
    assert notifier.heartbeat_s == 15.0
    notifier.close()
    assert restarts_so_far(seen) == 0
    assert restarts_so_far({}) is None


def test_the_real_runs_command_line():
    assert child_command(["--model", "F.onnx", "--supervise", "--rgb", "0"]) == [
        sys.executable, "-m", "differseg.cli", "run", "--model", "F.onnx", "--rgb", "0",
    ]  # fmt: skip


class SilentChild:
    """A child that hears nothing; its clock goes on with every look at it."""

    pid = 0

    def __init__(self, supervisor_clock):
        self.clock, self.signals, self.killed_s = supervisor_clock, [], None

    def poll(self):
        return None if self.killed_s is None else -signal.SIGKILL

    def send_signal(self, number):
        self.signals.append((number, self.clock[0]))

    def wait(self, timeout):
        self.clock[0] += timeout
        if self.clock[0] >= 1.0 and not self.signals:
            signal.raise_signal(signal.SIGTERM)
        if self.killed_s is not None:
            return -signal.SIGKILL
        raise subprocess.TimeoutExpired("child", timeout)


def test_a_child_that_hears_nothing_is_killed_two_seconds_after_the_signal(monkeypatch):
    """By a clock of its own: what is measured is the rule, not the machine."""
    clock = [0.0]
    child = SilentChild(clock)

    def killpg(pid, number):
        child.killed_s = child.killed_s or clock[0]

    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: child)
    monkeypatch.setattr(os, "killpg", killpg)
    supervisor = Supervisor(["x"], clock=lambda: clock[0])
    assert supervisor.run() == 137
    (number, asked_s), *more = child.signals
    assert (number, more) == (signal.SIGTERM, [])
    assert 2.0 <= child.killed_s - asked_s <= 2.1


WRAP = """
import sys
from differseg.runtime.service.restarts import RestartPolicy, Supervisor
policy = RestartPolicy(delay_s=60, stop_s=float(sys.argv[1]))
sys.exit(Supervisor(sys.argv[2:], policy=policy).run())
"""


class Wrapped:
    """A supervisor in a process of its own."""

    def __init__(self, command, stop_s):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRAP, str(stop_s), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.first = self.process.stdout.readline().split()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        out, err = self.process.communicate(timeout=50)
        return self.process.returncode, out, err


CLEAN = """
import threading
stop = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda n, _: (print("got", n, flush=True), stop.set()))
print(os.getpid(), flush=True)
stop.wait(60)
print("closed", flush=True)
"""

DEAF = """
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), helper.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_child_closes_its_files(tmp_path, number):
    wrapped = Wrapped(script(tmp_path, CLEAN), stop_s=40)
    wrapped.signal(number)
    assert wrapped.end() == (0, f"got {int(number)}\nclosed\n", "")
    assert starts(tmp_path) == [0]


def test_a_child_and_its_helpers_that_do_not_end_are_killed(tmp_path):
    wrapped = Wrapped(script(tmp_path, DEAF), stop_s=0.2)
    pids = [int(text) for text in wrapped.first]
    start_s = time.monotonic()
    wrapped.signal(signal.SIGTERM)
    status, _, err = wrapped.end()
    assert status == 137
    assert time.monotonic() - start_s < 30
    assert "did not end within 0.2 s of a signal and is killed" in err
    wait_until_gone(pids)


def test_a_stop_in_the_pause_before_a_restart_ends_at_once(tmp_path):
    wrapped = Wrapped(script(tmp_path, "print('x', flush=True); sys.exit(70)"), stop_s=2)
    assert "started again" in wrapped.process.stderr.readline()
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end()[0] == 0
    assert starts(tmp_path) == [0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_a_child_does_not_outlive_its_supervisor(tmp_path):
    wrapped = Wrapped(script(tmp_path, CLEAN), stop_s=2)
    wrapped.signal(signal.SIGKILL)
    assert wrapped.end()[0] == -signal.SIGKILL
    wait_until_gone([int(wrapped.first[0])])


def wait_until_gone(pids):
    pause = threading.Event()
    for _ in range(3000):
        if not any(is_running(pid) for pid in pids):
            return
        pause.wait(0.01)
    raise AssertionError(f"{pids} are still there after 30 s")


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
