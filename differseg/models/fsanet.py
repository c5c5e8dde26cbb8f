"""The FSANet network: an image encoder and one for its high-pass image, fused across scales.

"High-Precision Dichotomous Image Segmentation With Frequency and Scale Awareness", Jiang et al.,
IEEE TNNLS 36(5) 8619-8631, 2025, doi 10.1109/TNNLS.2024.3426529.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.edge import EdgeTrunk
from differseg.backbones.pvt_v2 import PvtV2
from differseg.backbones.resnet import ResNet50
from differseg.models.base import Output, SegmentationModel, checked_inputs
from differseg.models.configs.fsanet import FsanetConfig
from differseg.models.spec import ModelSpec
from differseg.modules.encoder_fusion import EncoderFusion
from differseg.modules.high_pass_image import GreyHighPassImage, HighPassImage
from differseg.modules.scale_fusion import CollaborativeScaleFusion, Widths
from differseg.modules.selective_fusion import SelectiveFusion
from differseg.modules.strip_context import StripContext


class FSANet(SegmentationModel):
    """Binary segmentation of one RGB image with fine outlines.

    Args:
        spec: Modality, size and name; ``model.spec`` is what other parts read.
        trunk: Image encoder with ``channels``, see :mod:`differseg.backbones`.
        frequency_trunk: Encoder of the one-channel high-pass image, with ``channels``.
        high_pass: Makes that image, ``(N, 3, H, W)`` to ``(N, 1, H, W)``.
        width: Of the decoder, a multiple of 4.
        keep_unused: Hold the authors' uncalled decoder weights too.
    """

    def __init__(
        self,
        spec: ModelSpec,
        trunk: nn.Module,
        frequency_trunk: nn.Module,
        high_pass: nn.Module,
        width: int,
        *,
        keep_unused: bool,
    ) -> None:
        super().__init__(spec)
        channels = cast("Widths", trunk.channels)
        self.backbone = trunk
        self.high_pass = high_pass
        self.frequency_backbone = frequency_trunk
        self.fusions = nn.ModuleList(
            EncoderFusion(second, c)
            for second, c in zip(cast("Widths", frequency_trunk.channels), channels, strict=True)
        )
        self.scales = CollaborativeScaleFusion(channels)
        self.contexts = nn.ModuleList(StripContext(c, width) for c in self.scales.out_channels)
        self.selection = SelectiveFusion(width, keep_unused_norm=keep_unused)
        self.head = SharedHead(width, unused_layers=3 if keep_unused else 0)

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Output:
        """Segment one batch.

        Args:
            rgb: (N, 3, H, W) float, normalised; H and W multiples of ``spec.multiple``.
            second: None; there is no second modality.

        Returns:
            ``{"logits": (N, 1, H, W)}`` and, in training mode, ``"aux"``: the three side
            outputs of strides 8, 16 and 32 as logits (N, 1, H, W).

        Raises:
            InputError: A second input, or a shape that does not fit.
        """
        levels = self._decoded(rgb, second)
        size_hw = (rgb.shape[-2], rgb.shape[-1])
        logits = self.head(levels[0], size_hw)
        if not self.training:
            return {"logits": logits}
        return {"logits": logits, "aux": [self.head(level, size_hw) for level in levels[1:]]}

    def forward_all(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return the output and the three side outputs, also in eval mode.

        Argument as in :meth:`forward`; four logits (N, 1, H, W).
        """
        size_hw = (rgb.shape[-2], rgb.shape[-1])
        return tuple(self.head(level, size_hw) for level in self._decoded(rgb, None))

    def _decoded(self, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
        """Return four maps (N, D, H/stride, W/stride) at strides 4, 8, 16 and 32."""
        (rgb,) = checked_inputs(self.spec, rgb, second)
        high = self.frequency_backbone(self.high_pass(rgb))  # 4 x (N, F_k, h, w)
        levels = [
            fuse(level, other)
            for fuse, level, other in zip(self.fusions, self.backbone(rgb), high, strict=True)
        ]
        scales = self.scales(levels)
        decoded = [context(x) for context, x in zip(self.contexts, scales, strict=True)]
        for finer in (2, 1, 0):  # the same weights each time, as the authors have it
            decoded[finer] = self.selection(decoded[finer], decoded[finer + 1])
        return decoded


class SharedHead(nn.Module):
    """Decoder features into logits of the image's size; one head for every level.

    Bilinear enlargement by 2, two 3x3 convolutions without activation, bilinear enlargement.

    Args:
        channels: Width of the features.
        unused_layers: Convolutions that no forward pass calls but published checkpoints contain.

    Shapes: ``(N, channels, h, w)`` float to ``(N, 1, *size_hw)``.
    """

    def __init__(self, channels: int, *, unused_layers: int = 0) -> None:
        super().__init__()
        self.refine = nn.Conv2d(channels, channels, 3, padding=1)
        self.logit = nn.Conv2d(channels, 1, 3, padding=1)
        if unused_layers:
            self.unused = nn.ModuleList(
                nn.Conv2d(channels, channels, 3, padding=1) for _ in range(unused_layers)
            )

    def forward(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, channels, h, w)`` to logits ``(N, 1, *size_hw)``."""
        x = _resized(x, (2 * x.shape[-2], 2 * x.shape[-1]))  # (N, channels, 2h, 2w)
        return _resized(self.logit(self.refine(x)), size_hw)  # (N, 1, H, W)


def _resized(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size_hw, mode="bilinear", align_corners=False)


def build(spec: ModelSpec, config: FsanetConfig) -> FSANet:
    """Build the network of a complete configuration."""
    if config.backbone == "edge":
        return FSANet(
            spec,
            EdgeTrunk(),
            EdgeTrunk((1,), stem_width=8, channels=(16, 24, 32, 48), depths=(1, 1, 1, 1)),
            GreyHighPassImage(),
            width=16,
            keep_unused=False,
        )
    frequency_trunk = ResNet50(1)
    nn.init.normal_(frequency_trunk.conv1.weight)  # as published; the others wait for ImageNet's
    return FSANet(spec, PvtV2(), frequency_trunk, HighPassImage(), width=64, keep_unused=True)
