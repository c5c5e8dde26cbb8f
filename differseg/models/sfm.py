"""Spatial Frequency Modulation around a trunk: warped before each halving, un-warped at the end.

Source: "Spatial Frequency Modulation for Semantic Segmentation", arXiv 2507.11893, IEEE TPAMI
47(11), 2025.  The paper's body and the authors' released code were not at hand: this is a
reconstruction, and which parts of it are ours is said in docs/models/sfm.md.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from differseg.backbones.staged import (
    StagedConvNext,
    StagedEdgeTrunk,
    StagedMSCAN,
    StagedResNet50,
    StagedSwin,
)
from differseg.models.base import Output, SegmentationModel, checked_inputs
from differseg.models.configs.sfm import BACKBONES, SfmConfig
from differseg.models.spec import ModelSpec
from differseg.modules.adaptive_resampling import AdaptiveResampling
from differseg.modules.resizing import OutputUpsampling
from differseg.modules.saliency_attention import AttentionMode
from differseg.modules.unwarping_decoders import FcnDecoder, TopDownDecoder

_TRUNKS: dict[str, type[Any]] = {
    "edge": StagedEdgeTrunk,
    "resnet50": StagedResNet50,
    "convnext": StagedConvNext,
    "swin": StagedSwin,
    "segnext": StagedMSCAN,
}


class SFM(SegmentationModel):
    """Semantic segmentation of RGB images with resampling between a trunk's stages.

    Args:
        spec: Classes, size and name; ``model.spec`` is what other parts read.
        trunk: A staged trunk, see :mod:`differseg.backbones.staged`.
        decoder: From its four levels and the three displacements to logits at stride 4 and side
            outputs, see :mod:`differseg.modules.unwarping_decoders`.
        attention: How the samplers find what is salient.
    """

    def __init__(
        self, spec: ModelSpec, trunk: nn.Module, decoder: nn.Module, attention: AttentionMode
    ) -> None:
        super().__init__(spec)
        channels: tuple[int, ...] = trunk.channels  # type: ignore[assignment]
        self.trunk = trunk
        self.samplers = nn.ModuleList(AdaptiveResampling(c, attention) for c in channels[:3])
        self.decoder = decoder
        self.upsampling = OutputUpsampling(spec.logit_channels, scale=4)

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Output:
        """Segment one batch.

        Args:
            rgb: (N, 3, H, W) float, normalised; H and W multiples of 32, at least 96.
            second: None; the network has one input.

        Returns:
            ``logits`` (N, K, H, W) for K classes, (N, 1, H, W) for two; in training also the side
            outputs ``aux``, a list of such logits.

        Raises:
            InputError: Another shape, a second input, or a single image in training.
        """
        checked_inputs(self.spec, rgb, second)
        levels, displacements = self.modulated(rgb)
        logits, side = self.decoder(levels, displacements)  # (N, K, H/4, W/4)
        logits = self.upsampling(logits)  # (N, K, H, W)
        if not self.training:
            return {"logits": logits}
        return {"logits": logits, "aux": [self.upsampling(x) for x in side]}

    def modulated(self, rgb: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the trunk's levels, each before its own warp, and the warps between them.

        Args:
            rgb: (N, 3, H, W) float, normalised.

        Returns:
            Four levels (N, C_k, H/2**(k+2), W/2**(k+2)) and three displacements
            (N, 2, H/2**(k+2), W/2**(k+2)), x then y, in pixels of the level.
        """
        levels, displacements, x = [], [], rgb
        for number in range(4):
            x = self.trunk.stage(number, x)  # type: ignore[operator]
            levels.append(x)
            if number < len(self.samplers):
                x, displacement, _ = self.samplers[number](x)
                displacements.append(displacement)
        return levels, displacements


def build(spec: ModelSpec, config: SfmConfig) -> SFM:
    """Build the network of a complete configuration."""
    width = BACKBONES[config.backbone].width
    trunk = _TRUNKS[config.backbone]()
    decoder: nn.Module
    if config.backbone == "edge":
        decoder = TopDownDecoder(trunk.channels, width, spec.logit_channels)
    else:
        decoder = FcnDecoder(
            trunk.channels, width, spec.logit_channels, normalized=trunk.normalized
        )
    return SFM(spec, trunk, decoder, config.attention)
