"""Thermal frames as the network takes them: corrected, and in the RGB camera's view.

Correction belongs to the camera's own thread, which has every frame in order.  The warp is made
when a pair is taken: made ahead, beside the RGB frame's conversion, it won nothing on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from differseg.runtime.buffers import BufferPool
from differseg.runtime.pairing import Pair
from differseg.runtime.registration import Registration
from differseg.runtime.sources import Frame
from differseg.runtime.thermal_correction import ThermalCorrector
from differseg.runtime.timing import StageTimes


class ThermalView:
    """Corrects and warps thermal frames, each once, however many pairs it serves.

    :meth:`corrected` belongs to the camera's thread, :meth:`of` to the one that takes pairs.

    Args:
        registration: Brings frames into the RGB view; None where they are there already.
        corrector: Takes away what the sensor adds; None leaves the frames as they are.
        times: Where the stages ``correct`` and ``register`` are counted.
        note: Takes what the user must know; called in the camera's thread.
    """

    def __init__(
        self,
        registration: Registration | None,
        corrector: ThermalCorrector | None,
        times: StageTimes,
        note: Callable[[str], None],
    ) -> None:
        self._registration, self._corrector = registration, corrector
        self._times, self._note = times, note
        self._pool = BufferPool()
        self._warned: str | None = None
        self._done: tuple[Frame, tuple[int, int], npt.NDArray[Any]] | None = None

    def corrected(self, frame: Frame) -> Frame:
        """Take the next frame of the thermal camera; returns it corrected.

        Args:
            frame: Its image is (h, w) uint8 or uint16, and is not written to.

        Raises:
            InputError: A frame that cannot be corrected.
        """
        if self._corrector is None:
            return frame
        with self._times.measure("correct", {}):
            image = self._corrector.apply(frame.image, frame.timestamp_s)
        self._warn(self._corrector.dead.warning)
        return replace(frame, image=image)

    def of(self, pair: Pair, stage_ms: dict[str, float]) -> npt.NDArray[Any]:
        """Return the thermal image of a pair that has one.

        Args:
            pair: Its thermal frame is from :meth:`corrected`.
            stage_ms: Gets the milliseconds of ``register``, where it was not done before.

        Returns:
            (H, W) in the RGB frame's view, or (h, w) without registration; stays as it is as long
            as it is held.

        Raises:
            InputError: A frame that cannot be warped.
        """
        frame = pair.thermal
        assert frame is not None
        if self._registration is None:
            return frame.image
        height, width = pair.rgb.image.shape[:2]
        if self._done is not None:
            done, size_wh, image = self._done
            if done is frame and size_wh == (width, height):
                return image
        with self._times.measure("register", stage_ms):
            out = self._pool.take((height, width), frame.image.dtype)
            image = self._registration.warp(frame.image, (width, height), out=out)
        self._done = frame, (width, height), image
        return image

    def _warn(self, text: str | None) -> None:
        """Tell of a warning, once."""
        if text is not None and text != self._warned:
            self._note(text)
        self._warned = text or self._warned
