"""Files of sysfs: a missing or unreadable one is None, never an error."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOST_BYTES = 64
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


class SysfsFile:
    """One file that holds a number, kept open: to read it again costs one system call.

    A sensor of a unit that is switched off answers ``EAGAIN``; that costs nothing more, so it is
    simply asked again the next time.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def number(self) -> int | None:
        """Return the whole number that the file begins with (``32760 ma`` is 32760), or None."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._descriptor, _MOST_BYTES, 0)
        except BlockingIOError:
            return None
        except OSError:
            self.close()  # a driver that was loaded again has a new file behind the path
            return None
        try:
            return int(data.split(None, 1)[0])
        except (ValueError, IndexError):
            return None

    def close(self) -> None:
        """Close the file; it is opened again when it is read."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_text(path: Path) -> str | None:
    """Return what stands in a file, without white space around it, read once."""
    try:
        return path.read_text(errors="replace").strip()
    except (OSError, TypeError):  # TypeError: Python's answer to EAGAIN of a buffered file
        return None


def read_number(path: Path) -> int | None:
    """Return the whole number in a file, read once."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def entries(folder: Path, prefix: str = "") -> list[Path]:
    """Return what is in a folder and begins with a prefix, by number; nothing without a folder."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return []

    def by_number(name: str) -> tuple[int, str]:
        match = _LAST_NUMBER.search(name)
        return (int(match[1]) if match else -1, name)

    return [folder / name for name in sorted(names, key=by_number)]
