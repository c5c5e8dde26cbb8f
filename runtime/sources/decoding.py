"""OpenCV's captures as the sources use them: opened in silence, 16 bits and buffers kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy.typing as npt

from differseg.errors import SourceError
from differseg.runtime.buffers import BufferPool
from differseg.runtime.opencv_log import quiet
from differseg.runtime.sources.base import Modality, to_modality

_GRAY16_LE = b"Y1\0\x10"
"""FFmpeg's tag of 16-bit grey, little endian: letters of the planes, shifts, bits."""


def open_quietly(name: str | int, backend: int, settings: list[int]) -> cv2.VideoCapture:
    """Open a capture without OpenCV's and FFmpeg's own lines on stderr.

    Args:
        name: Device index, path, address or pipeline text.
        backend: One of OpenCV's ``CAP_`` constants.
        settings: Pairs of property and value that must be known while opening.
    """
    with quiet():
        try:
            return cv2.VideoCapture(name, backend, settings)
        except cv2.error:
            # A backend that rejects the settings; the caller reports that it is not open.
            return cv2.VideoCapture()


def keep_sixteen_bits(capture: cv2.VideoCapture, where: str) -> list[str]:
    """Have an FFmpeg capture give thermal frames as they are stored, where that is 16-bit grey.

    With the conversion to 8-bit colour off, OpenCV hands other formats out as raw bytes, so they
    keep it.

    Args:
        capture: An open capture that has not been read.
        where: Name of the source, for the text.

    Returns:
        A note where the frames have 8 bits; empty where they have 16.
    """
    code = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
    tag = code.to_bytes(4, "little")
    if tag == _GRAY16_LE and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
        return []
    bits = _bits_of(tag)
    if bits == 8:
        return [
            f"{where}: the thermal picture has 8 bits; the camera's own gain control has decided "
            "the contrast"
        ]
    return [
        f"{where}: the thermal picture has {bits} bits, of which OpenCV {cv2.__version__} gives 8; "
        "only 16-bit grey (gray16le) is kept whole, by OpenCV 4.8 or later"
    ]


def _bits_of(tag: bytes) -> int:
    """Return the bits of a value by FFmpeg's tag of a pixel format; 8 where it does not say."""
    for letter, bits in ((tag[0], tag[3]), (tag[3], tag[0])):  # little endian, big endian
        if letter in b"YG" and 8 < bits <= 16:
            return bits
    return 8


class Decoder:
    """Fetches grabbed frames of one capture into buffers that are used again.

    Args:
        modality: ``rgb`` or ``thermal``.
    """

    def __init__(self, modality: Modality) -> None:
        self._modality: Modality = modality
        self._raw_pool, self._pool = BufferPool(), BufferPool()
        self._format: tuple[tuple[int, ...], npt.DTypeLike] | None = None

    def image(
        self,
        capture: cv2.VideoCapture,
        where: str,
        unpack: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda raw: raw,
    ) -> npt.NDArray[Any]:
        """Return the frame grabbed last, as the image of a :class:`Frame`.

        Raises:
            SourceError: It cannot be decoded, or has another pixel format.
        """
        buffer = self._raw_pool.take(*self._format) if self._format else None
        ok, raw = capture.retrieve() if buffer is None else capture.retrieve(buffer)
        if not ok or raw is None or raw.size == 0:
            raise SourceError(f"{where}: a frame could not be decoded")
        self._format = (raw.shape, raw.dtype)
        return to_modality(unpack(raw), self._modality, self._pool, where)
