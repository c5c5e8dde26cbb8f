"""Which nodes the plugin library has a kernel for, and how TensorRT finds it; no heavy imports."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Attribute:
    """What a plugin takes for one of its attributes.

    Attributes:
        kind: Its ONNX type.
        values: The legal words, numbers, or counts of numbers.
    """

    kind: str
    values: tuple[str, ...] | range

    def wrong(self, given: onnx.AttributeProto | None) -> str:
        """Return what is wrong with a node's attribute; empty when nothing is."""
        if given is None:
            return "it is missing"
        kind = given.AttributeType.Name(given.type)
        if kind != self.kind:
            return f"it is {kind}, expected {self.kind}"
        values = self.values
        if isinstance(values, tuple):
            text = given.s.decode(errors="replace")
            return "" if text in values else f"it is {text!r}, expected one of {', '.join(values)}"
        number, what = given.i, "it is"
        if kind == "FLOATS":
            number, what = len(given.floats), "numbers in it:"
        if number in values:
            return ""
        step = f" in steps of {values.step}" if values.step > 1 else ""
        return f"{what} {number}, expected {values[0]} to {values[-1]}{step}"


_SIZE = Attribute("INT", range(1, 1 << 31))
_NORM = Attribute("STRING", ("backward", "ortho", "forward"))
_TAPS = Attribute("FLOATS", range(2, 41, 2))
_MODE = Attribute("STRING", ("zero", "symmetric", "reflect", "periodic", "periodization"))
_DILATION = Attribute("INT", range(1, 65))
_BANK = {"lowpass": _TAPS, "highpass": _TAPS, "mode": _MODE}

PLUGIN_ATTRIBUTES: dict[str, dict[str, Attribute]] = {
    "DiffersegRfft2": {"norm": _NORM},
    "DiffersegIrfft2": {"width": _SIZE, "norm": _NORM},
    "DiffersegDwt2": _BANK,
    "DiffersegIdwt2": {**_BANK, "height": _SIZE, "width": _SIZE},
    "DiffersegReassemble": {
        "kernel_size": Attribute("INT", range(1, 10, 2)),
        "scale": Attribute("INT", range(1, 5)),
        "dilation": _DILATION,
        "groups": Attribute("INT", range(1, 65537)),
        "border": Attribute("STRING", ("zeros", "edge")),
        "normalize": Attribute("STRING", ("none", "softmax", "hamming")),
    },
    "DiffersegLocalSimilarity": {
        "kernel_size": Attribute("INT", range(3, 10, 2)),
        "dilation": _DILATION,
    },
}
"""The attributes that each plugin must be given, as ``export/plugins`` checks them."""

PLUGIN_NODES = tuple(PLUGIN_ATTRIBUTES)
"""Nodes with a kernel in ``export/plugins``."""

VERSION_ATTRIBUTE, PLUGIN_VERSION = "plugin_version", "1"
NAMESPACE_ATTRIBUTE, PLUGIN_NAMESPACE = "plugin_namespace", "differseg"


def mentions_plugins(path: Path) -> bool:
    """Whether a file can hold plugin nodes; a large one without any need not be parsed."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(NAMESPACE_ATTRIBUTE.encode()) >= 0
