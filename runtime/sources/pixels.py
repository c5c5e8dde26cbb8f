"""Pixels as a V4L2 driver gives them, turned into images by OpenCV, in buffers that are used again.

With its conversion off, OpenCV hands a frame over as the driver wrote it: since 4.5 as one row of
bytes, before that in the shape of the format (opencv/opencv, modules/videoio/src/cap_v4l.cpp).
With its conversion on, it gives 8-bit BGR, of 16-bit grey only the upper byte.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import SourceError
from differseg.runtime.buffers import BufferPool
from differseg.runtime.sources.base import Modality, check_chroma

_ROW_BYTES = {"YUYV": 2, "UYVY": 2, "NV12": 1, "GREY": 1, "Y16 ": 2}
"""Bytes of a row for each pixel of its width, by FOURCC."""
_TO_BGR = {
    "YUYV": cv2.COLOR_YUV2BGR_YUYV,
    "UYVY": cv2.COLOR_YUV2BGR_UYVY,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "GREY": cv2.COLOR_GRAY2BGR,
}

RAW_FORMATS = tuple(_ROW_BYTES)
"""Formats that are taken unconverted; of others, such as MJPG, OpenCV gives BGR."""


class RawPixels:
    """Turns the raw frames of one camera into images.

    An RGB camera gives BGR.  Of a thermal camera with a colour format the luma is taken, as it is.

    Args:
        fourcc: One of ``RAW_FORMATS``.
        modality: ``rgb`` or ``thermal``.
        where: Name of the camera, for messages.
    """

    def __init__(self, fourcc: str, modality: Modality, where: str) -> None:
        self._fourcc, self._modality, self._where = fourcc, modality, where
        self._size_wh: tuple[int, int] | None = None
        self._pool = BufferPool()

    def image(self, raw: npt.NDArray[Any], size_wh: tuple[int, int] | None) -> npt.NDArray[Any]:
        """Return one frame as (H, W, 3) uint8 BGR, or (H, W) uint8 or uint16 for thermal.

        Args:
            raw: What OpenCV gave: uint8 bytes in any shape; or, where it has converted all the
                same, an image, which is returned as it is.
            size_wh: The driver's width and height; those of the first call hold.

        Raises:
            SourceError: The bytes are not those of an image of this size.
        """
        done = raw.ndim == 3 and raw.shape[2] >= 3
        if done or (raw.dtype == np.uint16 and raw.ndim == 2 and self._fourcc == "Y16 "):
            return raw
        self._size_wh = self._size_wh or size_wh
        plane = self._plane(raw)
        if self._fourcc == "Y16 ":
            return self._sixteen_bits(plane)
        if self._modality == "rgb":
            return self._bgr(plane)
        return self._luma(plane)

    def _plane(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the bytes as rows, without what the driver added at the end of each."""
        width, height = self._size_wh or (0, 0)
        rows = height * 3 // 2 if self._fourcc == "NV12" else height
        row_bytes = width * _ROW_BYTES[self._fourcc]
        flat = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        if rows == 0 or flat.size % rows or flat.size // rows < row_bytes:
            raise SourceError(
                f"{self._where}: a frame of {flat.size} bytes is no {self._fourcc.strip()} picture "
                f"of {width}x{height}; give the size that the camera has, such as ,size=640x480"
            )
        return flat.reshape(rows, -1)[:, :row_bytes]

    def _sixteen_bits(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        if plane.flags.c_contiguous:
            return plane.view(np.uint16)
        out = self._pool.take((plane.shape[0], plane.shape[1] // 2), np.uint16)
        np.copyto(out.view(np.uint8), plane)
        return out

    def _packed(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the bytes in the shape that OpenCV's conversions take."""
        if self._fourcc in ("YUYV", "UYVY"):
            plane = plane.reshape(plane.shape[0], -1, 2)
        return plane

    def _bgr(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        assert self._size_wh is not None
        width, height = self._size_wh
        out = self._pool.take((height, width, 3), np.uint8)
        return cv2.cvtColor(self._packed(plane), _TO_BGR[self._fourcc], dst=out)

    def _luma(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        assert self._size_wh is not None
        width, height = self._size_wh
        packed = self._packed(plane)
        if self._fourcc == "NV12":
            luma, chroma = packed[:height], packed[height:]
        elif self._fourcc == "GREY":
            luma, chroma = packed, packed[:0]
        else:
            first = int(self._fourcc == "UYVY")
            luma, chroma = packed[:, :, first], packed[:, :, 1 - first]
        check_chroma(chroma, self._where)
        out = self._pool.take((height, width), np.uint8)
        np.copyto(out, luma)
        return out
