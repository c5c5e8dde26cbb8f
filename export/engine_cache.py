"""Engines that were built before, by everything that makes them: build once, copy afterwards.

An entry is a folder under the user's cache named by a key, with the engine and its sidecar.  A lock
file beside it, held while a process builds or copies, makes a second process wait and then copy; it
ends with its process, so a killed build leaves no lock and no half-written engine.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from differseg.errors import InputError


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/differseg``, by default ``~/.cache/differseg``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base if base else Path.home() / ".cache") / "differseg"


def engine_key(facts: Mapping[str, Any]) -> str:
    """Return the key of a build: 24 hexadecimal digits of the hash of its facts.

    Args:
        facts: JSON values: hash of the model, of the plugins, the library's version, GPU, options.
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextlib.contextmanager
def locked_entry(key: str, folder: Path | None = None) -> Iterator[Path]:
    """Hold the entry of a key; other processes that want the same one wait.

    Args:
        key: As :func:`engine_key` gave it.
        folder: Where entries lie; ``engines`` of :func:`cache_folder` by default.

    Yields:
        The entry's folder, which exists.

    Raises:
        InputError: The cache cannot be written.
    """
    base = cache_folder() / "engines" if folder is None else folder
    try:
        entry = base / key
        entry.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(base / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"build: the cache {base} cannot be written ({error.strerror}); set XDG_CACHE_HOME to "
            "a folder that can, or add --no-cache"
        ) from None
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield entry
    finally:
        os.close(descriptor)
