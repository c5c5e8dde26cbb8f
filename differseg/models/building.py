"""From a checked configuration to the network; the registry imports this when it builds one."""

from __future__ import annotations

from torch import nn

from differseg.backbones.edge import EdgeTrunk
from differseg.errors import MissingComponentError
from differseg.models.differseg import DifferSeg
from differseg.models.registry import DifferSegConfig
from differseg.models.spec import ModelSpec
from differseg.modules.rfb import LightReceptiveFieldBlock, ReceptiveFieldBlock

_HIERA_SIZES = {
    "hiera_t": "tiny",
    "hiera_s": "small",
    "hiera_b_plus": "base_plus",
    "hiera_l": "large",
}


def build_differseg(spec: ModelSpec, config: DifferSegConfig) -> DifferSeg:
    """Build the network of a complete configuration.

    Raises:
        MissingComponentError: A Hiera backbone without timm.
    """
    assert config.widths is not None  # filled in by the registry
    edge = config.backbone == "edge"
    if edge:
        trunk: nn.Module = EdgeTrunk([modality.channels for modality in spec.modalities])
    else:
        trunk = _hiera_trunk(config)
    return DifferSeg(
        spec,
        trunk,
        config.widths,
        level_block=LightReceptiveFieldBlock if edge else ReceptiveFieldBlock,
        align_corners=not edge,
        keep_unused_fusion=not edge,
        # The third path costs 12 % of the CPU time in ONNX Runtime, most of it in its 5x5.
        upsampling_paths=2 if edge else 3,
        batch_streams_in_training=edge,
    )


def _hiera_trunk(config: DifferSegConfig) -> nn.Module:
    try:
        from differseg.backbones.hiera import create_hiera_trunk
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("timm", "torchvision"):
            raise
        raise MissingComponentError(
            f"backbone '{config.backbone}' needs the package '{error.name}', which is not "
            "installed; install it with: pip install 'differseg[timm]'"
        ) from None
    return create_hiera_trunk(_HIERA_SIZES[config.backbone], config.adapter)
