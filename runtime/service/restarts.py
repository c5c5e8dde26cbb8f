"""Start a run again when it crashes or hangs, but not for ever: ``differseg run --supervise``.

The run is a child process.  What it is restarted for is a crash (a signal, a bug), a hang that its
watchdog ended, and a network that gave NaN; a wrong option or a missing package stays wrong, so
such a run ends, and so does one that is done.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from differseg.options import BUG_STATUS
from differseg.runtime.service.logs import fields
from differseg.runtime.service.notify import Notifier
from differseg.runtime.service.watchdog import WATCHDOG_STATUS

RESTARTS_VARIABLE = "DIFFERSEG_RESTARTS"
"""Tells the child how often it was restarted."""

_LOG = logging.getLogger("differseg.runtime.supervisor")
_CHECK_FAILED_STATUS = 1
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class RestartPolicy:
    """How often, and how patiently.

    Attributes:
        most: Restarts within ``within_s``; one more, and the supervisor gives up.
        within_s: Length of that window in seconds.
        delay_s: Pause before a restart, in which devices are let go.
        stop_s: What a child has to end after a signal; then its process group is killed.
    """

    most: int = 5
    within_s: float = 60.0
    delay_s: float = 1.0
    stop_s: float = 2.0


class RestartLimit:
    """Counts restarts in a sliding window.

    Args:
        most: Restarts within the window.
        within_s: Length of the window in seconds.

    Attributes:
        total: Restarts that were allowed.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self.total = 0
        self._within_s = within_s
        self._most = most
        self._times_s: deque[float] = deque(maxlen=max(most, 1))

    def allow(self, now_s: float) -> bool:
        """Return whether one more restart is allowed now, and count it where it is."""
        full = len(self._times_s) >= self._most
        if full and (not self._most or now_s - self._times_s[0] < self._within_s):
            return False
        self._times_s.append(now_s)
        self.total += 1
        return True


def restarts_so_far(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return how often this process was restarted; None where nothing supervises it."""
    text = environ.get(RESTARTS_VARIABLE, "")
    return int(text) if text.isdecimal() else None


def is_restarted(returncode: int) -> bool:
    """Return whether a child that ended like this is started again.

    Args:
        returncode: As :attr:`subprocess.Popen.returncode`.
    """
    return returncode < 0 or returncode in (WATCHDOG_STATUS, BUG_STATUS, _CHECK_FAILED_STATUS)


def exit_status(returncode: int) -> int:
    """Return the exit status that says the same, as shells do: 128 and the signal's number."""
    return returncode if returncode >= 0 else 128 - returncode


def child_command(arguments: Sequence[str]) -> list[str]:
    """Return the command of the real run, from the arguments of the supervised one."""
    kept = [text for text in arguments if text != "--supervise"]
    return [sys.executable, "-m", "differseg.cli", "run", *kept]


class Supervisor:
    """Runs a command until it is done, is told to stop, or fails too often.

    Args:
        command: Program and arguments.
        environ: Environment of the child; this process's when None.
        policy: How often to restart.
        notifier: The service manager's.  Signs of life come from the child, which needs
            ``NotifyAccess=all`` in the unit.
        clock: Seconds, steady.

    Attributes:
        restarts: Restarts so far.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        policy: RestartPolicy | None = None,
        *,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._environ = dict(os.environ if environ is None else environ)
        # It names the process that is watched, and would be this one.
        self._environ.pop("WATCHDOG_PID", None)
        self._policy = policy or RestartPolicy()
        self._notifier = notifier or Notifier()
        self._clock = clock
        self._limit = RestartLimit(self._policy.most, self._policy.within_s)
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: tuple[int, float] | None = None
        self._killed = False

    @property
    def restarts(self) -> int:
        """Restarts so far."""
        return self._limit.total

    def run(self) -> int:
        """Run; returns the exit status of the last child (0 where a stop came between two).

        SIGTERM and SIGINT are passed on.  To be called from the main thread.
        """
        with self._passing_signals():
            while True:
                returncode = self._run_child()
                if self._asked is not None or not is_restarted(returncode):
                    return exit_status(returncode)
                if not self._limit.allow(self._clock()):
                    self._give_up(returncode)
                    return exit_status(returncode)
                _LOG.warning(
                    f"the run ended with {ending(returncode)} and is started again",
                    extra=fields(key="restart", restarts=self.restarts, status=returncode),
                )
                if self._waits(self._policy.delay_s):
                    return 0

    def _run_child(self) -> int:
        """Start a child and wait for its end."""
        environ = {**self._environ, RESTARTS_VARIABLE: str(self.restarts)}
        self._child = subprocess.Popen(
            self._command, env=environ, start_new_session=True, preexec_fn=_dying_with_parent()
        )
        if self._asked is not None:  # a signal that came before there was a child
            self._pass_on()
        while True:
            with suppress(subprocess.TimeoutExpired):
                returncode = self._child.wait(_POLL_S)
                self._kill_group()  # whatever the child may have left behind
                return returncode
            if self._asked is not None:
                self._kill_when_late()

    def _kill_when_late(self) -> None:
        """Kill the child's process group when the time to stop is over."""
        assert self._asked is not None
        if self._killed or self._clock() - self._asked[1] < self._policy.stop_s:
            return
        self._killed = True
        _LOG.error(
            f"the run did not end within {self._policy.stop_s:g} s of a signal and is killed; its "
            "files may be incomplete"
        )
        self._kill_group()

    def _kill_group(self) -> None:
        assert self._child is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def _give_up(self, returncode: int) -> None:
        policy = self._policy
        _LOG.error(
            f"the run ended with {ending(returncode)}, and {policy.most} restarts within "
            f"{policy.within_s:g} s did not help; given up. The lines above say why it ends",
            extra=fields(restarts=self.restarts, status=returncode),
        )

    def _waits(self, seconds: float) -> bool:
        """Wait; returns whether a stop was asked for meanwhile."""
        end_s = self._clock() + seconds
        while self._asked is None and self._clock() < end_s:
            time.sleep(min(_POLL_S, seconds))
        return self._asked is not None

    def _pass_on(self) -> None:
        assert self._asked is not None
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(self._asked[0])

    @contextmanager
    def _passing_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # Python takes signals in the main thread only
            return

        def on_signal(number: int, _: FrameType | None) -> None:
            if self._asked is None:
                self._asked = (number, self._clock())
                self._notifier.stopping()
                self._pass_on()

        old = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        for each in old:
            signal.signal(each, on_signal)
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)
            self._notifier.close()


def ending(returncode: int) -> str:
    """Name the signal or the meaning of an exit status."""
    if returncode < 0:
        names = {int(each): each.name for each in signal.Signals}
        return names.get(-returncode, f"signal {-returncode}")
    meaning = {
        WATCHDOG_STATUS: " (it hung)",
        BUG_STATUS: " (a bug)",
        _CHECK_FAILED_STATUS: " (a check failed)",
    }
    return f"exit status {returncode}{meaning.get(returncode, '')}"


def _dying_with_parent() -> Callable[[], None] | None:
    """Return what a new child does so that it is told to end when its supervisor dies (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call above
            os._exit(exit_status(-signal.SIGTERM))

    return prepare
