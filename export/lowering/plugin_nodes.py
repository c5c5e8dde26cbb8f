"""Which nodes the plugin library has a kernel for, and how TensorRT finds it; no heavy imports."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Attribute:
    """What a plugin takes for one of its attributes.

    Attributes:
        kind: Its ONNX type.
        values: The legal words, numbers, or counts of numbers.
    """

    kind: str
    values: tuple[str, ...] | range


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
