"""Trunks that run stage by stage, for networks that change a map between two stages.

A staged trunk has ``channels`` of its four levels and ``stage(number, x)``: number 0 takes the
image to stride 4, each further one starts with the strided layer that halves what it is given.
``normalized`` says whether the levels are ready for a head, or a normalisation is to come first.

ConvNeXt (arXiv 2201.03545) and Swin (arXiv 2103.14030) are timm's layers; timm needs torchvision,
so both are imported when such a trunk is built and not before.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.edge import EdgeTrunk
from differseg.backbones.mscan import MSCAN
from differseg.backbones.resnet import ResNet50
from differseg.backbones.timm_import import import_timm


class StagedResNet50(ResNet50):
    """ResNet-50, a stage at a time."""

    normalized = True

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return level ``number``, ``(N, C_k, H/2, W/2)`` of the level before or of the image."""
        if number == 0:
            x = F.relu(self.bn1(self.conv1(x)))  # (N, 64, H/2, W/2)
            x = F.max_pool2d(x, 3, stride=2, padding=1)  # (N, 64, H/4, W/4)
        return self.get_submodule(f"layer{number + 1}")(x)


class StagedMSCAN(MSCAN):
    """SegNeXt's trunk, a stage at a time."""

    normalized = True

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return level ``number``, ``(N, C_k, H/2, W/2)`` of the level before or of the image."""
        x = self.get_submodule(f"patch_embed{number + 1}")(x)
        for block in self.get_submodule(f"block{number + 1}").children():
            x = block(x)
        return self.get_submodule(f"norm{number + 1}")(x)


class StagedEdgeTrunk(EdgeTrunk):
    """The trunk of dense convolutions for edge devices, a stage at a time."""

    normalized = True

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return level ``number``, ``(N, C_k, H/2, W/2)`` of the level before or of the image."""
        if number == 0:
            x = F.relu(self.stems[0](x))  # (N, stem_width, H/2, W/2)
        return self.stages[number](x)


class StagedConvNext(nn.Module):
    """ConvNeXt-T with untrained weights, a stage at a time.

    Attributes:
        channels: Width of each of the four maps.

    Raises:
        MissingComponentError: timm is not installed or cannot be imported.
    """

    normalized = False

    def __init__(self) -> None:
        super().__init__()
        source = import_timm("the ConvNeXt backbone").create_model(
            "convnext_tiny", pretrained=False, num_classes=0
        )
        self.stem = source.stem
        self.stages = source.stages
        self.channels = tuple(info["num_chs"] for info in source.feature_info)

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return level ``number``, ``(N, C_k, H/2, W/2)`` of the level before or of the image."""
        return self.stages[number](self.stem(x) if number == 0 else x)


class StagedSwin(nn.Module):
    """Swin-T with untrained weights, a stage at a time.

    Every map is cut into windows of 7 x 7 and padded where they do not fit, however small it is.

    Attributes:
        channels: Width of each of the four maps.

    Raises:
        MissingComponentError: timm is not installed or cannot be imported.
    """

    normalized = False

    def __init__(self) -> None:
        super().__init__()
        source = import_timm("the Swin backbone").create_model(
            "swin_tiny_patch4_window7_224",
            pretrained=False,
            num_classes=0,
            strict_img_size=False,
            always_partition=True,
        )
        self.patch_embed = source.patch_embed
        self.layers = source.layers
        self.channels = tuple(info["num_chs"] for info in source.feature_info)

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Return level ``number``, ``(N, C_k, H/2, W/2)`` of the level before or of the image."""
        tokens = self.patch_embed(x) if number == 0 else x.permute(0, 2, 3, 1)
        return self.layers[number](tokens).permute(0, 3, 1, 2)

    def for_export(self, size_hw: tuple[int, int]) -> StagedSwin:
        """Compute the masks of shifted windows once, for one size."""
        for number, layer in enumerate(self.layers):
            stride = 2 ** (number + 2)
            for block in layer.blocks:
                block.input_resolution = tuple(-(-side // stride) for side in size_hw)
                block.dynamic_mask = False
                mask = block.get_attn_mask()
                if mask is not None:
                    mask = mask.to(block.norm1.weight.dtype)
                block.register_buffer("attn_mask", mask, persistent=False)
        return self
