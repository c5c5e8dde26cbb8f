"""How a run is stopped from the terminal, or by what started it."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from differseg.runtime.console import stop_on_signals

SLOW_TO_END = """
import threading, time
from differseg.runtime.console import stop_on_signals
stop = threading.Event()
with stop_on_signals(stop):
    print("ready", flush=True)
    while not stop.is_set():
        time.sleep(0.01)
    print("stopping", flush=True)
    time.sleep({seconds})
print("closed", flush=True)
time.sleep(0.4)
"""


def start(seconds):
    code = SLOW_TO_END.format(seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    return process


def test_only_a_signal_more_than_a_second_later_kills():
    process = start(seconds=60)
    for number in (signal.SIGTERM, signal.SIGINT):
        time.sleep(0.1)
        process.send_signal(number)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT


def test_an_echo_after_the_end_does_not_change_the_exit_status():
    process = start(seconds=0)
    assert process.stdout.readline() == "closed\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_without_a_signal_everything_is_as_before():
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals(threading.Event()):
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_program_that_made_the_run_can_be_interrupted_after_the_echo():
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    # A shell's background jobs start with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = threading.Event()
    try:
        with stop_on_signals(stop):
            signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        signal.raise_signal(signal.SIGINT)  # the echo
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_echoes_while_the_interpreter_ends_do_not_change_the_exit_status():
    """The interpreter's end brings the system's handlers back, which would kill."""
    code = (
        "import threading; from differseg.runtime.console import stop_on_signals\n"
        "stop = threading.Event()\n"
        "with stop_on_signals(stop): print('ready', flush=True); stop.wait(20)\n"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        deadline_s = time.monotonic() + 0.9
        while process.poll() is None and time.monotonic() < deadline_s:
            process.send_signal(number)
            time.sleep(0.0005)
        assert process.wait(10) == 0
