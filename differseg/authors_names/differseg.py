"""DifferSeg's and SAM 2's names of our entries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from differseg.errors import CheckpointError

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


_TRUNKS = {
    (144, 48): "hiera_l",
    (112, 24): "hiera_b_plus",
    (96, 16): "hiera_s",
    (96, 12): "hiera_t",
}
_BLOCK = re.compile(r"^encoder\.blocks\.(\d+)\.block\.norm1\.weight$")
_ADAPTER_SIGNS = {"prompt_learn": "linear", "low_freq_adapter": "fft"}


def detect(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """Recognise the settings of a published state dict from its names and shapes.

    Args:
        shapes: The publisher's name of every tensor, with its shape.

    Returns:
        Settings for ``create_model("differseg", **settings)``: trunk, adapter, decoder widths,
        and the task where there is one stream.  Of two streams no tensor says whether the second
        is depth, thermal or flow: ``task`` is then left out.  None for another system's weights.

    Raises:
        CheckpointError: The authors' network with a trunk, adapter or decoder of no known kind.
    """
    if (
        "encoder.pos_embed" not in shapes
        or "freq_decoder.freq_balancer.weight_predictor.0.weight" not in shapes
    ):
        return None
    blocks = sum(1 for key in shapes if _BLOCK.match(key))
    width = tuple(shapes["encoder.pos_embed"])[1:2]
    trunk = _TRUNKS.get((*width, blocks))  # type: ignore[arg-type]
    if trunk is None:
        raise CheckpointError(
            f"differseg weights with {blocks} trunk blocks of first width {list(width)}: expected "
            "SAM 2's Hiera, 12 (tiny), 16 (small), 24 (base plus) or 48 (large) blocks"
        )
    adapters = [kind for sign, kind in _ADAPTER_SIGNS.items() if _has_adapter(shapes, sign)]
    if len(adapters) != 1:
        found = " and ".join(adapters) or "none"
        raise CheckpointError(
            f"differseg weights with adapters {found}: expected 'prompt_learn' or "
            "'low_freq_adapter' in front of every trunk block"
        )
    rows = [tuple(shapes.get(f"rfb{level}.conv_res.conv.weight", ()))[:1] for level in (1, 2, 3, 4)]
    if not all(rows):
        raise CheckpointError("differseg weights: an 'rfbN.conv_res.conv.weight' is missing")
    settings: dict[str, Any] = {
        "backbone": trunk,
        "adapter": adapters[0],
        "widths": tuple(row[0] for row in rows),
    }
    two_streams = any(key.startswith("dpf1.") for key in shapes)
    return settings if two_streams else {"task": "rgb", **settings}


def _has_adapter(shapes: Mapping[str, Sequence[int]], sign: str) -> bool:
    return f"encoder.blocks.0.{sign}.0.weight" in shapes
