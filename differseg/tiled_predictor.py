"""A checkpoint judged in tiles: PyTorch in the place of a TiledSegmenter's engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.predictors import Images, TorchPredictor
from differseg.runtime.tiling import Tile, TileBlender, plan_tiles
from differseg.runtime.tiling_inputs import TiledInput
from differseg.runtime.tiling_options import Tiles
from differseg.runtime.tiling_whole import WholeView

Maps = npt.NDArray[np.float32]


class TiledPredictor:
    """A checkpoint that takes a large image in overlapping tiles and blends their probabilities.

    Args:
        predictor: The network at the size that tiles are stretched to.
        tiles: How images are taken.
    """

    def __init__(self, predictor: TorchPredictor, tiles: Tiles) -> None:
        self._predictor, self._tiles = predictor, tiles
        self.name, self.modalities = predictor.name, predictor.modalities
        self.size_hw, self.own_size_hw = predictor.size_hw, predictor.own_size_hw
        self.classes, self.threshold = predictor.classes, predictor.threshold
        self.training, self.runs_on = predictor.training, predictor.runs_on
        self._inputs = {name: TiledInput(p) for name, p in predictor.preparers.items()}
        self._laid_out: dict[str, npt.NDArray[Any]] = {
            name: np.empty(p.shape, p.spec.dtype) for name, p in predictor.preparers.items()
        }
        self._whole, self._blender = WholeView(), TileBlender()

    def probability(self, images: Images) -> Maps:
        """Return the probability (H, W) or (K, H, W), float32 at the image's size, of a sample."""
        height, width = images[self.modalities[0]].shape[:2]
        for name, taken in self._inputs.items():
            taken.take(images[name], None, (height, width))
        plan = plan_tiles((height, width), self._tiles.tile_hw, self._tiles.overlap)
        tiles, seen_whole = list(plan), self._tiles.whole_view and len(plan) > 1
        if seen_whole:
            self._whole.take(self._maps(None), plan.frame_hw)
            tiles = [tile for tile in tiles if self._whole.needs(tile)]
        planes = 1 if len(self.classes) == 2 else len(self.classes)
        blended = np.empty((planes, height, width), np.float32)

        def keep(rows: slice, maps: Maps) -> None:
            if seen_whole:
                self._whole.mix(rows, maps)
            blended[:, rows] = maps

        self._blender.begin(plan, planes, keep)
        for tile in tiles:
            self._blender.add(tile, self._maps(tile))
        self._blender.end()
        return blended[0] if planes == 1 else blended

    def _maps(self, tile: Tile | None) -> Maps:
        """Return the probabilities (1 or K, H, W) of a tile, or of the whole image."""
        for name, taken in self._inputs.items():
            if tile is None:
                taken.lay_out_whole(self._laid_out[name])
            else:
                taken.lay_out(tile, self._laid_out[name])
        maps = self._predictor.of_inputs(self._laid_out)
        return maps[None] if maps.ndim == 2 else maps

    def pictures(self, images: Images) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a person is shown of each modality."""
        return self._predictor.pictures(images)
