"""Frequency-Guided Decoder (FGD): four fused levels into one map at the finest level's grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from differseg.modules.frequency_decomposition import FrequencyDecomposer, ScaleAttention
from differseg.modules.frequency_upsampling import FrequencyBalancer, FrequencyGuidedUpsampler


class FrequencyGuidedDecoder(nn.Module):
    """Decompose every level into bands, weigh them, climb level by level, balance at the top.

    DifferSeg, arXiv 2606.08906.

    Args:
        widths: Width of each level, deepest first, such as ``(512, 256, 128, 64)``.
        keep_unused_fusion: Hold the authors' uncalled ``low_freq_fusion`` too, so that their
            checkpoints load with every key in place.
        upsampling_paths: Learned paths per band and upsampler, 1 to 3; the authors use 3.

    Shapes: levels ``(N, widths[k], H/2**(3-k), W/2**(3-k))`` float, deepest first, to
    ``(N, widths[-1], H, W)`` float.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        keep_unused_fusion: bool = False,
        upsampling_paths: int = 3,
    ) -> None:
        super().__init__()
        self.freq_decomposers = nn.ModuleList(
            FrequencyDecomposer(width, keep_unused_fusion=keep_unused_fusion) for width in widths
        )
        self.scale_attention = ScaleAttention(widths)
        self.freq_guided_upsamplers = nn.ModuleList(
            FrequencyGuidedUpsampler(coarse, fine, paths=upsampling_paths)
            for coarse, fine in pairwise(widths)
        )
        self.freq_balancer = FrequencyBalancer(widths[-1])

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Decode the levels, deepest first, into ``(N, widths[-1], H, W)``."""
        split = zip(self.freq_decomposers, levels, strict=True)
        bands = self.scale_attention([decompose(level) for decompose, level in split])
        low_high = bands[0]  # (N, D4, H/8, W/8) each
        for upsample, finer in zip(self.freq_guided_upsamplers, bands[1:], strict=True):
            low_high = upsample(low_high, finer)  # twice the grid each
        return self.freq_balancer(*low_high)  # (N, D1, H, W)
