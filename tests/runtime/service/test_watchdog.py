"""When a run counts as hanging, and how it ends then."""

import json
import logging
import subprocess
import sys
import threading

import pytest

from differseg.runtime.service.notify import Notifier
from differseg.runtime.service.watchdog import (
    WATCHDOG_STATUS,
    ProgressWatch,
    Watchdog,
    thread_stacks,
)

STEP_S = 0.5


def fires_s(watch, until_s, before=lambda now_s: None, start_s=0.0):
    """Look twice a second; return when the watch says that the run hangs, or None."""
    now_s = start_s
    while now_s <= until_s:
        before(now_s)
        if watch.stuck_s(now_s) is not None:
            return now_s
        now_s += STEP_S
    return None


def running_watch(now_s=0.0):
    """Return a watch whose first result is there."""
    watch = ProgressWatch(now_s=now_s)
    watch.taken(now_s)
    watch.finished(now_s + 0.01)
    return watch


def test_a_result_that_is_owed_for_ten_seconds_is_a_hang():
    watch = running_watch()
    watch.taken(1.0)
    assert fires_s(watch, 60.0) == 11.5


def test_a_hang_is_seen_while_another_thread_of_the_run_goes_on():
    """With an engine that computes beside the loop, the loop still turns while the GPU hangs."""
    watch = running_watch()
    watch.taken(1.0)
    assert fires_s(watch, 60.0, before=watch.idle) == 11.5


def test_a_loop_that_gives_no_sign_is_a_hang():
    watch = running_watch()
    assert fires_s(watch, 60.0) == 10.5


def test_cameras_may_be_offline_for_ever():
    watch = running_watch()
    assert fires_s(watch, 10_000.0, before=watch.idle) is None


def test_the_first_result_after_the_cameras_were_offline_has_its_whole_time():
    watch = running_watch()
    assert fires_s(watch, 100.0, before=watch.idle) is None
    watch.taken(100.5)
    assert fires_s(watch, 200.0, start_s=100.5) == 111.0


def test_the_first_result_may_take_two_minutes():
    watch = ProgressWatch(now_s=0.0)
    watch.taken(0.0)
    assert fires_s(watch, 119.0) is None
    watch.finished(119.0)
    assert watch.results == 1
    watch = ProgressWatch(now_s=0.0)
    watch.taken(0.0)
    assert fires_s(watch, 200.0) == 120.5


@pytest.mark.parametrize("took_s", [0.03, 3.0, 9.0, 25.0])
def test_a_slow_model_is_no_hang(took_s):
    watch = ProgressWatch(now_s=0.0)
    for number in range(20):
        watch.taken(number * took_s)
        end_s = (number + 1) * took_s
        assert fires_s(watch, end_s, start_s=number * took_s) is None
        watch.finished(end_s)


def test_after_one_slow_result_the_limit_is_the_usual_one_again():
    watch = ProgressWatch(now_s=0.0)
    for start_s, end_s in ((0.0, 60.0), (60.0, 60.1)):
        watch.taken(start_s)
        watch.finished(end_s)
    watch.taken(61.0)
    assert fires_s(watch, 200.0, start_s=61.0) == 71.5


def test_two_frames_under_way_owe_until_both_are_done():
    watch = running_watch()
    watch.taken(1.0)
    watch.taken(1.1)
    watch.finished(1.2)
    assert fires_s(watch, 60.0, before=watch.idle) == 11.5


def test_time_in_which_the_process_stood_still_does_not_count():
    watch = running_watch()
    watch.taken(1.0)
    assert watch.stuck_s(1.5) is None
    assert watch.stuck_s(601.5) is None
    assert fires_s(watch, 700.0, start_s=602.0) == 611.5


def test_a_run_that_closes_is_not_judged():
    watch = running_watch()
    watch.taken(1.0)
    watch.closing()
    assert fires_s(watch, 1000.0) is None


def test_the_watchdog_says_what_hangs_rescues_and_ends(caplog):
    watch, ended, rescued = ProgressWatch(0.05, 0.05), threading.Event(), []
    statuses, release = [], threading.Event()

    def end_process(status):
        statuses.append(status)
        ended.set()

    def hangs_in_the_driver():
        release.wait(30)

    victim = threading.Thread(target=hangs_in_the_driver, name="gpu")
    victim.start()
    with (
        caplog.at_level(logging.ERROR),
        Watchdog(watch, rescue=lambda: rescued.append(1), end_process=end_process, poll_s=0.01),
    ):
        watch.taken()
        assert ended.wait(30)
    release.set()
    victim.join()
    assert statuses == [WATCHDOG_STATUS]
    assert rescued == [1]
    (record,) = caplog.records
    assert "no result for" in record.getMessage()
    stacks = record.differseg_fields["stacks"]
    assert "Thread gpu" in stacks
    assert "hangs_in_the_driver" in stacks


