"""Python classes that refuse what pybind11's refuse.

The fake modules are made of *recipes* (what a method does) and *surfaces* (which methods the real
bindings of one release have, see extract_surface.py).  A name that the surface lacks does not
exist; a name that the surface has and no recipe models raises :class:`NotModelledError`, so that
a gap of the test-bed cannot be mistaken for a property of TensorRT.

What is imitated, from the pybind11 documentation ("Functions", "Object-oriented code", "Type
conversions"): arguments by the documented names only; a wrong type is a ``TypeError`` with
"incompatible function arguments"; a bound object takes no new attributes, a class derived from it
in Python does; such a class must call the base's ``__init__``; a class without constructor cannot
be made; enumerations are no ``enum.Enum`` (no iteration, no ``E["name"]``; ``__members__``,
``int()``; comparing with integers only where they were declared arithmetic).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar


class NotModelledError(NotImplementedError):
    """The real class has it, the fake does not: extend the recipe."""


class BoundEnum:
    """Member of a ``py::enum_``."""

    _arithmetic = False
    __members__: ClassVar[dict[str, BoundEnum]] = {}

    def __init__(self, value: int) -> None:
        object.__setattr__(self, "_value", operator.index(value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"can't set attribute {name!r}")

    @property
    def value(self) -> int:
        return self._value

    @property
    def name(self) -> str:
        for name, member in self.__members__.items():
            if member._value == self._value:
                return name
        return "???"

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self._value}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def _number(self, other: object) -> int | None:
        """The integer behind ``other`` where this enumeration compares with it."""
        if type(other) is type(self) or (self._arithmetic and isinstance(other, (int, BoundEnum))):
            return int(other)
        return None

    def __eq__(self, other: object) -> bool:
        number = self._number(other)
        return number is not None and self._value == number

    def _ordered(self, other: object, compare: Callable[[int, int], bool]) -> Any:
        number = self._number(other)
        if not self._arithmetic or number is None:
            return NotImplemented
        return compare(self._value, number)

    def __lt__(self, other: object) -> Any:
        return self._ordered(other, operator.lt)

    def __le__(self, other: object) -> Any:
        return self._ordered(other, operator.le)

    def __gt__(self, other: object) -> Any:
        return self._ordered(other, operator.gt)

    def __ge__(self, other: object) -> Any:
        return self._ordered(other, operator.ge)

    def _combined(self, other: object, combine: Callable[[int, int], int]) -> Any:
        number = self._number(other)
        if not self._arithmetic or number is None:
            return NotImplemented
        return combine(self._value, number)

    def __and__(self, other: object) -> Any:
        return self._combined(other, operator.and_)

    def __or__(self, other: object) -> Any:
        return self._combined(other, operator.or_)

    __rand__ = __and__
    __ror__ = __or__


def bound_enum(name: str, table: dict[str, Any], module: str) -> type[BoundEnum]:
    """An enumeration of a surface."""
    cls = type(name, (BoundEnum,), {"_arithmetic": table["arithmetic"], "__module__": module})
    members = {member: cls(value) for member, value in table["members"].items()}
    cls.__members__ = members
    for member, value in members.items():
        setattr(cls, member, value)
    return cls


def takes(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say which C++ types a recipe's method takes (see :func:`converted`)."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.kinds = kinds
        return function

    return mark


class _Mismatch(Exception):
    """An argument that this overload does not take."""


def _integer(value: object, kind: str) -> int:
    """pybind11's integer: no float; what has ``__index__`` or ``__int__`` (handles of CUDA)."""
    if isinstance(value, (float, str, bytes)) or value is None:
        raise _Mismatch
    try:
        number = operator.index(value) if hasattr(value, "__index__") else int(value)
    except (TypeError, ValueError):
        raise _Mismatch from None
    low, high = {"int": (-(2**31), 2**31), "long": (-(2**63), 2**63)}.get(kind, (0, 2**64))
    if not low <= number < high:
        raise _Mismatch
    return number


