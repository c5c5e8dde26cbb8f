"""Which nodes the plugin library has a kernel for, and how TensorRT finds it; no heavy imports."""

from __future__ import annotations

import mmap
from pathlib import Path

PLUGIN_NODES = (
    "DiffersegRfft2",
    "DiffersegIrfft2",
    "DiffersegDwt2",
    "DiffersegIdwt2",
    "DiffersegReassemble",
    "DiffersegLocalSimilarity",
)
"""Nodes with a kernel in ``export/plugins``."""

VERSION_ATTRIBUTE, PLUGIN_VERSION = "plugin_version", "1"
NAMESPACE_ATTRIBUTE, PLUGIN_NAMESPACE = "plugin_namespace", "differseg"


def mentions_plugins(path: Path) -> bool:
    """Whether a file can hold plugin nodes; a large one without any need not be parsed."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(NAMESPACE_ATTRIBUTE.encode()) >= 0
