"""One input of a network whose frame is taken in tiles: mapped once, then cut.

Thermal and depth images are mapped to 0..1 over the whole frame, so that every tile has the same
range; a range of each tile's own would give the same temperature another value on the two sides
of a seam.  An image of another size than the frame is stretched to it before it is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.preprocess import InputPreparer, check_image, map_depth, resize
from differseg.runtime.thermal import new_histogram
from differseg.runtime.tiling import Tile


class TiledInput:
    """The frames of one model input; every buffer is kept between frames.

    Args:
        preparer: What lays the input out; its thermal mapper maps the whole frame.
    """

    def __init__(self, preparer: InputPreparer) -> None:
        self._preparer = preparer
        self._color = preparer.spec.channels == 3
        self._histogram = new_histogram() if preparer.spec.modality == "depth" else None
        self._image: npt.NDArray[Any] = np.empty((0, 0), np.float32)
        self._frame: npt.NDArray[Any] = self._image
        self._mapped = np.empty((0, 0), np.float32)
        self._stretched: npt.NDArray[Any] = np.empty((0, 0), np.float32)
        self._resized = np.empty((0, 0), np.float32)

    def take(
        self, image: npt.NDArray[Any], timestamp_s: float | None, frame_hw: tuple[int, int]
    ) -> None:
        """Check one image, map it where it is not colour, and bring it to the frame's size.

        Args:
            image: As :meth:`InputPreparer.prepare` takes it.  A colour image is not copied and
                must stay until its tiles are laid out.
            timestamp_s: Capture time in seconds, for the thermal policy's smoothing.
            frame_hw: Height and width of the frame in pixels.

        Raises:
            InputError: As :meth:`InputPreparer.prepare`.
        """
        image = check_image(self._preparer.spec.modality, image)
        if not self._color:
            self._mapped = fitting_buffer(self._mapped, image.shape, np.float32)
            if self._preparer.mapper is not None:
                self._preparer.mapper.map(image, timestamp_s, out=self._mapped)
            else:
                map_depth(image, out=self._mapped, histogram=self._histogram)
            image = self._mapped
        self._image = self._frame = image
        if image.shape[:2] != frame_hw:
            shape = (*frame_hw, *image.shape[2:])
            self._stretched = fitting_buffer(self._stretched, shape, image.dtype)
            self._frame = resize(image, frame_hw, out=self._stretched)

    def lay_out_whole(self, out: npt.NDArray[Any]) -> None:
        """Fill the network's input with the whole image, as without tiles."""
        self._lay_out(self._image, out)

    def lay_out(self, tile: Tile, out: npt.NDArray[Any]) -> None:
        """Fill the network's input with one tile, stretched where it has another size."""
        cut = self._frame[tile.rows, tile.columns]
        # A tile that is the whole frame takes the way of a frame without tiles: stretched once.
        self._lay_out(self._image if cut.shape == self._frame.shape else cut, out)

    def _lay_out(self, image: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        if self._color:
            self._preparer.prepare(image, out=out)
            return
        target = out[0, 0] if self._preparer.spec.layout == "NCHW" else out[0, :, :, 0]
        if image.shape != target.shape:
            self._resized = fitting_buffer(self._resized, target.shape, np.float32)
            image = resize(image, self._preparer.size_hw, out=self._resized)
        np.copyto(target, image, casting="unsafe")