def converted(value: Any, kind: str, classes: dict[str, type]) -> Any:
    """One argument as C++ gets it.

    Kinds: ``int`` (32 bits), ``long`` (64 bits), ``size`` (unsigned), ``bool``, ``float``, ``str``,
    ``str?`` (``char const*``), ``buffer``, ``dims``, ``list`` of integers, ``texts``, ``any``, or
    the name of a class, with ``?`` where None is taken too.
    """
    optional = kind.endswith("?")
    kind = kind.rstrip("?")
    if value is None and optional:
        return None
    if kind == "any":
        return value
    if kind in ("int", "long", "size"):
        return _integer(value, kind)
    if kind == "bool":
        if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
            return bool(value)
        raise _Mismatch
    if kind == "float":
        if isinstance(value, (int, float)) or hasattr(value, "__float__"):
            return float(value)
        raise _Mismatch
    if kind == "str":
        if isinstance(value, (str, bytes)):
            return value.decode() if isinstance(value, bytes) else value
        raise _Mismatch
    if kind == "buffer":
        try:
            return bytes(memoryview(value))
        except TypeError:
            raise _Mismatch from None
    if kind in ("list", "texts", "dims"):
        return _sequence(value, kind, classes)
    if isinstance(value, classes[kind]):
        return value
    raise _Mismatch


def _sequence(value: Any, kind: str, classes: dict[str, type]) -> Any:
    """``std::vector`` of integers or texts, or ``Dims`` from any sequence of integers."""
    if kind == "dims" and isinstance(value, classes["Dims"]):
        return value
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        raise _Mismatch
    if kind == "texts":
        if not all(isinstance(item, str) for item in value):
            raise _Mismatch
        return list(value)
    numbers = [_integer(item, "long") for item in value]
    return numbers if kind == "list" else classes["Dims"](numbers)


