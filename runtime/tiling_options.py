"""How large images are taken: what ``--tile``, ``--overlap`` and ``--whole-view`` say."""

from __future__ import annotations

from dataclasses import dataclass

from differseg.errors import InputError
from differseg.runtime.tiling import DEFAULT_OVERLAP, plan_tiles


@dataclass(frozen=True)
class Tiles:
    """Options of :class:`differseg.runtime.tiled_segmenter.TiledSegmenter`.

    Attributes:
        tile_hw: Height and width of a tile in pixels of the image.
        overlap: What neighbours have in common at least: a share below 1, or pixels.
        whole_view: Whether the whole image is seen first.

    Raises:
        InputError: A tile without pixels, or an overlap that is too large.
    """

    tile_hw: tuple[int, int]
    overlap: float = DEFAULT_OVERLAP
    whole_view: bool = True

    def __post_init__(self) -> None:
        plan_tiles(self.tile_hw, self.tile_hw, self.overlap)  # refuses what no image could have


def tiles_of(
    tile_hw: tuple[int, int] | None, overlap: float | None, whole_view: bool | None
) -> Tiles | None:
    """Return what the options say; None where images are taken whole.

    Args:
        tile_hw: ``--tile``; None takes images whole.
        overlap: ``--overlap``; None takes the default.
        whole_view: ``--whole-view``; None is yes.

    Raises:
        InputError: Options of tiles without a tile, or as :class:`Tiles`.
    """
    if tile_hw is not None:
        overlap = DEFAULT_OVERLAP if overlap is None else overlap
        return Tiles(tile_hw, overlap, whole_view is not False)
    if overlap is not None:
        raise InputError("--overlap is about tiles: add --tile HxW, or leave it out")
    if whole_view is not None:
        option = "--whole-view" if whole_view else "--no-whole-view"
        raise InputError(f"{option} is about tiles: add --tile HxW, or leave it out")
    return None