def test_outputs_that_hang_too_do_not_keep_the_process(monkeypatch):
    monkeypatch.setattr("differseg.runtime.service.watchdog.RESCUE_S", 0.05)
    ended, release = threading.Event(), threading.Event()
    watchdog = Watchdog(
        ProgressWatch(0.01, 0.01),
        rescue=lambda: release.wait(60),
        end_process=lambda status: ended.set(),
        poll_s=0.01,
    )
    with watchdog:
        assert ended.wait(30)
    release.set()


class Listener(Notifier):
    """Writes down what would be sent."""

    def __init__(self, watchdog_s=None):
        super().__init__()
        self.watchdog_s, self.sent = watchdog_s, []

    def _send(self, *lines):
        self.sent.extend(lines)


def test_the_service_manager_hears_ready_with_the_first_result_and_stopping_once():
    watch, listener, stop = ProgressWatch(), Listener(watchdog_s=0.02), threading.Event()
    with Watchdog(watch, listener, stop=stop, poll_s=0.01):
        wait_for(lambda: listener.sent.count("WATCHDOG=1") >= 2)
        assert "READY=1" not in listener.sent
        watch.taken()
        watch.finished()
        wait_for(lambda: "READY=1" in listener.sent)
        stop.set()
        wait_for(lambda: "STOPPING=1" in listener.sent)
    assert listener.sent.count("READY=1") == listener.sent.count("STOPPING=1") == 1


def test_a_run_that_hangs_gives_no_sign_of_life():
    watch, listener, ended = (
        ProgressWatch(0.05, 0.05),
        Listener(watchdog_s=0.001),
        threading.Event(),
    )
    with Watchdog(watch, listener, end_process=lambda status: ended.set(), poll_s=0.01):
        watch.taken()
        assert ended.wait(30)
        count = listener.sent.count("WATCHDOG=1")
        assert not threading.Event().wait(0.05)
        assert listener.sent.count("WATCHDOG=1") == count


def wait_for(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within 30 s")


def test_stacks_name_the_threads():
    assert "thread MainThread (most recent" in thread_stacks()


HANGS = """
import sys, threading
from differseg.runtime.service.logs import log_to_stderr
from differseg.runtime.service.watchdog import ProgressWatch, Watchdog
log_to_stderr("json")
watch = ProgressWatch(0.2, 0.2)
with Watchdog(watch, poll_s=0.02):
    watch.taken()
    def waits_for_the_gpu():
        threading.Event().wait()
    waits_for_the_gpu()
"""

KEEPS_THE_LOCK = """
import ctypes
from differseg.runtime.service import watchdog
watchdog._HARD_MARGIN_S = 0.1
watch = watchdog.ProgressWatch(1.5, 1.5)
with watchdog.Watchdog(watch, hard=True, poll_s=0.02):
    watch.taken()
    def keeps_the_lock():
        ctypes.PyDLL(None).sleep(60)  # as a driver's binding that does not let go of it
    import time
    time.sleep(0.1)
    keeps_the_lock()
"""

IS_FINE = """
import time
from differseg.runtime.service.watchdog import ProgressWatch, Watchdog
watch = ProgressWatch(30, 30)
with Watchdog(watch, hard=True, poll_s=0.02):
    watch.taken(); watch.finished(); time.sleep(0.1)
print("done")
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)


def test_a_process_whose_main_thread_hangs_ends_with_its_own_status_and_one_line():
    done = python(HANGS)
    assert done.returncode == WATCHDOG_STATUS == 75
    (line,) = done.stderr.splitlines()
    document = json.loads(line)
    assert document["level"] == "error"
    assert document["component"] == "runtime.watchdog"
    assert "waits_for_the_gpu" in document["fields"]["stacks"]


def test_a_process_in_which_python_is_locked_ends_too():
    done = python(KEEPS_THE_LOCK)
    assert done.returncode == 1
    assert "keeps_the_lock" in done.stderr


def test_a_process_without_a_hang_ends_as_ever():
    done = python(IS_FINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
