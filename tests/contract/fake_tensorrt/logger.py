"""``ILogger``, ``Logger``, ``IProfiler``, ``Profiler``, ``IProgressMonitor``, ``IErrorRecorder``.

Source: ``pyCore.cpp`` (trampolines: a method that was not overridden is a RuntimeError; what an
override raises is printed, and an exception in ``step_complete`` cancels the build).
"""

from __future__ import annotations

import sys
from typing import Any

from contract.pybind import takes


def _pure(method: str) -> Any:
    def refuse(self: Any, *_: Any) -> Any:
        raise RuntimeError(f'Tried to call pure virtual function "{method}"')

    return refuse


class ILogger:
    """Base of every logger."""

    log = takes("Severity", "str")(_pure("ILogger::log"))


class Logger:
    """The logger that comes with TensorRT: prints what is severe enough."""

    @takes("Severity")
    def _init(self, min_severity: Any = None) -> None:
        self._least = min_severity or self._world.classes["Severity"].WARNING

    @property
    def min_severity(self) -> Any:
        return self._least

    @min_severity.setter
    @takes("Severity")
    def min_severity(self, value: Any) -> None:
        self._least = value

    @takes("Severity", "str")
    def log(self, severity: Any, msg: str) -> None:
        if severity <= self._least:
            print(f"[TRT] [{'FEWIV'[int(severity)]}] {msg}")


class IProfiler:
    """Base of every profiler."""

    report_layer_time = takes("str", "float")(_pure("IProfiler::reportLayerTime"))


class Profiler:
    """The profiler that comes with TensorRT."""

    @takes("str", "float")
    def report_layer_time(self, layer_name: str, ms: float) -> None:
        print(f"{layer_name}: {ms}ms")


class IProgressMonitor:
    """Base of every progress monitor."""

    phase_start = takes("str", "str?", "int")(_pure("IProgressMonitor::phaseStart"))
    step_complete = takes("str", "int")(_pure("IProgressMonitor::stepComplete"))
    phase_finish = takes("str")(_pure("IProgressMonitor::phaseFinish"))


def tell(monitor: Any, method: str, *given: Any) -> bool:
    """Call a monitor; False when it says stop or fails.

    Whatever it raises is swallowed, KeyboardInterrupt included: the bindings catch every exception.
    """
    try:
        answer = getattr(monitor, method)(*given)
    except BaseException as problem:
        print(f"[ERROR] Exception caught in {method}(): {problem}", file=sys.stderr)
        return False
    if method == "step_complete" and not isinstance(answer, bool):
        print("[ERROR] Exception caught in step_complete(): Unable to cast", file=sys.stderr)
        return False
    return method != "step_complete" or answer
