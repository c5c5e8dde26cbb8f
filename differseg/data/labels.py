"""Label images to binary masks, by a rule that is stated and checked.

Networks with more than two classes have rules of their own, :mod:`differseg.data.class_labels`,
of which ``ids`` and pairs serve two classes as well.

Rules, as text for ``label_rule`` and ``--label-rule``:

======================  ==========================================================================
``nonzero``             Every value above 0 is foreground (masks stored as 0/1 or 0/255).
``binary255``           Values above 127 are foreground (masks that went through JPEG or resizing).
``mfnet``               MFNet class ids: 1 car, 2 person, 3 bike are foreground; 0 unlabelled,
                        4 curve, 5 car stop, 6 guardrail, 7 colour cone and 8 bump are not.
``1,2,3``               These class ids are foreground, all others are not.
``auto``                From a spread of label files: 0 and 1, or 0 and 255, are masks;
                        ids up to 8 with 1, 2 or 3 among them are ``mfnet``; anything else, and
                        files without any foreground, are refused.  What is read later is held to
                        the values of the choice: 0 and 1, 0 and 255, or 0 to 8.
``none``                Labels are left out: no figures against them.
======================  ==========================================================================

``+ignore255`` behind a rule (``1,2,3+ignore255``) leaves value 255 out of loss and figures.
The MFNet ids are those of the data set's paper and release: Ha et al., "MFNet: Towards Real-Time
Semantic Segmentation for Autonomous Vehicles with Multi-Spectral Scenes", IROS 2017.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError

IGNORE = 255
"""Value of pixels in a mask that count as no class."""

NO_LABELS = "none"
"""The rule that reads none."""

MFNET_FOREGROUND = (1, 2, 3)
"""Car, person and bike."""

_MFNET_KNOWN = tuple(range(9))


@dataclass(frozen=True)
class LabelRule:
    """How label values become 0, 1 and 255.

    Attributes:
        name: The rule as text.
        foreground: Class ids that become 1; empty where ``above`` decides.
        above: Values above this become 1, where ``foreground`` is empty.
        known: Values that may occur beside ``ignore``; None accepts any.
        ignore: A value that becomes 255, or None.
    """

    name: str
    foreground: tuple[int, ...] = ()
    above: int = 0
    known: tuple[int, ...] | None = None
    ignore: int | None = None

    def apply(self, label: npt.NDArray[np.integer], where: str) -> npt.NDArray[np.uint8]:
        """Turn a label image into a binary mask.

        Args:
            label: (H, W) uint8 or uint16.
            where: Name of the file, for the message.

        Returns:
            (H, W) uint8: 0 background, 1 foreground, 255 ignored.

        Raises:
            InputError: A value that the rule does not know.
        """
        if label.ndim != 2 or label.dtype.kind not in "ui":
            raise InputError(
                f"label {where}: expected one channel of class ids, got {label.shape} {label.dtype}"
            )
        skip = np.zeros(label.shape, bool) if self.ignore is None else label == self.ignore
        if self.known is not None:
            found = np.flatnonzero(np.bincount(label.ravel())).tolist()
            unknown = set(found) - {*self.known, self.ignore}
            if unknown:
                raise InputError(
                    f"label {where}: value {max(unknown)} is outside rule '{self.name}' "
                    f"({listed(self.known)}); {_advice({*found, *self.known})}"
                )
        chosen = np.isin(label, self.foreground) if self.foreground else label > self.above
        mask = chosen.astype(np.uint8)
        mask[skip] = IGNORE
        return mask


def parse_label_rule(text: str) -> LabelRule:
    """Read a rule from its text (every one but ``auto``).

    Raises:
        InputError: Not a rule; names the rules there are.
    """
    name, plus, option = text.partition("+")
    ignore = None
    if plus:
        found = re.fullmatch(r"ignore(\d{1,5})", option)
        if found is None:
            raise _not_a_rule(text)
        ignore = int(found[1])
    if name == "nonzero":
        return LabelRule(text, ignore=ignore)
    if name == "binary255":
        return LabelRule(text, above=127, ignore=ignore)
    if name == "mfnet":
        return LabelRule(text, MFNET_FOREGROUND, known=_MFNET_KNOWN, ignore=ignore)
    if re.fullmatch(r"\d{1,5}(,\d{1,5})*", name):
        return LabelRule(text, tuple(int(part) for part in name.split(",")), ignore=ignore)
    raise _not_a_rule(text)


def _not_a_rule(text: str) -> InputError:
    return InputError(
        f"label rule '{text}': expected auto, nonzero, binary255, mfnet or ids such as 1,2,3, "
        "with +ignore255 behind it where 255 means ignore; of two classes also the word ids, and "
        "pairs of label value and class id such as 0=0,1=1,255=255"
    )


def choose_label_rule(values: set[int], where: str) -> LabelRule:
    """Choose the rule of ``auto`` from the values seen in a spread of label files.

    The rule chosen refuses, when it meets it, a value that it was not chosen for.

    Args:
        values: What the files hold.
        where: Name of the folder and the files read, for the message.

    Raises:
        InputError: The values fit no rule that is safe to guess, or none is foreground.
    """
    above = values - {0}
    if not above:
        raise InputError(
            f"{where}: expected foreground, got only value 0; put labels there that show objects, "
            "or state the rule, for example --label-rule nonzero, where that is right"
        )
    if above in ({1}, {255}):
        (value,) = above
        return LabelRule(f"auto: 0 and {value}", known=(0, value))
    if above.issubset(_MFNET_KNOWN) and above.intersection(MFNET_FOREGROUND):
        return LabelRule("auto: mfnet", MFNET_FOREGROUND, known=_MFNET_KNOWN)
    raise InputError(
        f"{where}: label values {listed(sorted(above))} have no evident meaning; {_advice(above)}"
    )


def _advice(values: set[int]) -> str:
    """Name the rule that most likely fits values that no rule was guessed for."""
    above = values - {0}
    if above == {1, IGNORE}:
        return (
            "state a rule, --label-rule 1+ignore255 where 1 is the object and 255 is ignored, "
            "nonzero where both are the object"
        )
    if IGNORE in above and above.issubset({*_MFNET_KNOWN, IGNORE}):
        return (
            "say which are foreground, for example --label-rule 1,2,3+ignore255 or mfnet+ignore255 "
            "where 255 is ignored"
        )
    return "say which are foreground, for example --label-rule 1,2,3, nonzero or binary255"


def listed(values: Sequence[int]) -> str:
    """Name sorted values in a message: a run as ``0 to 8``, many of them cut short."""
    if len(values) > 2 and values[-1] - values[0] + 1 == len(values):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
