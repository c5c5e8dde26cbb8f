"""Which nodes the plugin library has a kernel for, and how TensorRT finds it; no heavy imports."""

from __future__ import annotations

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
