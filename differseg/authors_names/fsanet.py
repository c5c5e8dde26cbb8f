"""State-dict names of FSANet's published snapshots, and what tells one.

A snapshot is a dict with ``model`` (the state dict), ``optimizer``, ``loss`` and ``opech`` (sic).
It was written by two GPUs, so its names begin with ``module.``; and the fusion block ``sff`` with
its attention ``sea`` was once called ``acfm`` with ``msca``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Ours, theirs, in the order of application; <n> stands for n + 1.
_RULES = tuple(
    (re.compile(ours), theirs)
    for ours, theirs in (
        (r"^backbone\.stages\.(\d)\.blocks\.", r"backbone.block<\1>."),
        (r"^backbone\.stages\.(\d)\.embed\.", r"backbone.patch_embed<\1>."),
        (r"^backbone\.stages\.(\d)\.norm\.", r"backbone.norm<\1>."),
        (r"^(backbone\..*\.mlp\.dwconv)\.", r"\1.dwconv."),
        (r"^high_pass\.", "frequency."),
        (r"^frequency_backbone\.(layer[34])\.", r"resnet_f.\1_1."),
        (r"^frequency_backbone\.", "resnet_f."),
        (r"^fusions\.(\d)\.project\.", r"conv_<\1>."),
        (r"^fusions\.(\d)\.gate\.reduce\.", r"se<\1>.fc.0."),
        (r"^fusions\.(\d)\.gate\.expand\.", r"se<\1>.fc.2."),
        (r"^scales\.", ""),
        (r"^contexts\.(\d)\.views\.0\.", r"rfb<\1>_after.branch1_1.0."),
        (r"^contexts\.(\d)\.views\.(\d)\.", r"rfb<\1>_after.branch<\2>.0."),
        (r"^contexts\.(\d)\.strips\.0\.(\d)\.", r"rfb<\1>_after.branch1_1.<\2>."),
        (r"^contexts\.(\d)\.strips\.(\d)\.", r"rfb<\1>_after.branch1_<\2>."),
        (r"^contexts\.(\d)\.mix\.", r"rfb<\1>_after.conv_cat."),
        (r"^selection\.value\.(conv|bn)\.", r"sff.\1_xy."),
        (r"^selection\.gate\.(conv|bn)\.", r"sff.\1_gate."),
        (r"^selection\.mix\.", "sff.conv_out."),
        (r"^selection\.unused_norm\.", "sff.bn_out."),
        (r"^selection\.attention\.local\.", "sff.sea.local_att."),
        (r"^selection\.attention\.pooled\.(\d)\.", r"sff.sea.global_att.<\1>."),
        (r"^selection\.attention\.pixel\.", "sff.sea.channel_att."),
        (r"^head\.refine\.", "conv_up1."),
        (r"^head\.logit\.", "conv2_1."),
        (r"^head\.unused\.0\.", "conv_up2."),
        (r"^head\.unused\.1\.", "conv_up3."),
        (r"^head\.unused\.2\.", "conv_up4."),
    )
)
_ONE_MORE = re.compile(r"<(\d)>")

_OLD_SPELLINGS = ((re.compile(r"^acfm\."), "sff."), (re.compile(r"^sff\.msca\."), "sff.sea."))


def fsanet_name(key: str) -> str:
    """Return the name that FSANet's authors give to ``key`` of our FSANet.

    Their counts start at 1 where ours start at 0; the fusion block has its newest name.
    """
    for pattern, theirs in _RULES:
        key = pattern.sub(theirs, key)
    return _ONE_MORE.sub(lambda match: str(int(match[1]) + 1), key)


def newest_name(key: str) -> str:
    """Return a published name without ``module.`` and with the newest name of the fusion block.

    ``module.acfm.msca.local_att.0.bias``, ``acfm.sea.local_att.0.bias`` and
    ``sff.sea.local_att.0.bias`` are the same entry.
    """
    key = key.removeprefix("module.")
    for pattern, newest in _OLD_SPELLINGS:
        key = pattern.sub(newest, key)
    return key


def detect(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """Recognise the settings of a published state dict from its names and shapes.

    Args:
        shapes: The publisher's name of every tensor, in any of its spellings, with its shape.

    Returns:
        Settings for ``create_model("fsanet", **settings)``, without ``size_hw``, which no tensor
        tells; None for another system's weights.
    """
    known = {newest_name(key): tuple(shape) for key, shape in shapes.items()}
    found = all(known.get(name) == shape for name, shape in _SIGNS.items())
    return {"backbone": "pvt_v2_b2"} if found else None


_SIGNS = {
    "frequency.radius": (1,),
    "resnet_f.conv1.weight": (64, 1, 7, 7),
    "backbone.patch_embed1.proj.weight": (64, 3, 7, 7),
    "backbone.block3.5.norm1.weight": (320,),
    "rfb4_after.conv_cat.conv.weight": (64, 128, 3, 3),
    "sff.conv_gate.weight": (128, 128, 3, 3),
}
"""Entries that no other published network has together."""
LEAST = {"high_pass.radius": 1.0}
"""Our entry and its least number: a smaller disc holds no bin, and nothing would be filtered."""
