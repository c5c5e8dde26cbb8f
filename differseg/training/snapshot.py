"""Files that appear whole or not at all, and the snapshot that holds a run's whole state.

A snapshot holds only tensors and plain values and is read with ``weights_only=True``: a file from
elsewhere cannot run code.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from differseg.errors import CheckpointError, InputError

SNAPSHOT_SCHEMA = 1
"""Version of the snapshot's layout; a reader refuses any other."""

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside ``path``, flush it to the disk, then rename it into place.

    A kill or a power cut at any moment leaves either the old file or the new one, never a half.

    Args:
        path: The file's final place.
        write: Called with the open binary file.

    Raises:
        InputError: The file cannot be written; the old one is still there, and what was written
            of the new one is gone.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if cause is None:
            raise
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written ({cause.strerror or cause}); make room or see to the "
            "permissions, then repeat the command: a run goes on from its last snapshot"
        ) from None


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error at the root; torch puts one of its own on top of it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def random_state() -> dict[str, Any]:
    """Return torch's generators.

    Nothing else that a run draws from has state: data and augmentation are functions of seed,
    epoch and index.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back."""
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def write_snapshot(path: Path, state: dict[str, Any]) -> None:
    """Write a run's state atomically; ``state`` holds tensors and plain values only."""
    document = {"schema": SNAPSHOT_SCHEMA, **state}
    write_atomically(path, lambda file: torch.save(document, file))


def read_snapshot(path: Path) -> dict[str, Any]:
    """Read a run's state onto the CPU.

    Raises:
        CheckpointError: Not readable, not a snapshot, or of another schema.
    """
    again = "start the run again with --restart"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: not a snapshot of a run, or a damaged one ({type(error).__name__}); {again}"
        ) from None
    schema = state.get("schema") if isinstance(state, dict) else None
    if schema != SNAPSHOT_SCHEMA:
        raise CheckpointError(
            f"{path}: expected a snapshot of schema {SNAPSHOT_SCHEMA}, got {schema!r}; {again}"
        )
    return dict(state)
