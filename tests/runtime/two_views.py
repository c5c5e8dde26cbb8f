"""One moving view seen by two cameras, made quickly: for what is told from motion."""

import cv2
import numpy as np


class TwoViews:
    """A camera head that turns unsteadily before a textured wall; RGB and thermal textures differ.

    The edges of the two textures are partly the same, as in the world, and each camera adds noise.
    """

    def __init__(self, seed: int, seconds: float = 60.0, *, moves: bool = True) -> None:
        rng = np.random.default_rng(seed)
        base = cv2.GaussianBlur(rng.normal(0, 1, (260, 900)), (0, 0), 4)
        own = [cv2.GaussianBlur(rng.normal(0, 1, (260, 900)), (0, 0), s) for s in (3, 5)]
        self._rgb = _stretch(base + own[0], 20, 230)
        self._heat = _stretch(base - own[1], 29_500, 30_500)
        self._rng = rng
        self._grid_s = np.arange(0, seconds + 2, 0.005)
        speed = cv2.GaussianBlur(rng.normal(0, 1, (1, len(self._grid_s))), (0, 0), 30)[0]
        speed *= 60 / speed.std() if moves else 0
        path = np.cumsum(speed) * 0.005
        self._path_px = 300 + 250 * np.sin((path - path.mean()) / 250)

    def _at(self, texture: np.ndarray, time_s: float) -> np.ndarray:
        x = float(np.interp(time_s, self._grid_s, self._path_px))
        return cv2.getRectSubPix(texture, (160, 120), (x + 80, 130))

    def rgb(self, time_s: float) -> np.ndarray:
        picture = self._at(self._rgb, time_s) + self._rng.normal(0, 2, (120, 160))
        return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)

    def thermal(self, time_s: float) -> np.ndarray:
        return (self._at(self._heat, time_s) + self._rng.normal(0, 5, (120, 160))).astype(np.uint16)


def _stretch(texture: np.ndarray, low: float, high: float) -> np.ndarray:
    span = texture.max() - texture.min()
    return ((texture - texture.min()) / span * (high - low) + low).astype(np.float32)
