"""Protocol buffers' text format, written from plain values; standard library only.

Written here because the generated classes of Triton's schema come with a client package that a
machine which only exports has no use for.  The tests parse what is written with those classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class EnumName(str):
    """The name of an enumeration's value, which is written without quotes."""

    __slots__ = ()


def message_text(fields: Mapping[str, Any]) -> str:
    """Return a message in the text format, one field a line.

    Args:
        fields: Field name -> a number, bool, text, :class:`EnumName`, a mapping (a message), or a
            list of them (a repeated field).  A map field is a list of ``key``/``value`` mappings.
            None and empty lists are left out.

    Raises:
        TypeError: A value of another type.
    """
    return "".join(f"{line}\n" for line in _lines(fields, ""))


def _lines(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        if value is None or value == []:
            continue
        if isinstance(value, list) and not isinstance(value[0], Mapping):
            yield f"{indent}{name}: [ {', '.join(_scalar(item) for item in value)} ]"
            continue
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, Mapping):
                yield f"{indent}{name}: {_scalar(item)}"
            elif not item:
                yield f"{indent}{name} {{}}"
            else:
                yield f"{indent}{name} {{"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, EnumName):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return f'"{"".join(_escaped(character) for character in value)}"'
    raise TypeError(f"the text format has no form for {type(value).__name__}")


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if " " <= character <= "~":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode())
