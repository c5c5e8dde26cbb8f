"""What is known of a child process that talks in JSON, one object a line."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator
from typing import Any


def facts_in(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects in a child's output; a line that was cut off by its end is left out."""
    for line in lines:
        try:
            fact = json.loads(line)
        except ValueError:
            continue
        if isinstance(fact, dict):
            yield fact


def ending(code: int, stderr: bytes) -> str:
    """Name the signal or exit status of a process, and the last line that it wrote.

    Args:
        code: As :attr:`subprocess.Popen.returncode`.
        stderr: What it wrote to its standard error.
    """
    names = {int(s): s.name for s in signal.Signals}
    how = names.get(-code, f"exit status {code}")
    lines = [" ".join(line.split()) for line in stderr.decode("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return f"{how}: {last:.300}" if last else how
