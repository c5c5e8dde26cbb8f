"""The DifferSeg network: trunk, receptive-field blocks, two-modality fusion, frequency decoder.

DifferSeg: Towards Diverse Multimodal Binary Segmentation via Differential Perception and
Frequency Guidance, arXiv 2606.08906.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.edge import EdgeTrunk
from differseg.models.base import Output, SegmentationModel, checked_inputs
from differseg.models.configs.differseg import DifferSegConfig
from differseg.models.spec import ModelSpec
from differseg.modules.differential_perception import DifferentialPerceptionFusion
from differseg.modules.frequency_guided_decoder import FrequencyGuidedDecoder
from differseg.modules.heads import SegmentationHead
from differseg.modules.rfb import LightReceptiveFieldBlock, ReceptiveFieldBlock

LevelBlock = Callable[[int, int], nn.Module]
"""Builds the block between a trunk level and a decoder level from their two widths."""

_HIERA_SIZES: dict[str, Literal["tiny", "small", "base_plus", "large"]] = {
    "hiera_t": "tiny",
    "hiera_s": "small",
    "hiera_b_plus": "base_plus",
    "hiera_l": "large",
}


class DifferSeg(SegmentationModel):
    """Binary segmentation of RGB, or of RGB with one aligned second modality.

    All modalities share trunk and receptive-field blocks and run through them as one batch,
    which in eval mode equals separate passes exactly.

    Args:
        spec: Modalities, size and name; ``model.spec`` is what other parts read.
        trunk: See :mod:`differseg.backbones`.
        widths: Decoder widths at strides 4, 8, 16 and 32; multiples of 8.
        level_block: The receptive-field block to use.
        align_corners: Grid of the final resize; the authors' networks need True.
        subpixel_head: Predict every output pixel instead of interpolating from stride 4.
        keep_unused_fusion: Hold the authors' uncalled decoder weights too.
        upsampling_paths: Learned paths per band and upsampler of the decoder; the authors use 3.
        batch_streams_in_training: Also train with one batch for all modalities.  The authors
            pass them one after the other, which updates batch statistics twice a step.
    """

    def __init__(
        self,
        spec: ModelSpec,
        trunk: nn.Module,
        widths: tuple[int, int, int, int],
        *,
        level_block: LevelBlock,
        align_corners: bool,
        subpixel_head: bool,
        keep_unused_fusion: bool,
        upsampling_paths: int,
        batch_streams_in_training: bool,
    ) -> None:
        super().__init__(spec)
        self.align_corners = align_corners
        self.batch_streams_in_training = batch_streams_in_training
        self.encoder = trunk
        channels = cast("tuple[int, ...]", trunk.channels)
        self.rfb1, self.rfb2, self.rfb3, self.rfb4 = (
            level_block(c, width) for c, width in zip(channels, widths, strict=True)
        )
        if len(spec.modalities) == 2:
            self.dpf1, self.dpf2, self.dpf3, self.dpf4 = map(DifferentialPerceptionFusion, widths)
        self.freq_decoder = FrequencyGuidedDecoder(
            widths[::-1],
            keep_unused_fusion=keep_unused_fusion,
            upsampling_paths=upsampling_paths,
        )
        self.subpixel_head = subpixel_head
        self.predtrans1 = SegmentationHead(widths[0], scale=4 if subpixel_head else 1)
        self.predtrans2, self.predtrans3, self.predtrans4 = map(SegmentationHead, widths[1:])

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Output:
        """Segment one batch; call it as ``model(*tensors)`` in the order of ``spec.modalities``.

        Args:
            rgb: (N, 3, H, W) float, normalised; H and W multiples of ``spec.multiple``.
            second: (N, C, H, W) float, normalised: thermal, depth (C = 1) or flow (C = 3).

        Returns:
            ``{"logits": (N, 1, H, W)}`` and, in training mode, ``"aux"``: the three side
            outputs of strides 8, 16 and 32 as logits (N, 1, H, W).

        Raises:
            InputError: A modality is missing or left over, or a shape does not fit.
        """
        fused = self._fused_levels(rgb, second)
        logits = self._decoded(fused, rgb.shape[-2:])
        if not self.training:
            return {"logits": logits}
        return {"logits": logits, "aux": self._side_outputs(fused, rgb.shape[-2:])}

    def forward_all(self, rgb: Tensor, second: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the decoder's output and the three side outputs, also in eval mode.

        Arguments as in :meth:`forward`; four logits (N, 1, H, W).
        """
        fused = self._fused_levels(rgb, second)
        size_hw = rgb.shape[-2:]
        return (self._decoded(fused, size_hw), *self._side_outputs(fused, size_hw))

    def _decoded(self, fused: Sequence[Tensor], size_hw: Sequence[int]) -> Tensor:
        features = self.freq_decoder(fused[::-1])  # (N, D1, H/4, W/4)
        logits = self.predtrans1(features)  # (N, 1, H, W) or (N, 1, H/4, W/4)
        return logits if self.subpixel_head else self._resize(logits, size_hw)

    def _side_outputs(self, fused: Sequence[Tensor], size_hw: Sequence[int]) -> list[Tensor]:
        heads = (self.predtrans2, self.predtrans3, self.predtrans4)
        pairs = zip(heads, fused[1:], strict=True)
        return [self._resize(head(level), size_hw) for head, level in pairs]

    def _resize(self, logits: Tensor, size_hw: Sequence[int]) -> Tensor:
        return F.interpolate(
            logits, size=tuple(size_hw), mode="bilinear", align_corners=self.align_corners
        )

    def _fused_levels(self, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
        """Return one tensor per level, (N, D, H/stride, W/stride), finest first."""
        streams = checked_inputs(self.spec, rgb, second)
        if len(streams) == 1:
            return self._levels(streams)
        if self.training and not self.batch_streams_in_training:
            rgb_levels, second_levels = self._levels(streams[:1]), self._levels(streams[1:])
        else:
            levels, n = self._levels(streams), rgb.shape[0]
            # Slices, not a split: ONNX cannot convert Split from opset 18 down to 17.
            rgb_levels, second_levels = [x[:n] for x in levels], [x[n:] for x in levels]
        fusions = (self.dpf1, self.dpf2, self.dpf3, self.dpf4)
        return [fuse(r, m) for fuse, r, m in zip(fusions, rgb_levels, second_levels, strict=True)]

    def _levels(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return the decoder levels of all streams, stacked along the batch, finest first."""
        forward_streams = getattr(self.encoder, "forward_streams", None)
        if forward_streams is not None:
            features = forward_streams(streams)  # 4 x (S*N, C, h, w)
        else:
            three = [x.repeat(1, 3, 1, 1) if x.shape[1] == 1 else x for x in streams]
            features = self.encoder(torch.cat(three, dim=0))  # 4 x (S*N, C, h, w)
        blocks = (self.rfb1, self.rfb2, self.rfb3, self.rfb4)
        return [block(level) for block, level in zip(blocks, features, strict=True)]


def build(spec: ModelSpec, config: DifferSegConfig) -> DifferSeg:
    """Build the network of a complete configuration.

    Raises:
        MissingComponentError: A Hiera backbone without timm; the text says what to install.
    """
    assert config.widths is not None  # filled in by the registry
    edge = config.backbone == "edge"
    if edge:
        trunk: nn.Module = EdgeTrunk([modality.channels for modality in spec.modalities])
    else:
        # Not at the top: timm, which this needs, is optional.
        from differseg.backbones.hiera import create_hiera_trunk

        trunk = create_hiera_trunk(_HIERA_SIZES[config.backbone], config.adapter)
    return DifferSeg(
        spec,
        trunk,
        config.widths,
        level_block=LightReceptiveFieldBlock if edge else ReceptiveFieldBlock,
        align_corners=not edge,
        subpixel_head=edge,
        keep_unused_fusion=not edge,
        # The third path costs 12 % of the CPU time in ONNX Runtime, most of it in its 5x5.
        upsampling_paths=2 if edge else 3,
        batch_streams_in_training=edge,
    )
