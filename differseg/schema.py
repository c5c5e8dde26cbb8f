"""Frozen dataclasses to plain JSON values and back, with every mistake named by its field.

Used for the manifest inside model files and for other documents that travel between machines
(registration files, checkpoint metadata).  Standard library only.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from typing import Any, TypeVar

from differseg.errors import ManifestError

T = TypeVar("T")

_DEEPEST = 32  # levels of a value without a type of its own; a recursive writer follows them


def to_plain(value: Any) -> Any:
    """Turn a dataclass tree into dicts, lists and scalars that ``json.dumps`` accepts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def parse_json(text: str, what: str) -> Any:
    """Parse a JSON text.

    Args:
        text: The document.
        what: Its name for messages.

    Raises:
        ManifestError: Not JSON, or nested deeper than any document of ours.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise ManifestError(f"{what}: not valid JSON ({error})") from None
    except RecursionError:
        raise ManifestError(f"{what}: not valid JSON (nested too deeply)") from None


def from_plain(cls: type[T], document: Any, where: str = "") -> T:
    """Build ``cls`` from parsed JSON; refuse wrong types, missing and unknown keys.

    Args:
        cls: A dataclass whose fields are scalars, ``Literal``, optional values, tuples, string
            dicts or other such dataclasses.
        document: What ``json.loads`` gave.
        where: Path of ``document`` for messages, such as ``inputs[0]``.

    Raises:
        ManifestError: Names the field by its path, what was got and what was expected.
    """
    label = where or cls.__name__
    if not isinstance(document, dict):
        raise ManifestError(f"{label}: expected an object, got {_kind(document)}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in document:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(fields)}"
            raise ManifestError(f"{label}: unknown key '{key}'{hint}")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in document:
            path = f"{where}.{name}" if where else name
            values[name] = _convert(hints[name], document[name], path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ManifestError(f"{label}: required key '{name}' is missing")
    try:
        return cls(**values)
    except ManifestError as error:
        raise ManifestError(f"{where}.{error}" if where else str(error)) from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Convert one JSON value to the annotated type ``hint``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        inner = [arg for arg in args if arg is not type(None)]
        return _convert(inner[0], value, where)
    if origin is typing.Literal:
        if value not in args:
            choices = ", ".join(repr(a) for a in args)
            raise ManifestError(f"{where}: expected one of {choices}; got {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ManifestError(f"{where}: expected an object, got {_kind(value)}")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast("type[Any]", hint), value, where)
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ManifestError(f"{where}: expected a list, got {_kind(value)}")
    if len(args) == 2 and args[1] is Ellipsis:
        kinds: list[Any] = [args[0]] * len(value)
    elif len(value) != len(args):
        raise ManifestError(f"{where}: expected {len(args)} values, got {len(value)}")
    else:
        kinds = list(args)
    pairs = zip(kinds, value, strict=True)
    return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(pairs))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        _check_free(value, where)
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, where)
    if hint is int and isinstance(value, bool):
        raise ManifestError(f"{where}: expected int, got {_kind(value)}")
    if not isinstance(value, hint):
        raise ManifestError(f"{where}: expected {hint.__name__}, got {_kind(value)}")
    return value


def _finite(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise ManifestError(f"{where}: expected a finite number, got {json.dumps(number)}")
    return number


def _check_free(value: Any, where: str, depth: int = 0) -> None:
    """Refuse in a value without a type of its own what could not be written again."""
    if depth > _DEEPEST:
        raise ManifestError(f"{where}: nested more than {_DEEPEST} levels deep")
    if isinstance(value, float):
        _finite(value, where)
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple)):
        for item in items:
            _check_free(item, where, depth + 1)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    name = names.get(type(value))
    if name == "text":
        return f"text {value!r:.60}"
    return name or f"{type(value).__name__} {value!r:.60}"