def _bind(
    signature: list[list[str]],
    kinds: tuple[str, ...],
    given: tuple[Any, ...],
    named: dict[str, Any],
    classes: dict[str, type],
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of one overload, converted; :class:`_Mismatch` when they do not fit."""
    names = [entry[0] for entry in signature]
    if len(given) > len(names) or any(name not in names[len(given) :] for name in named):
        raise _Mismatch
    arguments = dict(zip(names, given, strict=False)) | named
    if any(len(entry) == 1 and entry[0] not in arguments for entry in signature):
        raise _Mismatch
    kind_of = dict(zip(names, kinds, strict=False))
    return [], {
        name: converted(value, kind_of.get(name, "any"), classes)
        for name, value in arguments.items()
    }


def bound_method(
    name: str,
    overloads: list[list[list[str]]],
    recipe: Callable[..., Any],
    classes: dict[str, type],
) -> Callable[..., Any]:
    """A method that takes exactly what the bindings of this release take."""
    kinds = getattr(recipe, "kinds", ())

    def call(self: Any, *given: Any, **named: Any) -> Any:
        for signature in overloads:
            try:
                positional, keywords = _bind(signature, kinds, given, named, classes)
            except _Mismatch:
                continue
            return recipe(self, *positional, **keywords)
        shown = "; ".join(f"({', '.join(entry[0] for entry in each)})" for each in overloads)
        got = ", ".join([repr(g) for g in given] + [f"{k}={v!r}" for k, v in named.items()])
        raise TypeError(
            f"{name}(): incompatible function arguments. The following argument types are "
            f"supported: {shown}. Invoked with: {got}"
        )

    call.__name__ = name
    return call


class BoundMeta(type):
    """Refuses a Python subclass whose ``__init__`` forgot the base's, as pybind11 does."""

    def __call__(cls, *given: Any, **named: Any) -> Any:
        made = super().__call__(*given, **named)
        if not getattr(made, "_constructed", False):
            raise TypeError(f"{cls.__mro__[1].__name__}.__init__() must be called when overriding")
        return made


def _set(self: Any, name: str, value: Any) -> None:
    """No new attributes on a bound object; a class derived in Python has a ``__dict__``."""
    cls = type(self)
    attribute = getattr(cls, name, None)
    if isinstance(attribute, property) or name.startswith("_") or not cls._is_bound:
        object.__setattr__(self, name, value)
        return
    raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")


def _recipe_member(recipes: tuple[type, ...], name: str) -> Any:
    """What the recipe (or one that it derives from) has under that name."""
    for recipe in recipes:
        for cls in recipe.__mro__:
            if name in vars(cls):
                return vars(cls)[name]
    return None


def _unmodelled(cls: str, name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotModelledError(f"{cls}.{name} exists in this release; the test-bed lacks it")

    return refuse


def _property(cls: str, name: str, access: str, member: Any, classes: dict[str, type]) -> property:
    if not isinstance(member, property):
        refuse = _unmodelled(cls, name)
        return property(refuse, refuse)
    setter = None
    if access != "readonly":
        kind = getattr(member.fset, "kinds", ("any",))[0] if member.fset else "any"

        def setter(self: Any, value: Any) -> None:
            try:
                value = converted(value, kind, classes)
            except _Mismatch:
                raise TypeError(f"{cls}.{name}: incompatible value {value!r}") from None
            member.fset(self, value)

    getter = None if access == "writeonly" else member.fget
    return property(getter, setter)


def bound_class(
    name: str,
    table: dict[str, Any],
    recipe: type | None,
    classes: dict[str, type],
    shared: dict[str, Any],
) -> type:
    """A class of a surface.

    Args:
        name: Its Python name.
        table: Its entry in the surface.
        recipe: What its methods do; None where nothing of it is modelled.
        classes: All classes of the module by name, filled one after the other.
        shared: Attributes that every class gets (the world that it lives in).
    """
    recipes = (recipe,) if recipe else ()
    base = classes.get(table["base"], object)
    content: dict[str, Any] = {"_is_bound": True, "_constructed": True, **shared}
    for cls in reversed([c for r in recipes for c in r.__mro__ if c is not object]):
        content |= {k: v for k, v in vars(cls).items() if k.startswith("_") and k not in _SKIP}
    for method, overloads in table["methods"].items():
        member = _recipe_member(recipes, method)
        if method.startswith("__"):
            if member is not None:
                content[method] = member
        elif member is None:
            content[method] = _unmodelled(name, method)
        else:
            content[method] = bound_method(method, overloads, member, classes)
    for access in ("readonly", "writable", "writeonly"):
        for each in table[access]:
            member = _recipe_member(recipes, each)
            content[each] = _property(name, each, access, member, classes)
    content["__setattr__"] = _set
    content["__init__"] = _initializer(name, table["init"], recipes, classes)
    content["_constructed"] = False
    cls = BoundMeta(name, (base,), content)
    cls.__init_subclass__ = classmethod(lambda sub: setattr(sub, "_is_bound", False))
    return cls


_SKIP = {"__dict__", "__weakref__", "__module__", "__doc__", "__init__", "__qualname__"}


def _initializer(
    name: str, signatures: list[Any], recipes: tuple[type, ...], classes: dict[str, type]
) -> Callable[..., None]:
    recipe = _recipe_member(recipes, "_init")
    if not signatures:

        def refuse(self: Any, *_: Any, **__: Any) -> None:
            raise TypeError(f"{name}: No constructor defined!")

        return refuse

    def nothing(self: Any) -> None:
        """A constructor without arguments."""

    construct = bound_method("__init__", signatures, recipe or nothing, classes)

    def initialise(self: Any, *given: Any, **named: Any) -> None:
        construct(self, *given, **named)
        self._constructed = True

    return initialise


def made(cls: type, **state: Any) -> Any:
    """An object of a class that Python cannot construct, with private state."""
    instance = object.__new__(cls)
    for name, value in ({"constructed": True} | state).items():
        object.__setattr__(instance, f"_{name}", value)
    return instance
