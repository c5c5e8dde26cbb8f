"""SegNeXt's names of our entries, with FreqFusion, DWT-FF or DSConv-FF in its decoder."""

from __future__ import annotations

import re

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
