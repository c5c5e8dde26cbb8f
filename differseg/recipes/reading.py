"""Recipe files: defaults of options, and how to learn, in TOML.

Keys at the top of a file are options of ``differseg train``; the tables are those of
:class:`differseg.training.learning.Learning`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from differseg.errors import InputError, ManifestError, MissingComponentError
from differseg.options import parse
from differseg.schema import from_plain
from differseg.training.learning import Learning
from differseg.training.options import TrainOptions

_FOLDER = Path(__file__).parent

OPTIONS = (
    "model", "classes", "label_rule", "thermal_policy", "holdout", "size", "largest_crop",
    "modality_dropout", "rgb_dropout", "epochs", "patience", "batch", "accumulate", "optimizer",
    "lr", "schedule", "warmup", "weight_decay", "class_weights", "ema", "freeze_norm", "seed",
    "precision",
)  # fmt: skip
"""Options that a recipe may give: those that define what is learnt, and not where or on what."""

_TABLES = tuple(field.name for field in fields(Learning))


@dataclass(frozen=True)
class RecipeFile:
    """What a file says.

    Attributes:
        name: What the user called it.
        options: Default of each option that it names, by the option's field.
        learning: The rest.
    """

    name: str
    options: dict[str, Any]
    learning: Learning


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_recipe(text: str) -> RecipeFile:
    """Read a recipe by its name, or from a file whose name ends in ``.toml``.

    Raises:
        InputError: No such recipe, not TOML, an unknown key, or a value that does not fit.
        MissingComponentError: Python 3.10 without ``tomli``.
    """
    path = Path(text)
    if path.suffix != ".toml":
        path = _FOLDER / f"{text}.toml"
        if text not in recipe_names():
            near = difflib.get_close_matches(text, recipe_names(), n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise InputError(
                f"--recipe {text:.80}: {hint}There are {', '.join(recipe_names())}; a file of "
                "your own ends in .toml"
            )
    document = _load(path, text)
    unknown = [key for key in document if _field(key) not in (*OPTIONS, *_TABLES)]
    if unknown:
        known = [name.replace("_", "-") for name in OPTIONS] + list(_TABLES)
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        raise InputError(f"--recipe {text}: unknown key '{unknown[0]}'; {hint}")
    tables = {key: value for key, value in document.items() if key in _TABLES}
    if "largest_crop" in tables.get("augmentation", {}):
        raise InputError(f"--recipe {text}: give largest-crop at the top, as it is an option")
    try:
        learning = from_plain(Learning, tables)
    except ManifestError as error:
        raise InputError(f"--recipe {text}: {error}") from None
    words = [word for k, v in document.items() if k not in _TABLES for word in _words(k, v, text)]
    try:
        options = parse(TrainOptions, ["--out", ".", *words], "differseg train")
    except InputError as error:
        detail = str(error).removeprefix("differseg train: ").partition(" (see '")[0]
        raise InputError(f"--recipe {text}: {detail}") from None
    names = [_field(key) for key in document if key not in _TABLES]
    return RecipeFile(text, {name: getattr(options, name) for name in names}, learning)


def parse_with_recipe(argv: Sequence[str] | None) -> TrainOptions:
    """Read the command line of ``differseg train``: its words win over those of ``--recipe``.

    Raises:
        InputError: An unknown or malformed option, or a recipe that cannot be used.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = parse(TrainOptions, words, "differseg train")
    if options.recipe is None:
        return options
    values = read_recipe(options.recipe).options
    from_file = [word for key, value in values.items() for word in _words(key, value, "")]
    return parse(TrainOptions, [*from_file, *words], "differseg train")


def recipe_options(recipe: str, out: Path, **options: Any) -> TrainOptions:
    """Return the options of a run by a recipe, for calls from Python.

    Args:
        recipe: Name or file of the recipe.
        out: Folder of the run.
        options: What shall differ from the recipe, or is not in it.

    Raises:
        InputError: The recipe cannot be used.
    """
    given = read_recipe(recipe)
    return replace(TrainOptions(out=out, recipe=recipe), **{**given.options, **options})


def _load(path: Path, text: str) -> dict[str, Any]:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ModuleNotFoundError:
        raise MissingComponentError(
            "--recipe: reading TOML with Python 3.10 needs the package 'tomli', which is not "
            "installed; install it with: pip install 'differseg[train]'"
        ) from None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--recipe {text}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--recipe {text}: not valid TOML ({error})") from None


def _words(key: str, value: Any, text: str) -> list[str]:
    """Return an option as the words of a command line."""
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if isinstance(value, (list, tuple)):
        value = ("x" if _field(key) == "size" else ",").join(map(str, value))
    if not isinstance(value, (str, int, float)):
        raise InputError(f"--recipe {text}: {key} is not one value; expected that of {flag}")
    return [f"{flag}={value}"]


def _field(key: str) -> str:
    return key.replace("-", "_")
