"""From a checked configuration to the network; the registry imports this when it builds one."""

from __future__ import annotations

from typing import Literal

from torch import nn

from differseg.backbones.edge import EdgeTrunk
from differseg.models.differseg import DifferSeg
from differseg.models.registry import DifferSegConfig
from differseg.models.spec import ModelSpec
from differseg.modules.rfb import LightReceptiveFieldBlock, ReceptiveFieldBlock

_HIERA_SIZES: dict[str, Literal["tiny", "small", "base_plus", "large"]] = {
    "hiera_t": "tiny",
    "hiera_s": "small",
    "hiera_b_plus": "base_plus",
    "hiera_l": "large",
}


def build_differseg(spec: ModelSpec, config: DifferSegConfig) -> DifferSeg:
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
