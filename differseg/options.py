"""Command lines from frozen dataclasses: one definition is the flags, the help and the Python call.

A verb is a dataclass of options and a function that takes it.  A field becomes a ``--flag``; the
string under the field (an attribute docstring) is its help text; ``metadata`` may hold
``positional=True``, ``short="-o"``, ``metavar``, ``repeat=True`` or ``group``, a heading in the
help that holds until the next one.  A ``bool`` that is True or
None when not given has a ``--flag`` and a ``--no-flag``.  Unknown flags are refused with the
nearest match, and every mistake is one line, never a usage dump.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import difflib
import inspect
import itertools
import re
import signal
import sys
import textwrap
import threading
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from differseg.errors import DifferSegError, InputError
from differseg.extras import naming_the_extra

T = TypeVar("T")

BUG_STATUS = 70
"""Exit status of a mistake in differseg itself (EX_SOFTWARE of sysexits.h)."""


def size_hw(text: str) -> tuple[int, int]:
    """Read ``480x640`` (height x width, pixels)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 480x640, got '{text}'")
    return int(match[1]), int(match[2])


def option(default: Any = dataclasses.MISSING, **metadata: Any) -> Any:
    """Declare a field with command-line metadata (``positional``, ``short``, ``metavar``)."""
    return dataclasses.field(default=default, metadata=metadata)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with the nearest known flag."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            message = f"unknown option {unknown[1]}{hint}"
        raise InputError(f"{self.prog}: {message} (see '{self.prog} --help')")


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the string literal under each annotated field of ``cls`` and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for node, after in itertools.pairwise(body):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                value = getattr(after, "value", None)
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    docs[node.target.id] = " ".join(value.value.split())
    return docs


def build_parser(cls: type, prog: str) -> argparse.ArgumentParser:
    """Build the parser of one verb from its options dataclass."""
    summary = inspect.cleandoc(cls.__doc__ or "")
    parser = _Parser(prog=prog, description=summary, allow_abbrev=False)
    docs, hints = attribute_docs(cls), typing.get_type_hints(cls)
    place: argparse.ArgumentParser | argparse._ArgumentGroup = parser
    for field in dataclasses.fields(cls):
        if "group" in field.metadata:
            place = parser.add_argument_group(field.metadata["group"])
        _add(place, field, hints[field.name], docs.get(field.name, ""))
    parser.usage = _usage(parser, prog)
    return parser


def _usage(parser: argparse.ArgumentParser, prog: str) -> str:
    """Return the usage in one line: what must be given, and that there are options."""
    words = [prog]
    for action in parser._actions:
        name = str(action.metavar or action.dest.upper())
        if not action.option_strings:
            words.append(name if action.nargs is None else f"[{name}]")
        elif action.required:
            words.append(f"{action.option_strings[-1]} {name}")
    return " ".join([*words, "[options]"]).replace("%", "%%")


def _add(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    field: dataclasses.Field[Any],
    hint: Any,
    doc: str,
) -> None:
    meta = field.metadata
    required = field.default is dataclasses.MISSING
    settings: dict[str, Any] = {"help": doc.replace("%", "%%")}
    if not required:
        settings["default"] = field.default
        if not (field.default in (None, ()) or isinstance(field.default, bool)):
            shown = field.default
            shown = "x".join(map(str, shown)) if isinstance(shown, tuple) else shown
            settings["help"] += f" (default: {shown})"
    kind, settings_of_kind = _kind(hint)
    settings.update(settings_of_kind)
    if settings.get("action") == "append":
        settings["default"] = list(typing.cast("tuple[Any, ...]", field.default))
    if "metavar" in meta:
        settings["metavar"] = meta["metavar"]
    if meta.get("positional"):
        if not required:
            settings["nargs"] = "?"
        parser.add_argument(field.name, **settings)
        return
    flags = [*([meta["short"]] if "short" in meta else []), "--" + field.name.replace("_", "-")]
    settings["dest"] = field.name
    if kind is bool:
        switch = argparse.BooleanOptionalAction if field.default is not False else "store_true"
        settings["action"] = switch
    else:
        settings["required"] = required
    parser.add_argument(*flags, **settings)


def _kind(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return the element type of an annotation and the argparse settings it implies."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _kind(next(arg for arg in args if arg is not type(None)))
    if origin is typing.Literal:
        return str, {"choices": args}
    if origin is tuple and args == (int, int):
        return tuple, {"type": size_hw, "metavar": "HxW"}
    if origin is tuple:
        return tuple, {"type": args[0], "action": "append"}
    if hint is bool:
        return bool, {}
    if hint is Path:
        return Path, {"type": Path}
    return hint, {"type": hint}


def parse(cls: type[T], argv: Sequence[str] | None, prog: str) -> T:
    """Read a command line into ``cls``.

    Raises:
        InputError: An unknown flag (nearest match named), a missing or malformed value.
    """
    namespace = vars(build_parser(cls, prog).parse_args(argv))
    for name, value in namespace.items():
        if isinstance(value, list):
            namespace[name] = tuple(value)
    return cls(**namespace)


def run_main(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a verb's ``main`` and turn every foreseen mistake into one line and its exit status.

    A mistake that nobody foresaw keeps its traceback, and its status is never that of a check
    that failed.
    """
    try:
        with naming_the_extra("this command"):
            return main(argv)
    except DifferSegError as error:
        text = " ".join(str(error).split())
        print(f"error[{error.code}]: {text}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:  # a full disk, no permission: of the machine, not of the code
        place = f"{error.filename}: " if error.filename is not None else ""
        reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
        print(
            f"error[{InputError.code}]: {place}{reason}; look at the free space and the "
            "permissions of the place, or choose another one",
            file=sys.stderr,
        )
        return InputError.exit_code
    except Exception as error:
        traceback.print_exc()
        print(
            f"error[E_BUG]: {type(error).__name__}: this is a bug in differseg; please report it "
            "with the lines above and the command",
            file=sys.stderr,
        )
        return BUG_STATUS


@contextlib.contextmanager
def unwinding_on_sigterm() -> Iterator[None]:
    """Let the first SIGTERM unwind the block, as Ctrl-C does; exit status 143.

    Temporary files are thereby removed.  A second SIGTERM ends the process at once.  Outside the
    main thread, where Python delivers no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, frame: types.FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
