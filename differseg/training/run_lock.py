"""One run at a time in a folder: an advisory lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from differseg.errors import InputError

_held: set[int] = set()


def _close_in_child() -> None:
    # A lock lasts as long as any copy of its file is open.  Without this, the data workers of a
    # killed run would keep the folder locked until they have ended too.
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def run_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of a run's folder inside the block.

    Args:
        path: The lock's file, which stays there; it names the process while the lock is held.

    Yields:
        Whether the lock is held; False on a file system that has none.

    Raises:
        InputError: Another process holds it.
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _held.add(descriptor)
    try:
        locked = _lock(descriptor, path)
        if locked:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} on {platform.node()}\n".encode(), 0)
        yield locked
        if locked:
            os.ftruncate(descriptor, 0)
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown"
        raise InputError(
            f"--out {path.parent}: another run is at work in this folder (process {holder}); wait "
            "for it, stop it, or give another folder"
        ) from None
    except OSError:
        return False
    return True
