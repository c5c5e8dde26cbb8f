"""DifferSeg's and SAM 2's names of our entries."""

from __future__ import annotations

import re

_TRUNK = (
    (re.compile(r"^position\.coarse$"), "pos_embed"),
    (re.compile(r"^position\.window$"), "pos_embed_window"),
    (re.compile(r"^(blocks\.\d+\.block\.mlp)\.fc1\."), r"\1.layers.0."),
    (re.compile(r"^(blocks\.\d+\.block\.mlp)\.fc2\."), r"\1.layers.1."),
)
_ADAPTERS = (
    (re.compile(r"\.adapter\.(low|high)\."), r".\1_freq_adapter."),
    (re.compile(r"\.adapter\.gate\."), ".freq_gate."),
    (re.compile(r"\.adapter\."), ".prompt_learn."),
)
_ADAPTER_LAYERS = {"reduce": "0", "expand": "2"}
_ADAPTER_LAYER = re.compile(r"\.(reduce|expand)\.(weight|bias)$")


def differseg_name(key: str) -> str:
    """Return the name that DifferSeg's authors give to ``key`` of our DifferSeg.

    Trunk and adapters are named anew, ``encoder.blocks.3.adapter.low.reduce.weight`` for their
    ``encoder.blocks.3.low_freq_adapter.0.weight``; the rest of the network keeps their names.
    """
    prefix, _, name = key.partition(".")
    if prefix != "encoder":
        return key
    if ".adapter." in name:
        for pattern, theirs in _ADAPTERS:
            name, found = pattern.subn(theirs, name)
            if found:
                break
        return "encoder." + _ADAPTER_LAYER.sub(
            lambda match: f".{_ADAPTER_LAYERS[match[1]]}.{match[2]}", name
        )
    return "encoder." + _trunk_name(name)


def sam2_name(key: str) -> str | None:
    """Return Meta's name in a SAM 2 image trunk for ``key`` of our Hiera trunk.

    None for an adapter's entries, which SAM 2 has not.  In a SAM 2 checkpoint the names stand
    behind ``image_encoder.trunk.``.
    """
    if ".adapter." in key:
        return None
    return re.sub(r"^(blocks\.\d+)\.block\.", r"\1.", _trunk_name(key))


def _trunk_name(name: str) -> str:
    for pattern, theirs in _TRUNK:
        name = pattern.sub(theirs, name)
    return name
