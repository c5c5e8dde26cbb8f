"""A pair's thermal frame as the network takes it: corrected, and in the RGB camera's view."""

from __future__ import annotations

from collections.abc import Callable
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

    One thread uses it, in the order of the pairs.

    Args:
        registration: Brings frames into the RGB view; None where they are there already.
        corrector: Takes away what the sensor adds; None leaves the frames as they are.
        times: Where the stages ``correct`` and ``register`` are counted.
        note: Takes what the user must know.
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

    def of(self, pair: Pair, stage_ms: dict[str, float]) -> npt.NDArray[Any]:
        """Return the thermal image of a pair that has one.

        Args:
            pair: Its thermal image is (h, w) uint8 or uint16; it is not written to.
            stage_ms: Gets the milliseconds of the stages.

        Returns:
            (H, W) of the same dtype in the RGB frame's view, or (h, w) without registration;
            stays as it is as long as it is held.

        Raises:
            InputError: A frame that cannot be corrected or warped.
        """
        frame = pair.thermal
        assert frame is not None
        height, width = pair.rgb.image.shape[:2]
        if self._done is not None:
            done, size_wh, image = self._done
            if done is frame and size_wh == (width, height):
                return image
        image = frame.image
        if self._corrector is not None:
            with self._times.measure("correct", stage_ms):
                image = self._corrector.apply(image, frame.timestamp_s)
            self._warn(self._corrector.dead.warning)
        if self._registration is not None:
            with self._times.measure("register", stage_ms):
                out = self._pool.take((height, width), image.dtype)
                image = self._registration.warp(image, (width, height), out=out)
        self._done = frame, (width, height), image
        return image

    def _warn(self, text: str | None) -> None:
        """Tell of a warning, once."""
        if text is not None and text != self._warned:
            self._note(text)
        self._warned = text or self._warned
