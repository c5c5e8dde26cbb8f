"""Label images to the classes of a network, by a rule that is checked.

For networks with more than two classes; ``ids`` and pairs serve two classes as well.

Rules, as text for ``label_rule`` and ``--label-rule``:

======================  ==========================================================================
``ids``                 Values are the ids of the network's classes (MFNet's 0 to 8 for a network
                        with MFNet's classes); 255 is ignored, any other value is refused.
``1-150=0-149,0=255``   Value to class id, single or by ranges of one length; several values may
                        become one class (``4-8=0``), and 255 on the right means ignored.  Values
                        that no pair names are refused.
``auto``                ``ids``, where a spread of label files holds only such values and more
                        classes than one.
======================  ==========================================================================

``+ignore254`` behind a rule also leaves value 254 out of loss and figures.  A mask holds the
places of the classes in the network's order, which are also the channels of its logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE, listed
from differseg.errors import InputError
from differseg.manifest import ClassSpec

_PAIR = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?=(\d{1,3})(?:-(\d{1,3}))?")
_IGNORED = re.compile(r"ignore(\d{1,5})")
_VALUES = 1 << 16


@dataclass(frozen=True)
class ClassRule:
    """How label values become classes.

    Attributes:
        name: The rule as text.
        places: Label value -> place of its class, or 255 for ignored; other values are refused.
    """

    name: str
    places: Mapping[int, int]

    def apply(self, label: npt.NDArray[np.integer], where: str) -> npt.NDArray[np.uint8]:
        """Turn a label image into places of classes.

        Args:
            label: (H, W) uint8 or uint16.
            where: Name of the file, for the message.

        Returns:
            (H, W) uint8: 0..K-1, 255 ignored.

        Raises:
            InputError: A value that the rule does not know.
        """
        if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"label {where}: expected one channel of class ids, got {label.shape} {label.dtype}"
            )
        table = np.full(_VALUES, -1, np.int16)
        table[list(self.places)] = list(self.places.values())
        mask = table[label]
        if mask.min() < 0:
            unknown = int(label[mask < 0].max())
            raise InputError(
                f"label {where}: value {unknown} is outside rule '{self.name}' "
                f"({listed(sorted(self.places))}); state what it means, such as --label-rule "
                f"{unknown}=0,... or {unknown}=255,... for ignored"
            )
        return mask.astype(np.uint8)


def names_classes(text: str) -> bool:
    """Whether a rule's text says which class a value is, not which values are foreground."""
    return "=" in text or text.partition("+")[0] == "ids"


def parse_class_rule(text: str, classes: Sequence[ClassSpec]) -> ClassRule:
    """Read a rule from its text (every one but ``auto``).

    Args:
        text: The rule.
        classes: The network's classes, in its order.

    Raises:
        InputError: Not a rule for classes, a class that the network has not, or a value twice.
    """
    name, *options = text.split("+")
    ignored = [_IGNORED.fullmatch(option) for option in options]
    if not all(ignored):
        raise _not_a_rule(text, classes)
    skipped = {int(found[1]): IGNORE for found in ignored if found}
    if name == "ids":
        return _checked(text, {**_ids(classes), **skipped})
    pairs = [_PAIR.fullmatch(part) for part in name.split(",")]
    if not all(pairs):
        raise _not_a_rule(text, classes)
    places: dict[int, int] = {}
    for found in pairs:
        assert found is not None
        for value, class_id in _spread(text, found):
            if places.get(value, class_id) != class_id:
                raise InputError(f"label rule '{text}': value {value} stands there twice")
            places[value] = class_id
    return _checked(text, {**_placed(text, places, classes), **skipped})


def choose_class_rule(values: set[int], classes: Sequence[ClassSpec], where: str) -> ClassRule:
    """Check the values seen in a spread of label files against the rule of ``auto``.

    Args:
        values: What the files hold.
        classes: The network's classes, in its order.
        where: Name of the folder and the files read, for the message.

    Raises:
        InputError: A value that is no class id, or one class at most.
    """
    places = _ids(classes)
    unknown = sorted(values - set(places))
    if unknown:
        raise InputError(
            f"{where}: label values {listed(unknown)} are no ids of the network's {len(classes)} "
            f"classes ({listed(sorted(spec.id for spec in classes))}); say what they mean, for "
            "example --label-rule 1-150=0-149,0=255"
        )
    if len(values - {IGNORE}) < 2:
        raise InputError(
            f"{where}: expected several classes, got only value(s) {listed(sorted(values))}; state "
            "the rule, for example --label-rule ids, where that is right"
        )
    return ClassRule("auto: ids", places)


def _ids(classes: Sequence[ClassSpec]) -> dict[int, int]:
    return {IGNORE: IGNORE, **{spec.id: place for place, spec in enumerate(classes)}}


def _spread(text: str, found: re.Match[str]) -> list[tuple[int, int]]:
    """Return the pairs of value and class id that one part of a rule stands for."""
    first, target = int(found[1]), int(found[3])
    values = range(first, int(found[2] or first) + 1)
    targets = range(target, int(found[4] or target) + 1)
    if not values or len(targets) not in (1, len(values)):
        raise InputError(
            f"label rule '{text}': {found[0]}: expected one class id, or as many as values; write "
            "such as 4-8=0 or 1-150=0-149"
        )
    return [(value, targets[0 if len(targets) == 1 else n]) for n, value in enumerate(values)]


def _placed(text: str, ids: dict[int, int], classes: Sequence[ClassSpec]) -> dict[int, int]:
    known = _ids(classes)
    for value, class_id in ids.items():
        if class_id not in known:
            raise InputError(
                f"label rule '{text}': {value}={class_id}: the network has no class {class_id}, "
                f"only {listed(sorted(spec.id for spec in classes))}, and 255 for ignored"
            )
    return {value: known[class_id] for value, class_id in ids.items()}


def _checked(text: str, places: dict[int, int]) -> ClassRule:
    if max(places) >= _VALUES:
        raise InputError(f"label rule '{text}': label values reach 65535 at most")
    return ClassRule(text, places)


def _not_a_rule(text: str, classes: Sequence[ClassSpec]) -> InputError:
    return InputError(
        f"label rule '{text}': the network has {len(classes)} classes; expected auto, ids, or "
        "pairs of label value and class id such as 0=255,1-150=0-149 (255 on the right means "
        "ignored)"
    )
