"""SegNeXt's names of our entries, with FreqFusion, DWT-FF or DSConv-FF in its decoder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from differseg.errors import CheckpointError
from differseg.models.configs.class_sets import MOST_CLASSES
from differseg.models.configs.segnext import GROUPS

_RENAMED = (
    (re.compile(r"(freqfusions\.\d+)\.low_pass\."), r"\1.content_encoder."),
    (re.compile(r"(freqfusions\.\d+)\.high_pass\."), r"\1.content_encoder2."),
    (re.compile(r"(freqfusions\.\d+)\.wavelet_high_pass\."), r"\1.content_encoder3."),
    (re.compile(r"(freqfusions\.\d+)\.sampler\."), r"\1.dysampler."),
    (re.compile(r"(\.ham_in)\."), r"\1.conv."),
    (re.compile(r"(\.dwconv)\."), r"\1.dwconv."),
)
_CONSTANT = re.compile(
    r"freqfusions\.\d+\.(hamming_(low|high)pass|dysampler\.init_pos|dwt\.h[01]_(col|row))$"
)


def segnext_name(key: str) -> str:
    """Return the name that the authors give to ``key`` of our SegNeXt.

    In a checkpoint of theirs the names stand under ``state_dict``.
    """
    for pattern, theirs in _RENAMED:
        key = pattern.sub(theirs, key)
    return key


def is_segnext_constant(name: str) -> bool:
    """Whether a published entry is no weight: a window, a wavelet filter, a pixel centre.

    Our networks compute these, so their state dict has no place for them.
    """
    return _CONSTANT.search(name) is not None


def segnext_constant(name: str) -> list[Any] | None:
    """Return what a published entry that is no weight must hold.

    Args:
        name: The publisher's name.

    Returns:
        Numbers as nested lists that broadcast to the entry's shape; None for a weight.
    """
    match = _CONSTANT.search(name)
    if match is None:
        return None
    kind = match[1].rpartition(".")[2]
    if kind.startswith("hamming"):
        return [1.0]  # no window; the networks with one are refused by detect()
    if kind == "init_pos":
        x, y = [-0.25, 0.25, -0.25, 0.25], [-0.25, -0.25, 0.25, 0.25]
        return [[[value]] for value in GROUPS * x + GROUPS * y]
    half = math.sqrt(0.5)
    taps = [half, half] if kind.startswith("h0") else [half, -half]
    return [taps] if kind.endswith("row") else [[tap] for tap in taps]


_HEAD = "decode_head.freqfusions.0."
_ADE20K_CLASSES = 150
_OTHER_HOSTS = {
    "sem_seg_head.pixel_decoder.freqfusions.": "Mask2Former",
    "neck.alignment.": "a detector's feature pyramid",
}


def detect(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """Recognise the settings of a published state dict from its names and shapes.

    Args:
        shapes: The publisher's name of every tensor, with its shape.

    Returns:
        Settings for ``create_model("segnext", **settings)``; classes other than ADE20K's are
        called ``class_0``, ``class_1`` ...  None for another system's weights.

    Raises:
        CheckpointError: The authors' fusion in a network that differseg has not, with a Hamming
            window, or with another trunk than MSCAN-T.
    """
    for prefix, host in _OTHER_HOSTS.items():
        if any(key.startswith(prefix) and ".content_encoder." in f".{key}" for key in shapes):
            raise CheckpointError(
                f"FreqFusion in {host} ('{prefix}...'): differseg has it in SegNeXt; use "
                "differseg.modules.freqfusion.FreqFusion in a network of your own"
            )
    if not any(key.startswith("backbone.patch_embed1.proj.") for key in shapes):
        return None
    if not any(key.startswith(f"{_HEAD}content_encoder.") for key in shapes):
        plain = not any(key.startswith("decode_head.freqfusions.") for key in shapes)
        if plain and "decode_head.squeeze.conv.weight" in shapes:
            raise CheckpointError(
                "SegNeXt weights without FreqFusion, DWT-FF or DSConv-FF: differseg has no plain "
                "SegNeXt"
            )
        return None
    if tuple(shapes.get("backbone.norm4.weight", ())) != (256,) or any(
        key.startswith("backbone.block3.5.") for key in shapes
    ):
        raise CheckpointError(
            "SegNeXt weights of another trunk than MSCAN-T: differseg has no other"
        )
    if tuple(shapes.get(f"{_HEAD}hamming_lowpass", (1,))) != (1,):
        raise CheckpointError(
            "SegNeXt weights whose kernels have a Hamming window: the authors' SegNeXt has none, "
            "and neither has differseg's"
        )
    offsets = tuple(shapes.get(f"{_HEAD}dysampler.offset.weight", ()))
    if len(offsets) != 4:
        raise CheckpointError("SegNeXt weights whose fusion has no sampler: differseg's has one")
    return {
        "backbone": "tiny",
        "fusion": _fusion(shapes),
        "direction": "sim" if offsets[1] == 8 else "sim_concat",
        "classes": _classes(tuple(shapes.get("decode_head.conv_seg.weight", ()))[:1]),
    }


def _fusion(shapes: Mapping[str, Sequence[int]]) -> str:
    if f"{_HEAD}content_encoder3.weight" in shapes:
        return "dwt-ff"
    return "dsconv-ff" if f"{_HEAD}content_encoder.0.weight" in shapes else "freqfusion"


def _classes(rows: tuple[int, ...]) -> str | tuple[str, ...]:
    if rows == (_ADE20K_CLASSES,):
        return "ade20k"
    if rows == (1,):
        return "binary"
    if not rows or not 3 <= rows[0] <= MOST_CLASSES:
        raise CheckpointError(
            f"SegNeXt weights with {list(rows)} logits: expected 1 (two classes) or 3 to "
            f"{MOST_CLASSES}"
        )
    return tuple(f"class_{number}" for number in range(rows[0]))
