"""Tensors by name out of a weights file, safely, with one line for every way it can be wrong."""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from differseg.errors import CheckpointError

_STATE_KEYS = ("model_state_dict", "state_dict", "model")
"""Where snapshots keep the state dict: DifferSeg's authors, OpenMMLab, SAM 2 and FSANet's."""
_AVERAGE_KEYS = ("ema_state_dict", "state_dict_ema", "model_ema", "ema")
"""Where they keep averaged weights beside it."""
_WRAPPERS = ("module.", "_orig_mod.")
"""What several GPUs and torch.compile put in front of every name."""

_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")
_TRUNCATED = ("header too small", "invalid header length", "not fully covered")


@dataclass(frozen=True)
class Snapshot:
    """The weights in a file and where they were.

    Attributes:
        tensors: By name, on the CPU, without what wraps every name.
        place: The key that held them, or "" for a bare state dict.
        wrapper: What stood in front of every name, or "".
        average: The key of averaged weights in the file, or "".
        settings: The plain values that the file keeps under ``config``.
    """

    tensors: dict[str, Tensor]
    place: str
    wrapper: str
    average: str
    settings: dict[str, Any]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a ``.safetensors``, ``.pt`` or ``.pth`` file, on the CPU.

    Raises:
        CheckpointError: No file, another suffix, damaged, unsafe, or without a state dict.
    """
    return read_snapshot(path).tensors


def read_snapshot(path: Path, *, averaged: bool = False) -> Snapshot:
    """Read the state dict in a file, and what the file says around it.

    Args:
        path: A ``.safetensors``, ``.pt`` or ``.pth`` file.
        averaged: Put averaged weights in the place of those that were last trained; what is not
            averaged, such as running statistics, stays.

    Raises:
        CheckpointError: As for :func:`read_tensors`, or ``averaged`` and the file has none.
    """
    _check_path(path)
    content = _read_safetensors(path)[0] if path.suffix == ".safetensors" else _read_pickle(path)
    whole, places = content, []
    for key in _STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            places.append(key)
    tensors, wrapper = _unwrapped(_checked(path, content))
    around = whole if places else {}
    average = next((key for key in _AVERAGE_KEYS if isinstance(around.get(key), Mapping)), "")
    if averaged:
        if not average:
            raise CheckpointError(f"checkpoint {path}: holds no averaged weights")
        better = _unwrapped(_checked(path, around[average]))[0]
        strange = next((key for key in better if key not in tensors), None)
        if strange is not None:
            raise CheckpointError(
                f"checkpoint {path}: averaged weight '{strange}' is none of the network's"
            )
        tensors.update(better)
    settings = around.get("config")
    return Snapshot(
        tensors,
        place=".".join(places),
        wrapper=wrapper,
        average=average,
        settings=dict(settings) if isinstance(settings, Mapping) else {},
    )


def _unwrapped(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors without the prefixes that all their names share, and these prefixes."""
    wrapper = ""
    while True:
        found = next((w for w in _WRAPPERS if all(key.startswith(w) for key in tensors)), None)
        if found is None:
            return tensors, wrapper
        tensors = {key.removeprefix(found): value for key, value in tensors.items()}
        wrapper += found


def _checked(path: Path, content: Any) -> dict[str, Tensor]:
    """Return a state dict whose entries are dense tensors with names, or say what is wrong."""
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"checkpoint {path}: expected a state dict, got {_describe(content)}")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"checkpoint {path}: expected a state dict, bare or under '{_STATE_KEYS[0]}'; "
                f"entry '{key}' is {_describe(value)}"
            )
        if not isinstance(key, str):
            raise CheckpointError(
                f"checkpoint {path}: expected names of weights, got the key {key!r:.40}"
            )
        if value.layout != torch.strided or value.is_meta or value.is_nested:
            kind = "has no values (meta device)" if value.is_meta else f"is {value.layout}"
            kind = "is a nested tensor" if value.is_nested else kind
            raise CheckpointError(
                f"checkpoint {path}: entry '{key}' {kind}; expected a dense tensor, save "
                "the state dict of the network as it runs"
            )
    return dict(content)


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata of a ``.safetensors`` file; other files have none.

    Raises:
        CheckpointError: As for :func:`read_tensors`.
    """
    _check_path(path)
    return _read_safetensors(path, tensors=False)[1] if path.suffix == ".safetensors" else {}


def _check_path(path: Path) -> None:
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise CheckpointError(
            f"checkpoint {path}: expected a .safetensors, .pt or .pth file, got "
            f"{repr(path.suffix) if path.suffix else 'no suffix'}"
        )
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "there is no such file"
        raise CheckpointError(f"checkpoint {path}: {what}")


def _read_safetensors(
    path: Path, *, tensors: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            values = {key: file.get_tensor(key) for key in file.keys()} if tensors else {}  # noqa: SIM118
            return values, file.metadata() or {}
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {error}") from None
    except SafetensorError as error:
        if any(sign in str(error) for sign in _TRUNCATED):
            size = path.stat().st_size
            raise CheckpointError(
                f"checkpoint {path}: truncated or damaged at {size} bytes ({error}); copy it again"
            ) from None
        raise CheckpointError(f"checkpoint {path}: not a safetensors file ({error})") from None


def _read_pickle(path: Path) -> Any:
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of formats that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED_GLOBAL.search(str(error))
        name = refused[1] if refused else _first_global(path)
        if name is None:
            raise CheckpointError(f"checkpoint {path}: not a file that torch wrote") from None
        raise CheckpointError(
            f"checkpoint {path}: refused, it wants to call {name} when it is loaded and a "
            "checkpoint may hold only tensors; ask for the state dict as .safetensors"
        ) from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {error}") from None
    except Exception as error:
        # The unpickler meets random bytes with whatever its state leads to: KeyError, EOFError ...
        reason = re.split(r"[.\n]", str(error), maxsplit=1)[0] or type(error).__name__
        raise CheckpointError(
            f"checkpoint {path}: truncated, damaged or not a file that torch wrote ({reason})"
        ) from None


def _check_sums(path: Path) -> None:
    """Compare an archive's checksums, which torch writes and does not read.

    One reading of the file, in pieces.  A file that is no archive is left to the unpickler.

    Raises:
        CheckpointError: An entry holds other bytes than were written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.save can be told to compute none; every sum is then written as 0.
            written = any(entry.CRC for entry in archive.infolist())
            damaged = archive.testzip() if written else None
    except zipfile.BadZipFile:
        return
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {error}") from None
    except (ValueError, EOFError, RuntimeError, zlib.error) as error:
        raise CheckpointError(
            f"checkpoint {path}: damaged ({str(error) or type(error).__name__}); copy it again"
        ) from None
    if damaged is not None:
        raise CheckpointError(
            f"checkpoint {path}: damaged, the checksum of {damaged!r} does not match; copy it again"
        )


def _first_global(path: Path) -> str | None:
    """Return the first function or class that a plain pickle names, without running it."""
    texts: list[str] = []
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if opcode.name == "STACK_GLOBAL":
                    return ".".join(texts[-2:])
                if isinstance(argument, str):
                    texts.append(argument)
    except ValueError:
        return None
    return None


def _describe(value: Any) -> str:
    """Name the kind of a value, for a message."""
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(repr, list(value)[:3]))}" if value else "an empty dict"
    return f"a {type(value).__name__}"
