"""The DifferSeg network: trunk, receptive-field blocks, two-modality fusion, frequency decoder.

DifferSeg: Towards Diverse Multimodal Binary Segmentation via Differential Perception and
Frequency Guidance, arXiv 2606.08906.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.models.spec import ModelSpec
from differseg.modules.differential_perception import DifferentialPerceptionFusion
from differseg.modules.frequency_guided_decoder import FrequencyGuidedDecoder
from differseg.modules.heads import SegmentationHead

LevelBlock = Callable[[int, int], nn.Module]
"""Builds the block between a trunk level and a decoder level from their two widths."""


class DifferSeg(nn.Module):
    """Binary segmentation of RGB, or of RGB with one aligned second modality.

    All modalities share trunk and receptive-field blocks and run through them as one batch,
    which in eval mode equals separate passes exactly.

    Args:
        spec: Modalities, size and name; ``model.spec`` is what other parts read.
        trunk: See :mod:`differseg.backbones`.
        widths: Decoder widths at strides 4, 8, 16 and 32; multiples of 8.
        level_block: The receptive-field block to use.
        align_corners: Grid of the final resize; the authors' networks need True.
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
        keep_unused_fusion: bool,
        upsampling_paths: int,
        batch_streams_in_training: bool,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.align_corners = align_corners
        self.batch_streams_in_training = batch_streams_in_training
        self.encoder = trunk
        self.rfb1, self.rfb2, self.rfb3, self.rfb4 = (
            level_block(c, width) for c, width in zip(trunk.channels, widths, strict=True)
        )
        if len(spec.modalities) == 2:
            self.dpf1, self.dpf2, self.dpf3, self.dpf4 = map(DifferentialPerceptionFusion, widths)
        self.freq_decoder = FrequencyGuidedDecoder(
            widths[::-1],
            keep_unused_fusion=keep_unused_fusion,
            upsampling_paths=upsampling_paths,
        )
        self.predtrans1, self.predtrans2, self.predtrans3, self.predtrans4 = map(
            SegmentationHead, widths
        )

    def forward(
        self, rgb: Tensor, second: Tensor | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
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
        size_hw = rgb.shape[-2:]
        logits = self._resize(self.predtrans1(self.freq_decoder(fused[::-1])), size_hw)
        if not self.training:
            return {"logits": logits}  # (N, 1, H, W)
        return {"logits": logits, "aux": self._side_outputs(fused, size_hw)}

    def forward_all(self, rgb: Tensor, second: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the decoder's output and the three side outputs, also in eval mode.

        Arguments as in :meth:`forward`; four logits (N, 1, H, W).
        """
        fused = self._fused_levels(rgb, second)
        size_hw = rgb.shape[-2:]
        logits = self._resize(self.predtrans1(self.freq_decoder(fused[::-1])), size_hw)
        return (logits, *self._side_outputs(fused, size_hw))

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
        streams = _checked_streams(self.spec, rgb, second)
        if self.training and not self.batch_streams_in_training:
            per_stream = [self._levels([stream]) for stream in streams]
        else:
            batch = [rgb.shape[0]] * len(streams)
            stacked = [level.split(batch) for level in self._levels(streams)]
            per_stream = [list(levels) for levels in zip(*stacked, strict=True)]
        if len(streams) == 1:
            return per_stream[0]
        fusions = (self.dpf1, self.dpf2, self.dpf3, self.dpf4)
        return [fuse(r, m) for fuse, r, m in zip(fusions, *per_stream, strict=True)]

    def _levels(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return the decoder levels of all streams, stacked along the batch, finest first."""
        if hasattr(self.encoder, "forward_streams"):
            features = self.encoder.forward_streams(streams)
        else:
            three = [x.repeat(1, 3, 1, 1) if x.shape[1] == 1 else x for x in streams]
            features = self.encoder(torch.cat(three, dim=0))  # 4 x (S*N, C, h, w)
        blocks = (self.rfb1, self.rfb2, self.rfb3, self.rfb4)
        return [block(level) for block, level in zip(blocks, features, strict=True)]


def _checked_streams(spec: ModelSpec, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
    """Check number, channels and sizes of the inputs against the spec; returns them as a list.

    Sizes that are symbolic (dynamic shapes under ``torch.export``) are not checked.
    """
    streams = [rgb] if second is None else [rgb, second]
    names = [modality.name for modality in spec.modalities]
    if len(streams) != len(names):
        raise InputError(
            f"{spec.name}: expected {len(names)} input(s) ({', '.join(names)}), got "
            f"{len(streams)}; call model({', '.join(names)}) in this order"
        )
    for modality, x in zip(spec.modalities, streams, strict=True):
        where = f"{spec.name}: input '{modality.name}'"
        if x.ndim != 4 or (isinstance(x.shape[1], int) and x.shape[1] != modality.channels):
            raise InputError(
                f"{where}: expected (N, {modality.channels}, H, W), got {tuple(x.shape)}"
            )
        if any(isinstance(side, int) and side % spec.multiple for side in x.shape[-2:]):
            raise InputError(
                f"{where}: height and width must be multiples of {spec.multiple}, got "
                f"{x.shape[-2]}x{x.shape[-1]}; resize the image first"
            )
        if x.shape[0] != rgb.shape[0] or x.shape[-2:] != rgb.shape[-2:]:
            raise InputError(
                f"{where}: batch and size must equal those of '{names[0]}', got "
                f"{tuple(x.shape)} and {tuple(rgb.shape)}"
            )
    return streams
