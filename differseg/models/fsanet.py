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
from differseg.modules.heads import SegmentationHead
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
        head: Features ``(N, width, h, w)`` and a size in pixels to logits of that size; one head
            for every level.
        squeeze: Width of a level over that of its channel gate's bottleneck.
        keep_unused_norm: Hold the authors' uncalled normalisation too.
    """

    def __init__(
        self,
        spec: ModelSpec,
        trunk: nn.Module,
        frequency_trunk: nn.Module,
        high_pass: nn.Module,
        width: int,
        head: nn.Module,
        *,
        squeeze: int,
        keep_unused_norm: bool,
    ) -> None:
        super().__init__(spec)
        channels = cast("Widths", trunk.channels)
        self.backbone = trunk
        self.high_pass = high_pass
        self.frequency_backbone = frequency_trunk
        self.fusions = nn.ModuleList(
            EncoderFusion(second, c, squeeze=squeeze)
            for second, c in zip(cast("Widths", frequency_trunk.channels), channels, strict=True)
        )
        self.scales = CollaborativeScaleFusion(channels)
        self.contexts = nn.ModuleList(StripContext(c, width) for c in self.scales.out_channels)
        self.selection = SelectiveFusion(width, keep_unused_norm=keep_unused_norm)
        self.head = head

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


class TwoStepHead(nn.Module):
    """The authors' head: enlarged by 2, two 3x3 convolutions without activation, enlarged again.

    Args:
        channels: Width of the features.

    Shapes: ``(N, channels, h, w)`` float to ``(N, 1, *size_hw)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.refine = nn.Conv2d(channels, channels, 3, padding=1)
        self.logit = nn.Conv2d(channels, 1, 3, padding=1)
        # No forward pass calls these; published checkpoints contain them.
        self.unused = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, channels, h, w)`` to logits ``(N, 1, *size_hw)``."""
        x = _resized(x, (2 * x.shape[-2], 2 * x.shape[-1]))  # (N, channels, 2h, 2w)
        return _resized(self.logit(self.refine(x)), size_hw)  # (N, 1, H, W)


class SubpixelHead(nn.Module):
    """A head for edge devices: 16 logits from every pixel of stride 4, side outputs enlarged.

    Args:
        channels: Width of the features.

    Shapes: ``(N, channels, h, w)`` float to ``(N, 1, *size_hw)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.predict = SegmentationHead(channels, scale=4)

    def forward(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, channels, h, w)`` to logits ``(N, 1, *size_hw)``."""
        logits = self.predict(x)  # (N, 1, 4h, 4w)
        return logits if logits.shape[-2:] == size_hw else _resized(logits, size_hw)


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
            16,
            SubpixelHead(16),
            squeeze=4,  # 16 would leave the finest gate one number, dead for half of all weights
            keep_unused_norm=False,
        )
    frequency_trunk = ResNet50(1)
    nn.init.normal_(frequency_trunk.conv1.weight)  # as published; the others wait for ImageNet's
    return FSANet(
        spec,
        PvtV2(),
        frequency_trunk,
        HighPassImage(),
        64,
        TwoStepHead(64),
        squeeze=16,
        keep_unused_norm=True,
    )
