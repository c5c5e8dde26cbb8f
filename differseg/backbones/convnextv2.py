"""ConvNeXt V2 (arXiv 2301.00808) as an image trunk; the layers are timm's.

timm needs torchvision, so both are imported when a trunk is built and not before.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from differseg.errors import InputError, MissingComponentError

ConvNextV2Size = Literal["nano", "tiny", "base"]


def create_convnextv2_trunk(size: ConvNextV2Size, in_channels: int = 3) -> ConvNextV2Trunk:
    """Build a trunk with untrained weights; nothing is downloaded.

    Args:
        size: Which of the published networks.
        in_channels: Channels of the image.

    Raises:
        InputError: A size that there is not.
        MissingComponentError: timm is not installed or cannot be imported.
    """
    if size not in get_args(ConvNextV2Size):
        known = ", ".join(get_args(ConvNextV2Size))
        raise InputError(f"ConvNeXt V2 size '{size}' is unknown; choose {known}")
    source = _timm().create_model(
        f"convnextv2_{size}", pretrained=False, in_chans=in_channels, num_classes=0
    )
    return ConvNextV2Trunk(source)


def _timm() -> Any:
    """Import timm, or say in one line what to install."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"the ConvNeXt V2 backbone needs {error.name}, which is not installed: "
            "pip install 'differseg[timm]'"
        ) from None
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingComponentError(
            f"the ConvNeXt V2 backbone needs timm, and timm cannot import torchvision beside "
            f"torch {torch.__version__} ({error}); install both from one package index, such as "
            "pip install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from None
    return timm


class ConvNextV2Trunk(nn.Module):
    """Four feature maps from one image, at strides 4, 8, 16 and 32.

    The maps are the stages' own outputs, without a normalisation.  Sides that are no multiples
    of 32 lose what is left over at the bottom and at the right, stage by stage.

    Attributes:
        channels: Width of each of the four maps.
    """

    def __init__(self, source: Any) -> None:
        """Take over the layers of ``source``, a ``timm.models.convnext.ConvNeXt``."""
        super().__init__()
        self.stem = source.stem
        self.stages = source.stages
        self.channels = tuple(info["num_chs"] for info in source.feature_info)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the maps of an image.

        Args:
            image: (N, in_channels, H, W) float, normalised; both sides at least 32.

        Returns:
            Four tensors (N, C, H/s, W/s), s = 4, 8, 16, 32, C from ``channels``.
        """
        x = self.stem(image)  # (N, C, H/4, W/4)
        maps = []
        for stage in self.stages:
            x = stage(x)  # (N, C, H/s, W/s)
            maps.append(x)
        return maps
