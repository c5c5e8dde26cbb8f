"""How much room a disk has, and how to have what was written on it."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write where a folder is."""
    return shutil.disk_usage(folder).free


def sync_path(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk.

    Raises:
        OSError: The disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(folder: Path) -> None:
    """Return when all that was written to the file system of a folder is on its disk.

    One call for hundreds of new files is many times cheaper than ``fsync`` for each.  Where the C
    library has no ``syncfs`` (outside Linux), everything on every disk is waited for.

    Raises:
        OSError: The disk failed.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
