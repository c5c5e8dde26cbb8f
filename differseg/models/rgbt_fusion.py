"""The RGB-thermal network: two trunks, a fusion per level, a bidirectional decoder.

Frequency-Guided Fusion For RGB-Thermal Semantic Segmentation, arXiv 2605.26273.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.edge import EdgeTrunk
from differseg.errors import InputError
from differseg.models.base import Output, SegmentationModel, checked_inputs
from differseg.models.configs.rgbt_fusion import RgbtFusionConfig
from differseg.models.spec import ModelSpec
from differseg.modules.fpn_decoder import FpnDecoder
from differseg.modules.frequency_fusion import FrequencyFusion
from differseg.modules.panet_decoder import PanetDecoder
from differseg.modules.semantic_fusion import SemanticFusion

SMALLEST_PX = 32
"""Shortest side of an input: one pixel at the coarsest level."""

_EDGE_DECODER_WIDTH = 32


class RgbtFusion(SegmentationModel):
    """Semantic segmentation of an RGB image with one aligned thermal image.

    Args:
        spec: Modalities, classes, size and name; ``model.spec`` is what other parts read.
        trunks: One for RGB and one for thermal, with equal ``channels``; see
            :mod:`differseg.backbones`.
        decoder: Takes the four fused levels, finest first, to logits of the finest one's grid;
            ``forward_all`` returns its side outputs too.
        semantic_fusion: Fuse the two coarse levels by :class:`SemanticFusion`; otherwise by
            :class:`FrequencyFusion` as well.
    """

    def __init__(
        self,
        spec: ModelSpec,
        trunks: tuple[nn.Module, nn.Module],
        decoder: PanetDecoder | FpnDecoder,
        *,
        semantic_fusion: bool,
    ) -> None:
        super().__init__(spec)
        self.rgb_encoder, self.thermal_encoder = trunks
        channels = cast("tuple[int, ...]", trunks[0].channels)
        coarse = SemanticFusion if semantic_fusion else FrequencyFusion
        kinds = (FrequencyFusion, FrequencyFusion, coarse, coarse)
        self.fusions = nn.ModuleList(kind(c) for kind, c in zip(kinds, channels, strict=True))
        self.decoder = decoder

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Output:
        """Segment one batch; call it as ``model(rgb, thermal)``.

        Args:
            rgb: (N, 3, H, W) float, normalised; H and W at least 32.
            second: (N, 1, H, W) float, normalised thermal.

        Returns:
            ``{"logits": (N, K, H, W)}`` for K classes and, in training mode, ``"aux"``: the
            auxiliary output and, with deep supervision, one output per decoder level from fine
            to coarse, as logits (N, K, H, W).

        Raises:
            InputError: A modality is missing or left over, or a shape does not fit.
        """
        levels = self._fused_levels(rgb, second)
        size_hw = rgb.shape[-2:]
        if not self.training:
            return {"logits": _resize(self.decoder(levels), size_hw)}
        logits, side = self.decoder.forward_all(levels)
        return {"logits": _resize(logits, size_hw), "aux": [_resize(x, size_hw) for x in side]}

    def forward_all(self, rgb: Tensor, second: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the output and all side outputs, also in eval mode.

        Arguments as in :meth:`forward`; logits (N, K, H, W).
        """
        logits, side = self.decoder.forward_all(self._fused_levels(rgb, second))
        return tuple(_resize(x, rgb.shape[-2:]) for x in (logits, *side))

    def _fused_levels(self, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
        """Return one tensor per level, (N, C, H/stride, W/stride), finest first."""
        rgb, thermal = checked_inputs(self.spec, rgb, second)
        if any(isinstance(side, int) and side < SMALLEST_PX for side in rgb.shape[2:]):
            raise InputError(
                f"{self.spec.name}: height and width must be at least {SMALLEST_PX}, got "
                f"{rgb.shape[2]}x{rgb.shape[3]}; resize the image first"
            )
        pairs = zip(self.rgb_encoder(rgb), self.thermal_encoder(thermal), strict=True)
        return [fuse(v, t) for fuse, (v, t) in zip(self.fusions, pairs, strict=True)]


def _resize(logits: Tensor, size_hw: Sequence[int]) -> Tensor:
    return F.interpolate(logits, size=tuple(size_hw), mode="bilinear", align_corners=False)


def build(spec: ModelSpec, config: RgbtFusionConfig) -> RgbtFusion:
    """Build the network of a complete configuration.

    Raises:
        MissingComponentError: A ConvNeXt V2 backbone without timm; the text says what to install.
    """
    edge = config.backbone == "edge"
    if config.backbone == "edge":
        trunks: list[nn.Module] = [EdgeTrunk([m.channels]) for m in spec.modalities]
    else:
        # Not at the top: timm, which this needs, is optional.
        from differseg.backbones.convnextv2 import create_convnextv2_trunk

        trunks = [create_convnextv2_trunk(config.backbone, m.channels) for m in spec.modalities]
    channels = cast("tuple[int, ...]", trunks[0].channels)
    decoder: PanetDecoder | FpnDecoder
    if config.decoder == "fpn":
        decoder = FpnDecoder(channels, spec.logit_channels)
    else:
        decoder = PanetDecoder(
            channels,
            _EDGE_DECODER_WIDTH if edge else channels[0],
            spec.logit_channels,
            deep_supervision=bool(config.deep_supervision),
            light_join=edge,
        )
    return RgbtFusion(spec, (trunks[0], trunks[1]), decoder, semantic_fusion=config.semantic_fusion)
