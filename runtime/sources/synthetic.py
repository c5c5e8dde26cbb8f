"""A synthetic camera: the data package's seeded scene, seen by the RGB or the thermal camera.

``differseg.data.synthetic`` needs numpy and OpenCV alone; it is imported when a synthetic source
is opened, the one place where the runtime reaches into the data package.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import SourceError
from differseg.runtime.buffers import BufferPool
from differseg.runtime.sources.base import Frame, Modality, PaceClock, Source


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of a ``synthetic:`` source, written ``synthetic:seed=3,fps=30``.

    Attributes:
        seed: Scene; two sources with the same seed, size and night look at the same one.
        fps: Frame rate in Hz.
        seconds: Length; 0 is endless.
        night: 1 night, 0 day; the seed decides when left out.
        paced: 1 gives frames in real time like a camera, 0 as fast as they are read.
        size: Width and height of the RGB camera in pixels.
    """

    seed: int = 0
    fps: float = 30.0
    seconds: float = 0.0
    night: bool | None = None
    paced: bool = True
    size: tuple[int, int] = (640, 480)


class SyntheticSource(Source):
    """One of the two cameras of a synthetic scene.

    A paced source that is read too late skips frames, as a camera does; the jump shows in
    ``Frame.index``.

    Args:
        modality: Which camera.
        options: What stands after ``synthetic:``.
        clock: Common start of this run's paced sources.
    """

    def __init__(self, modality: Modality, options: SyntheticOptions, clock: PaceClock) -> None:
        super().__init__(modality)
        self.options = options
        self.live = options.paced
        self.clock = "driver" if options.paced else "media"
        self.fps = options.fps
        self.description = f"synthetic {modality} camera, seed {options.seed}"
        self.scene: Any = None
        self._clock = clock
        self._index = 0
        self._render_s = 0.0
        self._pool = BufferPool()
        self._interrupted = threading.Event()

    def open(self) -> None:
        """Build the scene."""
        from differseg.data.synthetic import SyntheticScene

        options = self.options
        self.scene = SyntheticScene(options.seed, size_wh=options.size, night=options.night)
        self.size_wh = options.size if self.modality == "rgb" else None
        self._index = 0
        self._interrupted.clear()

    def read(self) -> Frame | None:
        """Render the next frame, in real time where paced."""
        if self.scene is None:
            raise SourceError(f"{self.description}: read before open")
        index, fps = self._index, self.options.fps
        start_s = 0.0
        if self.options.paced:
            start_s = self._clock.due_s(0.0)
            # A real camera spends no time on drawing: begin with the frame that can be on time.
            ready_s = time.monotonic() - start_s + self._render_s
            index = max(index, math.ceil(ready_s * fps - 0.5))
        media_s = index / fps
        if self.options.seconds > 0 and media_s >= self.options.seconds - 1e-9:
            return None
        began_s = time.monotonic()
        image = self._render(media_s)
        self._render_s = time.monotonic() - began_s
        if self.options.paced:
            due_s = start_s + media_s
            if self._interrupted.wait(max(0.0, due_s - time.monotonic())):
                return None
        self._index = index + 1
        self.size_wh = (image.shape[1], image.shape[0])
        return Frame(image, start_s + media_s, index)

    def _render(self, media_s: float) -> npt.NDArray[Any]:
        if self.modality == "thermal":
            return np.ascontiguousarray(self.scene.thermal(media_s))
        rgb = self.scene.rgb(media_s)
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR, dst=self._pool.take(rgb.shape, np.uint8))

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._interrupted.set()

    def close(self) -> None:
        """Drop the scene."""
        self.scene = None


def same_scene(rgb: Source, thermal: Source) -> Any:
    """Return the scene that two open synthetic cameras look at, or None.

    It knows ``thermal_to_rgb``, ``thermal_offset_s`` and both sizes.
    """
    if not isinstance(rgb, SyntheticSource) or not isinstance(thermal, SyntheticSource):
        return None
    a, b = rgb.options, thermal.options
    equal = (a.seed, a.size, a.night) == (b.seed, b.size, b.night)
    return rgb.scene if equal else None
