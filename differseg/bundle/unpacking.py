"""Unpack a bundle that was verified, into a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from differseg.bundle.index import BundleIndex
from differseg.bundle.reading import Write, each_file, opened, verify
from differseg.errors import InputError
from differseg.signing import Key


def unpack_bundle(path: Path | str, out: Path | str, key: Key | None = None) -> BundleIndex:
    """Verify a bundle and write its files into a folder.

    Args:
        path: The bundle.
        out: The folder; it does not exist yet, or is empty.
        key: Whose signature is asked for; None asks for none.

    Returns:
        What is inside.

    Raises:
        ModelFileError: The bundle is damaged.
        CheckFailedError: With a key: it is not signed, or not by this key.
        InputError: The folder cannot be written, or holds something.
    """
    out = Path(os.path.abspath(out))
    _check_place(out)
    with opened(path) as bundle:
        verify(bundle, key)
        with _beside(out) as folder, contextlib.ExitStack() as files:

            def sink(name: str) -> Write:
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                file: BinaryIO = files.enter_context(target.open("xb"))
                files.callback(os.fsync, file.fileno())
                files.callback(file.flush)
                return file.write

            each_file(bundle, sink)  # checks all again: the file may have changed since
        return bundle.index


def _check_place(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"bundle: --out: {out} is not a folder; name one that does not exist yet")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"bundle: --out: {out} holds files already; name a folder that does not exist yet"
        )


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give an empty folder beside ``out`` and rename it when the block succeeds."""
    parent = out.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
    except OSError as error:
        raise InputError(f"bundle: {out} cannot be written ({error.strerror})") from None
    try:
        whole = folder / out.name
        whole.mkdir()
        yield whole
        for inside in whole.iterdir():
            if inside.is_dir():
                _sync(inside)
        _sync(whole)
        try:
            os.rename(whole, out)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise InputError(f"bundle: {out} was filled meanwhile; name another") from None
            raise
        _sync(parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk, so that a power cut does not take them back."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
