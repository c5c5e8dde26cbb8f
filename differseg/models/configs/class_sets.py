"""Sets of classes that a network can be built for; standard library only."""

from __future__ import annotations

from typing import Any

from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.models.configs.ade20k import ADE20K_NAMES
from differseg.models.spec import BINARY_CLASSES

Classes = str | tuple[str, ...] | None
"""A setting: name of a set, names of classes in the order of their numbers, None for a default."""

MOST_CLASSES = 255


def _numbered(*named: tuple[str, tuple[int, int, int]]) -> tuple[ClassSpec, ...]:
    return tuple(ClassSpec(number, name, color) for number, (name, color) in enumerate(named))


def named_classes(names: tuple[str, ...]) -> tuple[ClassSpec, ...]:
    """Number classes from 0 and give them colours."""
    return _numbered(*((name, _color(number)) for number, name in enumerate(names)))


def _color(number: int) -> tuple[int, int, int]:
    """Spread class numbers over colours, as PASCAL VOC's map does: their bits, three at a time."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= ((number >> (3 * place + channel)) & 1) << (7 - place)
    red, green, blue = channels
    return red, green, blue


CLASS_SETS: dict[str, tuple[ClassSpec, ...]] = {
    "binary": BINARY_CLASSES,
    "ade20k": named_classes(ADE20K_NAMES),
    "cityscapes": _numbered(
        ("road", (128, 64, 128)),
        ("sidewalk", (244, 35, 232)),
        ("building", (70, 70, 70)),
        ("wall", (102, 102, 156)),
        ("fence", (190, 153, 153)),
        ("pole", (153, 153, 153)),
        ("traffic light", (250, 170, 30)),
        ("traffic sign", (220, 220, 0)),
        ("vegetation", (107, 142, 35)),
        ("terrain", (152, 251, 152)),
        ("sky", (70, 130, 180)),
        ("person", (220, 20, 60)),
        ("rider", (255, 0, 0)),
        ("car", (0, 0, 142)),
        ("truck", (0, 0, 70)),
        ("bus", (0, 60, 100)),
        ("train", (0, 80, 100)),
        ("motorcycle", (0, 0, 230)),
        ("bicycle", (119, 11, 32)),
    ),
    "fmb": _numbered(
        ("background", (0, 0, 0)),
        ("road", (228, 228, 179)),
        ("sidewalk", (133, 57, 181)),
        ("building", (177, 162, 67)),
        ("lamp", (50, 178, 200)),
        ("sign", (199, 45, 132)),
        ("vegetation", (84, 172, 66)),
        ("sky", (79, 73, 179)),
        ("person", (166, 99, 76)),
        ("car", (253, 121, 66)),
        ("truck", (91, 165, 137)),
        ("bus", (152, 97, 155)),
        ("motorcycle", (140, 153, 105)),
        ("bicycle", (158, 215, 222)),
        ("pole", (90, 113, 135)),
    ),
    "mfnet": _numbered(
        ("unlabeled", (0, 0, 0)),
        ("car", (64, 0, 128)),
        ("person", (64, 64, 0)),
        ("bike", (0, 128, 192)),
        ("curve", (0, 0, 192)),
        ("car_stop", (128, 128, 0)),
        ("guardrail", (64, 64, 128)),
        ("color_cone", (192, 128, 128)),
        ("bump", (192, 64, 0)),
    ),
    "pst900": _numbered(
        ("background", (0, 0, 0)),
        ("fire-extinguisher", (255, 0, 0)),
        ("backpack", (0, 255, 0)),
        ("hand-drill", (0, 0, 255)),
        ("survivor", (255, 255, 255)),
    ),
}
"""Classes by the name of their data set, with its colours where it has some.

Cityscapes' are the 19 that it scores (arXiv 1604.01685); PST900's colours are those of its authors
(toolkit/utilities.py in ShreyasSkandanS/pst900_thermal_rgb), FMB's those of the public loaders.
"""


def chosen_classes(name: str, classes: Any) -> tuple[ClassSpec, ...]:
    """Return the classes that a setting asks for.

    Args:
        name: Of the model, for the message.
        classes: One of :data:`CLASS_SETS`, or a list or tuple of names.

    Raises:
        InputError: No such set, or no good names.
    """
    if isinstance(classes, str) and classes in CLASS_SETS:
        return CLASS_SETS[classes]
    names = classes if isinstance(classes, (list, tuple)) else ()
    good = all(isinstance(word, str) and word.strip() for word in names)
    if not good or not 2 <= len(names) <= MOST_CLASSES or len(set(names)) != len(names):
        known = ", ".join(map(repr, CLASS_SETS))
        raise InputError(
            f"create_model('{name}'): classes: expected one of {known}, or 2 to {MOST_CLASSES} "
            f"different names; got {classes!r:.80}"
        )
    return named_classes(tuple(names))


def plain_classes(classes: Any) -> Any:
    """Return a setting that can be frozen: a tuple in place of a list."""
    return tuple(classes) if isinstance(classes, list) else classes
