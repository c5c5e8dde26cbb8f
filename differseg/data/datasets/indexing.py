"""The samples of a split of a published data set, or one line that says what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.layout import SPLIT, Layout, read_names, scan
from differseg.errors import InputError

_SHOWN = 3
_LOOKED_INTO = 32

Files = dict[str, dict[str, Path]]
"""Modality, or ``labels``, to the file of each sample."""


@dataclass(frozen=True)
class Index:
    """What a split holds.

    Attributes:
        layout: The layout it lies in.
        files: The files, of the same samples for each modality.
        left_out: Samples that lack a file, in a layout that allows it.
    """

    layout: Layout
    files: Files
    left_out: int


@dataclass
class _Part:
    """What one folder of a split was found to hold: None for what is absent."""

    files: dict[str, dict[str, Path] | None]
    names: list[str] | None
    absent: list[str]
    split_bound: set[str]


def index_split(info: DatasetInfo, root: Path, split: str, wanted: Sequence[str]) -> Index:
    """Find the samples of a split in the first layout that fits.

    Args:
        info: The data set.
        root: Its folder.
        split: One of its splits.
        wanted: Modalities, and ``labels`` where they are to be read.

    Raises:
        InputError: No such folder or split, another layout, files missing, or no samples.
    """
    info.check_split(split)
    if not root.is_dir():
        raise InputError(
            f"data {root}: there is no such folder; expected {_expected(info, split, wanted)}"
        )
    tried = []
    for layout in _layouts(info, split, wanted):
        parts = {folder: _find(root, layout, folder, wanted) for folder in layout.splits[split]}
        absent = list(dict.fromkeys(text for part in parts.values() for text in part.absent))
        if not absent:
            return _joined(info, root, split, layout, parts)
        tried.append((len(absent) / (len(parts) * len(wanted)), absent, layout))
    _, absent, layout = min(tried, key=lambda found: found[0])
    raise InputError(
        f"data {root}: expected {_expected(info, split, wanted, layout)}; missing: "
        f"{', '.join(absent[: 2 * _SHOWN])}{_nearby(info, root, split, wanted)}; 'differseg "
        f"datasets {info.name}' shows them all"
    )


def _layouts(info: DatasetInfo, split: str, wanted: Sequence[str]) -> list[Layout]:
    """Return the layouts that have a split and all that is wanted.

    Raises:
        InputError: There is none.
    """
    layouts = [
        layout
        for layout in info.layouts
        if split in layout.splits and set(wanted) <= set(layout.files)
    ]
    if not layouts:
        raise InputError(
            f"{info.name}: no published layout holds {', '.join(wanted)} of split '{split}'"
        )
    return layouts


def _find(root: Path, layout: Layout, folder: str, wanted: Sequence[str]) -> _Part:
    part = _Part({}, None, [], set())
    for what in wanted:
        templates = [template.replace(SPLIT, folder) for template in layout.files[what]]
        found = None
        for given, template in zip(layout.files[what], templates, strict=True):
            found = scan(root, template)
            if found is not None:
                if SPLIT in given:
                    part.split_bound.add(what)
                break
        if found is None:
            places = dict.fromkeys(template.rpartition("/")[0] + "/" for template in templates)
            part.absent.append(" or ".join(places))
        part.files[what] = found
    if layout.names is not None:
        template = layout.names.replace(SPLIT, folder)
        part.names = read_names(root, template)
        if part.names is None:
            part.absent.append(template)
    return part


def _joined(
    info: DatasetInfo, root: Path, split: str, layout: Layout, parts: dict[str, _Part]
) -> Index:
    """Put the folders of a split together.

    Raises:
        InputError: Files are missing, there are no samples, or a folder that says nothing of splits
            holds more than the split.
    """
    files: Files = {}
    lacking: dict[str, list[str]] = {}
    total = left_out = 0
    for folder, part in parts.items():
        found = {what: held or {} for what, held in part.files.items()}
        names = [name for name in _names(part, found) if name.startswith(layout.prefix)]
        total += len(names)
        whole = [name for name in names if all(name in held for held in found.values())]
        left_out += len(names) - len(whole)
        before = f"{folder}/" if len(parts) > 1 else ""
        for what, held in found.items():
            files.setdefault(what, {}).update({before + name: held[name] for name in whole})
            missing = [before + name for name in names if name not in held]
            if missing:
                lacking.setdefault(what, []).extend(missing)
    where = f"data {root}: {info.name}, split {split}"
    if left_out and (layout.complete or left_out == total):
        detail = "; ".join(
            f"{what} {len(missing)} ({', '.join(missing[:_SHOWN])}"
            f"{', ...' if len(missing) > _SHOWN else ''})"
            for what, missing in lacking.items()
        )
        raise InputError(
            f"{where}: {left_out} of {total} samples lack a file: {detail}; expected "
            f"{_places(layout, split, list(files))}; copy what is missing, or take the rest away"
        )
    published = info.counts.get(split, total)
    if total > published and layout.splits[split] == ("",) and layout.names is None:
        raise InputError(
            f"{where}: {total} samples in {_places(layout, split, list(files))}, and {published} "
            "were published: the others may be of what networks learn from; give the folder of "
            "the published split alone"
        )
    if not total:
        raise InputError(
            f"{where}: there are no samples in {_places(layout, split, list(files))}; look whether "
            "the archive was unpacked there"
        )
    return Index(layout, files, left_out)


def _names(part: _Part, found: Files) -> list[str]:
    """Return the samples of a folder: those listed, else all that the split's own folders hold."""
    if part.names is not None:
        return part.names
    # A folder that all splits share holds more than the samples of one.
    deciding = part.split_bound or set(found)
    return sorted(set().union(*(found[what] for what in deciding)))


def _expected(
    info: DatasetInfo, split: str, wanted: Sequence[str], layout: Layout | None = None
) -> str:
    layouts = _layouts(info, split, wanted)
    places = _places(layout or layouts[0], split, wanted)
    others = ", or another layout that is read" if len(layouts) > 1 else ""
    return f"{info.title} ({info.name}), split {split}: {places}{others}"


def _places(layout: Layout, split: str, wanted: Sequence[str]) -> str:
    shown = Layout({what: layout.files[what] for what in wanted}, layout.splits, layout.names)
    return ", ".join(f"{place} ({held})" for place, held in shown.tree(split))


def _nearby(info: DatasetInfo, root: Path, split: str, wanted: Sequence[str]) -> str:
    """Name the folder inside or around that holds the data set, where there is one."""
    inside = [child for child in sorted(root.iterdir()) if child.is_dir()][:_LOOKED_INTO]
    for place in (*inside, root.resolve().parent):
        for layout in _layouts(info, split, wanted):
            if _lies_in(place, layout, split, wanted):
                return f"; {place} holds it: give --data {info.name}:{place}"
    return ""


def _lies_in(place: Path, layout: Layout, split: str, wanted: Sequence[str]) -> bool:
    try:
        return not any(_find(place, layout, f, wanted).absent for f in layout.splits[split])
    except InputError:  # somebody else's folder, which says nothing of this one
        return False
