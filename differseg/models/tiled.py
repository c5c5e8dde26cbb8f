"""A network on images larger than its own size: the runtime's tiles and weights, in PyTorch.

:func:`tiled_forward` is what :class:`differseg.runtime.tiled_segmenter.TiledSegmenter` does
without its view of the whole frame; the two agree as closely as the network and its exported file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule, probability_of
from differseg.runtime.tiling import DEFAULT_OVERLAP, Tile, TilePlan, plan_tiles


def tiled_forward(
    module: nn.Module,
    inputs: Tensor | Mapping[str, Tensor],
    tile_hw: tuple[int, int],
    overlap: float = DEFAULT_OVERLAP,
) -> Tensor:
    """Run a network tile by tile and blend what it says.

    A network with a ``spec`` gives probabilities, and those are blended, as on the device: the
    classes of a pixel still sum to 1, and one tile that is very sure of an error cannot outvote
    its neighbour, as its logit could.  Of another module its output is blended as it is.

    Tiles run one after another, a whole batch at a time, so the memory is that of one tile and of
    the result.  Gradients flow; for inference call it under ``torch.inference_mode()``, and put
    the network into eval mode first.

    Args:
        module: A :class:`SegmentationModel`, a :class:`DeploymentModule`, or any module that
            takes the inputs by position and gives (N, K, H, W).
        inputs: (N, C, H, W), or modality name to such a tensor, of one height and width; what the
            module takes, which of a :class:`DeploymentModule` is (N, H, W, 3) uint8 for colour.
        tile_hw: Height and width of a tile in pixels; along an axis on which the image is not
            larger, the tile is as long as the image.
        overlap: As :func:`differseg.runtime.tiling.plan_tiles`.

    Returns:
        (N, K, H, W) in the module's dtype and on its device.  Where the module gives another size
        than the tile's, its output is stretched to the tile (bilinear, corner-aligned images).

    Raises:
        InputError: No inputs, inputs of several sizes, one that the network does not know, an
            overlap that is too large, or a tile that the network cannot take.

    Example:
        >>> blur = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        >>> tiled_forward(blur, torch.ones(1, 1, 50, 70), (32, 32)).shape
        torch.Size([1, 1, 50, 70])
    """
    streams = _in_order(module, {"input": inputs} if isinstance(inputs, Tensor) else inputs)
    raw = isinstance(module, DeploymentModule)
    sizes = {name: _size_hw(x, raw) for name, x in streams.items()}
    if len(set(sizes.values())) != 1:
        raise InputError(
            f"tiled_forward: expected inputs of one height and width, got {sizes or 'none'}; "
            "resize them to the first one's"
        )
    plan = plan_tiles(next(iter(sizes.values())), tile_hw, overlap)
    total: Tensor | None = None
    for tile in plan:
        maps = _probability(module, [_cut(x, tile, raw) for x in streams.values()])
        if maps.shape[2:] != plan.tile_hw:
            maps = F.interpolate(maps, plan.tile_hw, mode="bilinear", align_corners=False)
        if total is None:
            total = maps.new_zeros((*maps.shape[:2], *plan.frame_hw))
        total[:, :, tile.rows, tile.columns] += maps * _weight(plan, tile, maps)
    assert total is not None  # every plan has a tile
    return total


def _in_order(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs in the order in which a network with a spec takes them."""
    if not isinstance(module, (SegmentationModel, DeploymentModule)) or list(inputs) == ["input"]:
        return dict(inputs)
    names = [modality.name for modality in module.spec.modalities]
    if set(names) != set(inputs):
        raise InputError(
            f"{module.spec.name}: takes {' and '.join(names)}, got {' and '.join(inputs) or 'none'}"
        )
    return {name: inputs[name] for name in names}


def _channels_last(x: Tensor, raw: bool) -> bool:
    """Whether an input is a camera's picture as a deployment module takes it."""
    return raw and x.dtype == torch.uint8


def _size_hw(x: Tensor, raw: bool) -> tuple[int, int]:
    if x.ndim != 4:
        raise InputError(f"tiled_forward: expected inputs of 4 axes, got {tuple(x.shape)}")
    height, width = x.shape[1:3] if _channels_last(x, raw) else x.shape[2:]
    return int(height), int(width)


def _cut(x: Tensor, tile: Tile, raw: bool) -> Tensor:
    if _channels_last(x, raw):
        return x[:, tile.rows, tile.columns]
    return x[:, :, tile.rows, tile.columns]


def _probability(module: nn.Module, tiles: list[Tensor]) -> Tensor:
    """Return what is blended of one tile: (N, K, h, w)."""
    found = module(*tiles)
    if isinstance(module, SegmentationModel):
        return probability_of(module.spec, found["logits"])
    if not isinstance(found, Tensor) or found.ndim != 4:
        raise InputError(
            f"tiled_forward: expected {type(module).__name__} to give a tensor (N, K, H, W), got "
            f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
        )
    return found


def _weight(plan: TilePlan, tile: Tile, like: Tensor) -> Tensor:
    """Return a tile's weights, (h, w) in the dtype and on the device of its maps."""
    rows = torch.from_numpy(plan.row_weights[tile.row])[:, None]
    return (rows * torch.from_numpy(plan.column_weights[tile.column])).to(like)
