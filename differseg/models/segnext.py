"""SegNeXt with frequency-aware fusion in its decoder: FreqFusion, DWT-FF or DSConv-FF.

Sources: SegNeXt, arXiv 2209.08575; FreqFusion, arXiv 2408.12879; the public project cv-finalword
for the two variants.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from differseg.backbones.mscan import MSCAN
from differseg.models.base import Output, SegmentationModel, checked_inputs
from differseg.models.configs.segnext import GROUPS, WIDTHS, SegNeXtConfig, Widths
from differseg.models.spec import ModelSpec
from differseg.modules.dsconv_fusion import DSConvFusion
from differseg.modules.dwt_fusion import DWTFusion
from differseg.modules.freqfusion import FreqFusion
from differseg.modules.resizing import OutputUpsampling
from differseg.modules.segnext_head import SegNeXtHead

_FUSIONS: dict[str, type[FreqFusion]] = {
    "freqfusion": FreqFusion,
    "dwt-ff": DWTFusion,
    "dsconv-ff": DSConvFusion,
}


class SegNeXt(SegmentationModel):
    """Semantic segmentation of RGB images.

    Args:
        spec: Classes, size and name; ``model.spec`` is what other parts read.
        backbone: A trunk, see :mod:`differseg.backbones`; its three coarser levels are used.
        decode_head: From these levels, finest first, to logits at the finest one's size.
    """

    def __init__(self, spec: ModelSpec, backbone: nn.Module, decode_head: nn.Module) -> None:
        super().__init__(spec)
        self.backbone = backbone
        self.decode_head = decode_head
        self.upsampling = OutputUpsampling(spec.logit_channels, scale=8)

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Output:
        """Segment one batch.

        Args:
            rgb: (N, 3, H, W) float, normalised; H and W multiples of 32.
            second: None; the network has one input.

        Returns:
            ``logits`` (N, K, H, W) for K classes, (N, 1, H, W) for two; in training an empty
            list of side outputs, ``aux``.

        Raises:
            InputError: Another shape, or a second input.
        """
        checked_inputs(self.spec, rgb, second)
        levels = self.backbone(rgb)  # 4 x (N, C_k, H/2**(k+2), W/2**(k+2))
        logits = self.decode_head(levels[1:])  # (N, K, H/8, W/8)
        logits = self.upsampling(logits)  # (N, K, H, W)
        return {"logits": logits, "aux": []} if self.training else {"logits": logits}


def build(spec: ModelSpec, config: SegNeXtConfig) -> SegNeXt:
    """Build the network of a complete configuration."""
    widths = WIDTHS[config.backbone]
    backbone = MSCAN(widths.channels, depths=widths.depths, mlp_ratios=widths.mlp_ratios)
    head = SegNeXtHead(
        widths.channels[1:],
        _fusion_steps(config, widths),
        width=widths.head_width,
        classes=spec.logit_channels,
        join_groups=GROUPS,
        norm_groups=widths.head_width // 8,
    )
    return SegNeXt(spec, backbone, head)


def _fusion_steps(config: SegNeXtConfig, widths: Widths) -> list[nn.Module]:
    """Return the steps from the coarsest level to the finest."""
    kind = _FUSIONS[config.fusion]
    options: dict[str, Any] = {"attention": config.attention} if kind is DWTFusion else {}
    joined, steps = widths.channels[3], list[nn.Module]()
    for fine, compressed in zip(widths.channels[2:0:-1], widths.compressed_channels, strict=True):
        step = kind(
            fine,
            joined,
            compressed_channels=compressed,
            hamming=False,
            sampler_groups=GROUPS,
            direction=config.direction,
            **options,
        )
        steps.append(step)
        joined += fine
    return steps
