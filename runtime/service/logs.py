"""Log lines for services: one line an event, as text or as JSON, and never a line per frame.

Modules log as ever, with the standard library: ``logging.getLogger("differseg.runtime.capture")``.
What belongs to an event beyond its sentence is given as ``extra=fields(camera="rgb")``.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

LogKind = Literal["text", "json"]

FIRST = 5
"""Lines of one kind that are written at once."""

EVERY_S = 60.0
"""Afterwards, one line of a kind in this time."""

_MOST_KEYS = 256
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_PREFIX = "differseg."
_FIELDS = "differseg_fields"
_KEY = "differseg_key"
_MORE = "differseg_more"


def fields(key: str | None = None, **values: Any) -> dict[str, Any]:
    """Return ``extra=`` of a log call.

    Args:
        key: Events of one key share a rate limit; None takes the message without its numbers.
        values: What belongs to the event: numbers, texts, lists; JSON shows them as they are.
    """
    return {_FIELDS: values, **({} if key is None else {_KEY: key})}


class RateLimit:
    """The first five of a kind, then one a minute that says how many it stands for.

    Args:
        first: Events of a kind that pass at once.
        every_s: Afterwards, one passes in this time.
        most_keys: Kinds remembered; beyond it the one that was quiet longest is forgotten.
    """

    def __init__(
        self, first: int = FIRST, every_s: float = EVERY_S, most_keys: int = _MOST_KEYS
    ) -> None:
        self._first, self._every_s, self._most_keys = first, every_s, most_keys
        self._states: OrderedDict[Hashable, tuple[int, float, int]] = OrderedDict()

    def passes(self, key: Hashable, now_s: float) -> int | None:
        """Return how many of this kind were held back since one passed; None to hold it back."""
        passed, last_s, held = self._states.pop(key, (0, -math.inf, 0))
        through = passed < self._first or now_s - last_s >= self._every_s
        if through:
            self._states[key] = (passed + 1, now_s, 0)
        else:
            self._states[key] = (passed, last_s, held + 1)
        if len(self._states) > self._most_keys:
            self._states.popitem(last=False)
        return held if through else None

    def overdue(self, now_s: float) -> dict[Hashable, int]:
        """Return the kinds held back that may pass again, with how many; they count as passed."""
        due = {
            key: held
            for key, (_, last_s, held) in self._states.items()
            if held and now_s - last_s >= self._every_s
        }
        for key in due:
            self._states[key] = (self._states[key][0] + 1, now_s, 0)
        return due


class LimitedHandler(logging.StreamHandler):
    """Writes records under a :class:`RateLimit`, the level, component and message being the kind.

    What was held back is told by the next of its kind, by any line a minute later, or at the end.

    Args:
        stream: Where to.
        limit: Decides.
        clock: Seconds, steady.
    """

    def __init__(
        self,
        stream: TextIO,
        limit: RateLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self._limit, self._clock = limit or RateLimit(), clock
        self._held: OrderedDict[Hashable, logging.LogRecord] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or hold it back; called by one thread at a time."""
        now_s = self._clock()
        kind = getattr(record, _KEY, None) or _NUMBERS.sub("#", str(record.msg))
        key = (record.name, record.levelno, kind)
        held = self._limit.passes(key, now_s)
        self._tell_overdue(now_s)
        if held is None:
            self._held[key] = record
            if len(self._held) > _MOST_KEYS:
                self._held.popitem(last=False)
            return
        self._held.pop(key, None)
        if held:
            setattr(record, _MORE, held)
        super().emit(record)

    def close(self) -> None:
        """Tell what was held back."""
        with suppress(ValueError):  # the stream may be closed already
            self.acquire()
            try:
                self._tell_overdue(math.inf)
            finally:
                self.release()
        super().close()

    def _tell_overdue(self, now_s: float) -> None:
        for key, held in self._limit.overdue(now_s).items():
            record = self._held.pop(key, None)
            if record is not None:
                if held > 1:
                    setattr(record, _MORE, held - 1)
                super().emit(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``component``, ``message``, ``fields``.

    ``exception`` holds a traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "component": _component(record),
            "message": _message(record),
        }
        values = getattr(record, _FIELDS, None)
        if values:
            document["fields"] = _plain(values)
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, allow_nan=False)


class TextFormatter(logging.Formatter):
    """``TIME LEVEL component: message  field=value``; long fields and tracebacks stand below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the indented lines that belong to it."""
        line = f"{_utc(record.created)} {record.levelname} {_component(record)}: "
        line += _printable(_message(record))
        blocks = []
        for name, value in getattr(record, _FIELDS, {}).items():
            text = value if isinstance(value, str) else json.dumps(_plain(value))
            if "\n" in text:
                blocks.append(f"{name}:\n{text}")
            else:
                line += f"  {name}={_printable(text)}"
        if record.exc_info:
            blocks.append(self.formatException(record.exc_info))
        below = [f"    {_printable(row)}" for block in blocks for row in block.splitlines()]
        return "\n".join([line, *below])


def log_to_stderr(
    kind: LogKind, *, level: int = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Write all log lines of the process in one form; replaces what was set up before.

    Warnings of Python and of other packages take the same way.

    Args:
        kind: ``text`` or ``json``.
        level: Least level of our own lines that is written; of others, WARNING at least.
        stream: Where to; standard error when None.
    """
    handler = LimitedHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.getLogger("differseg").setLevel(level)
    logging.captureWarnings(True)
    return handler


def _message(record: logging.LogRecord) -> str:
    more = getattr(record, _MORE, 0)
    return f"{record.getMessage()} (and {more} more)" if more else record.getMessage()


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix(_PREFIX)


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """Return what JSON can hold: no NaN, texts of what it does not know."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = getattr(value, "item", None)  # numpy's scalars
    return _plain(number()) if callable(number) and getattr(value, "ndim", 1) == 0 else str(value)


def _printable(text: str) -> str:
    """Keep a text from ending its line or steering the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
