"""Where the files of a published data set lie: path templates, and what they find on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from differseg.data.datasets.decoders import decode_plain
from differseg.data.folder import Decoder
from differseg.errors import InputError
from differseg.runtime.image_files import SUFFIXES

ANY_FOLDER = "*"
NAME, SPLIT = "{name}", "{split}"


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is laid out on disk.

    Templates are paths below the data set's folder.  ``{split}`` is the split's own folder, ``*``
    one folder of any name, which becomes part of the sample's name, and ``{name}`` the rest of
    that name; the ending is that of any image.  Upper and lower case play no part in folders.

    Attributes:
        files: Modality, or ``labels``, to templates, of which the first whose folder exists is
            taken.
        splits: Split to what stands for ``{split}``; where several folders make one split, its
            samples' names begin with the folder.
        names: Template of the text file that lists the samples of a split, one a line; None takes
            all files.
        prefix: Only samples whose name begins with this.
        complete: Whether every sample has a file of each modality; otherwise samples that lack
            one are left out.
        decode: Turns a file into arrays.
    """

    files: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, tuple[str, ...]]
    names: str | None = None
    prefix: str = ""
    complete: bool = True
    decode: Decoder = decode_plain

    def tree(self, split: str | None = None) -> list[tuple[str, str]]:
        """Return the places of this layout and what lies there, with ``SPLIT`` for the split."""
        shown = "SPLIT" if split is None else "|".join(self.splits[split])
        places: dict[str, list[str]] = {}
        for what, templates in self.files.items():
            places.setdefault(_in_short(templates).replace(SPLIT, shown), []).append(what)
        tree = [(place, ", ".join(held)) for place, held in places.items()]
        if self.names is not None:
            tree.append((self.names.replace(SPLIT, shown), "names of the samples"))
        return tree


def scan(root: Path, template: str) -> dict[str, Path] | None:
    """Find the files of a template without ``{split}``, by one listing of each folder.

    Args:
        root: Folder of the data set.
        template: Such as ``leftImg8bit/train/*/{name}_leftImg8bit``.

    Returns:
        Name of the sample to its file, sorted; None where the folder does not exist.

    Raises:
        InputError: Two files of one name, or a folder that may not be read.
    """
    *folders, last = template.split("/")
    before, after = last.split(NAME)
    places = list(_walk("", str(root), folders))
    if not places:
        return None
    found: dict[str, Path] = {}
    for name, place in places:
        for file in _listed(place):
            stem, ending = os.path.splitext(file)
            if ending.lower() not in SUFFIXES or file.startswith("."):
                continue
            if not stem.startswith(before) or not stem.endswith(after):
                continue
            key = name + stem[len(before) : len(stem) - len(after)]
            path = Path(place, file)
            if key in found:
                raise InputError(
                    f"{place}: '{found[key].name}' and '{file}' have the same stem; keep one"
                )
            found[key] = path
    return dict(sorted(found.items()))


def read_names(root: Path, template: str) -> list[str] | None:
    """Read a list of names, one a line; what stands behind a blank, folders and endings go.

    Args:
        root: Folder of the data set.
        template: Path of the list below it.

    Returns:
        The names in their order, each once; None where there is no such file.

    Raises:
        InputError: The file is no text.
    """
    path = root / template
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a list of names ({error})") from None
    names: dict[str, None] = {}
    for line in lines:
        if words := line.split():
            file = PurePosixPath(words[0].replace("\\", "/"))
            names[file.stem if file.suffix.lower() in SUFFIXES else file.name] = None
    return list(names)


def _in_short(templates: Sequence[str]) -> str:
    """Write templates that differ in one folder as one path, ``RGB|Image/NAME``."""
    paths = [t.replace(ANY_FOLDER, "FOLDER").replace(NAME, "NAME").split("/") for t in templates]
    parts = [list(dict.fromkeys(part)) for part in zip(*paths, strict=False)]
    if len(set(map(len, paths))) > 1 or sum(len(part) > 1 for part in parts) > 1:
        return " or ".join("/".join(path) for path in paths)
    return "/".join("|".join(part) for part in parts)


def _walk(name: str, place: str, folders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the folders that parts of a template lead to, and what ``*`` stood for."""
    if not folders:
        yield name, place
    elif folders[0] == ANY_FOLDER:
        for child in _listed(place):
            if not child.startswith(".") and os.path.isdir(inner := os.path.join(place, child)):
                yield from _walk(f"{name}{child}/", inner, folders[1:])
    elif (child_place := _child(place, folders[0])) is not None:
        yield from _walk(name, child_place, folders[1:])


def _child(place: str, folder: str) -> str | None:
    """Return a folder in another, its own writing first; None where it does not exist."""
    exact = os.path.join(place, folder)
    if os.path.isdir(exact):
        return exact
    for child in _listed(place):
        if child.casefold() == folder.casefold() and os.path.isdir(os.path.join(place, child)):
            return os.path.join(place, child)
    return None


def _listed(place: str) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError as error:
        raise InputError(f"{place}: cannot be listed ({error.strerror})") from None
