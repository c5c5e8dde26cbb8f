"""Lines for machines and for people, and not too many of them."""

import io
import itertools
import json
import logging
import math
import subprocess
import sys

import numpy as np
import pytest

from differseg.runtime.service.logs import (
    JsonFormatter,
    LimitedHandler,
    RateLimit,
    TextFormatter,
    fields,
    log_to_stderr,
)


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def log():
    """A logger of its own, with its clock and what it wrote."""
    clock, stream = Clock(), io.StringIO()
    handler = LimitedHandler(stream, clock=clock)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.Logger("differseg.runtime.test")
    logger.addHandler(handler)
    logger.clock, logger.handler = clock, handler
    logger.lines = lambda: stream.getvalue().splitlines()
    return logger


@pytest.fixture
def shown(log):
    log.handler.setFormatter(TextFormatter())
    return lambda: [line.split(": ", 1)[1] for line in log.lines()]


def test_the_first_five_then_one_a_minute_that_tells_of_the_others(log, shown):
    for tick in range(30 * 200):  # 200 s at 30 Hz
        log.clock.now_s = tick / 30
        log.warning("camera lost, try %d", tick)
    lines = shown()
    assert lines[:5] == [f"camera lost, try {tick}" for tick in range(5)]
    assert len(lines) == 5 + 3
    numbers = [int(line.split("(and ")[1].split()[0]) for line in lines[5:]]
    shown_at = [int(line.split("try ")[1].split()[0]) for line in lines[5:]]
    assert numbers == [b - a - 1 for a, b in itertools.pairwise([4, *shown_at])]
    assert 60 <= (shown_at[0] - 4) / 30 < 60.1


def test_lines_that_differ_in_numbers_alone_are_one_kind(log):
    for number in range(100):
        log.warning(f"frame {number} is {number * 0.7:.2f} s late")
    assert len(log.lines()) == 5


def test_kinds_levels_and_components_are_limited_apart(log):
    other = logging.Logger("differseg.runtime.other")
    other.addHandler(log.handler)
    for _ in range(10):
        log.warning("a")
        log.warning("b")
        log.error("a")
        other.warning("a")
    assert len(log.lines()) == 4 * 5


def test_a_key_makes_one_kind_of_different_sentences(log):
    for text in "abcdefgh":
        log.warning(text, extra=fields("camera"))
    assert log.lines() == list("abcde")


def test_what_was_held_back_is_told_by_any_later_line_and_at_the_end(log, shown):
    for number in range(9):
        log.warning("lost %d", number)
    log.clock.now_s = 61.0
    log.info("something else")
    for number in range(20, 22):
        log.warning("lost %d", number)
    log.handler.close()
    assert shown()[5:] == ["lost 8 (and 3 more)", "something else", "lost 21 (and 1 more)"]


def test_a_week_of_new_kinds_takes_bounded_memory():
    limit = RateLimit(most_keys=10)
    for number in range(1000):
        assert limit.passes(f"kind {number}", 0.0) == 0
    assert len(limit._states) == 10
    assert limit.passes("kind 999", 0.0) == 0
    assert limit.passes("kind 0", math.inf) == 0


def record(message, *arguments, level=logging.WARNING, **extra):
    logger = logging.Logger("differseg.runtime.capture")
    made = logger.makeRecord(logger.name, level, "f", 1, message, arguments, None, extra=extra)
    made.created = 1700000000.25
    return made


def test_a_json_line():
    values = {
        "camera": "rgb",
        "silent_s": math.nan,
        "size": (640, np.int64(512)),
        "why": OSError(5),
    }
    line = JsonFormatter().format(record("lost after %d s", 3, **fields(**values)))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "component": "runtime.capture",
        "message": "lost after 3 s",
        "fields": {"camera": "rgb", "silent_s": "nan", "size": [640, 512], "why": "5"},
    }
    assert "\n" not in JsonFormatter().format(record("two\nlines"))


def test_a_text_line():
    line = TextFormatter().format(record("lost", **fields(camera="rgb", silent_s=3.5)))
    assert line == (
        "2023-11-14T22:13:20.250Z WARNING runtime.capture: lost  camera=rgb  silent_s=3.5"
    )


def test_text_can_neither_forge_a_line_nor_steer_the_terminal():
    line = TextFormatter().format(record("a\nERROR forged", **fields(name="\x1b[2J")))
    assert line.endswith("a\\nERROR forged  name=\\x1b[2J")


def test_long_fields_and_tracebacks_stand_below_the_line():
    try:
        raise ValueError("bad")
    except ValueError:
        made = record("failed", **fields(stacks="one\ntwo"))
        made.exc_info = sys.exc_info()
    first, *below = TextFormatter().format(made).splitlines()
    assert first.endswith("runtime.capture: failed")
    assert below[:3] == ["    stacks:", "    one", "    two"]
    assert below[-1] == "    ValueError: bad"
    assert json.loads(JsonFormatter().format(made))["exception"].endswith("ValueError: bad")


WHOLE = """
import logging, warnings
from differseg.runtime.service.logs import fields, log_to_stderr
log_to_stderr("json")
log = logging.getLogger("differseg.runtime.capture")
log.info("open", extra=fields(camera="rgb"))
log.debug("not written")
logging.getLogger("another.package").info("not written")
warnings.warn("old")
for number in range(100):
    log.warning("late by %d ms", number)
print("out")
"""


def test_a_whole_process_writes_lines_that_parse_and_loses_no_count():
    done = subprocess.run([sys.executable, "-c", WHOLE], capture_output=True, text=True, timeout=50)
    assert done.stdout == "out\n"
    documents = [json.loads(line) for line in done.stderr.splitlines()]
    assert [each["component"] for each in documents[:2]] == ["runtime.capture", "py.warnings"]
    assert documents[0]["fields"] == {"camera": "rgb"}
    assert [each["message"] for each in documents[2:]] == [
        *(f"late by {number} ms" for number in range(5)),
        "late by 99 ms (and 94 more)",
    ]


def test_setting_it_up_replaces_what_was_there():
    root, ours = logging.getLogger(), logging.getLogger("differseg")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    root.handlers = []
    try:
        log_to_stderr("json", stream=io.StringIO())
        log_to_stderr("text", stream=stream)
        logging.getLogger("differseg.x").info("hello")
        assert stream.getvalue().endswith("INFO x: hello\n")
        assert len(root.handlers) == 1
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before[0], before[1]
        ours.setLevel(before[2])
