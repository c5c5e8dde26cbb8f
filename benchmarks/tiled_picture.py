"""The picture of docs/large_inputs.md: one object of a large frame, segmented in four ways.

python benchmarks/tiled_picture.py --model F.onnx -o docs/images/large_inputs.jpg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.synthetic import SyntheticScene
from differseg.options import option, parse, run_main
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.tiled_segmenter import TiledSegmenter

_PANEL_WH = (480, 360)
_CAPTION_PX = 30


@dataclass(frozen=True)
class PictureOptions:
    """Draw the outlines that tiles give, beside those of the frame shrunk whole."""

    model: Path = option(metavar="F.onnx")
    """A model of rgb and thermal."""
    out: Path = option(metavar="F.jpg", short="-o")
    """The file to write."""
    seed: int = 9100006
    """Seed of the scene."""
    size: tuple[int, int] = (2160, 3840)
    """Height and width of the frame."""
    tile: tuple[int, int] = (960, 1280)
    """Height and width of a tile."""


def masks_of(
    options: PictureOptions, frames: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return caption and mask of every way to take the frame."""
    found = {}
    with Segmenter(options.model) as plain:
        found["whole frame, shrunk"] = plain(**frames).mask.copy()
    own = plain.manifest.inputs[0].size_hw
    for tile_hw, whole_view in ((own, False), (options.tile, False), (options.tile, True)):
        text = f"tiles of {tile_hw[0]}x{tile_hw[1]}"
        with TiledSegmenter(options.model, tile_hw=tile_hw, whole_view=whole_view) as tiled:
            result = tiled(**frames)
        found[text + (" and the whole frame" if whole_view else "")] = result.mask.copy()
    return found


def window(mask: npt.NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the surroundings of the largest object, in the panel's aspect."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
    x, y, width, height, _ = boxes[1:][boxes[1:, cv2.CC_STAT_AREA].argmax()].tolist()
    tall = min(round(1.3 * max(height, width * _PANEL_WH[1] / _PANEL_WH[0])), mask.shape[0])
    wide = min(tall * _PANEL_WH[0] // _PANEL_WH[1], mask.shape[1])
    top = min(max(0, y + height // 2 - tall // 2), mask.shape[0] - tall)
    left = min(max(0, x + width // 2 - wide // 2), mask.shape[1] - wide)
    return slice(top, top + tall), slice(left, left + wide)


def panel(
    rgb: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], label: npt.NDArray[np.uint8], text: str
) -> npt.NDArray[np.uint8]:
    """Return one part of the frame with what was found tinted and the label's outline in white."""
    picture = cv2.resize(rgb[..., ::-1], _PANEL_WH, interpolation=cv2.INTER_AREA)
    found = cv2.resize(mask * np.float32(1), _PANEL_WH, interpolation=cv2.INTER_AREA)[..., None]
    picture = (picture * (1 - 0.55 * found) + np.array([60, 200, 0]) * 0.55 * found).astype(
        np.uint8
    )
    small = cv2.resize(label, _PANEL_WH, interpolation=cv2.INTER_NEAREST_EXACT)
    outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)
    caption = np.full((_CAPTION_PX, _PANEL_WH[0], 3), 255, np.uint8)
    place, font = (8, _CAPTION_PX - 9), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(caption, text, place, font, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([caption, picture])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(PictureOptions, argv, "tiled_picture")
    scene = SyntheticScene(options.seed, options.size[::-1], thermal_size_wh=(320, 256))
    sample = scene.sample(1.0)
    label = sample.pop("mask")
    part = window(label)
    panels = [
        panel(sample["rgb"][part], mask[part], label[part], text)
        for text, mask in masks_of(options, sample).items()
    ]
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    rows = [
        np.concatenate([left, gap, right], axis=1)
        for left, right in zip(panels[::2], panels[1::2], strict=True)
    ]
    cv2.imwrite(str(options.out), np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
