"""Test-time augmentation: the mean of a model's outputs at several sizes and mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.predictors import Images, Predictor, TorchPredictor
from differseg.runtime.preprocess import resize

LARGEST_SCALE = 4.0


def scaled_size(size_hw: tuple[int, int], scale: float, multiple: int) -> tuple[int, int]:
    """Return a size times ``scale``, rounded to a multiple that the network takes."""
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in size_hw)
    return height, width


class AveragedPredictor:
    """A model that is asked several times about each image.

    Probabilities are averaged, resized to the size of the first answer; mirrored ones are
    mirrored back before.  This is the multi-scale and flip testing of semantic segmentation, as in
    mmsegmentation's ``TTAModel``.

    Args:
        predictors: The same model at each size; the first decides what is said of it.
        flip: Also ask about the mirrored images.

    Attributes:
        sizes_hw: The sizes that are asked at.
    """

    def __init__(self, predictors: Sequence[Predictor], flip: bool) -> None:
        first = predictors[0]
        self._predictors, self._flip = tuple(predictors), flip
        self.name, self.modalities, self.threshold = first.name, first.modalities, first.threshold
        self.size_hw, self.own_size_hw = first.size_hw, first.own_size_hw
        self.classes, self.training, self.runs_on = first.classes, first.training, first.runs_on
        self.sizes_hw = tuple(predictor.size_hw for predictor in predictors)

    def probability(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the mean probability (H, W) or (K, H, W), float32, of a sample."""
        total: npt.NDArray[np.float32] | None = None
        views = [(images, False)]
        if self._flip:
            mirrored = {
                name: np.ascontiguousarray(images[name][:, ::-1]) for name in self.modalities
            }
            views.append((mirrored, True))
        for predictor in self._predictors:
            for view, is_mirrored in views:
                found = predictor.probability(view)
                found = found[..., ::-1] if is_mirrored else found
                total = found if total is None else total + _resized(found, total.shape[-2:])
        assert total is not None
        return np.asarray(total / (len(self._predictors) * len(views)), dtype=np.float32)

    def pictures(self, images: Images) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a person is shown of each modality."""
        return self._predictors[0].pictures(images)


def _resized(maps: npt.NDArray[np.float32], size_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    if maps.shape[-2:] == size_hw:
        return maps
    if maps.ndim == 2:
        return resize(np.ascontiguousarray(maps), size_hw)
    return np.stack([resize(np.ascontiguousarray(plane), size_hw) for plane in maps])


def averaged(predictor: Predictor, scales: Sequence[float], flip: bool) -> Predictor:
    """Return a predictor that averages over sizes and mirror images; itself for neither.

    Args:
        predictor: The model at its own size.
        scales: Factors of its size; none asks at its own size alone.
        flip: Also ask about mirrored images.

    Raises:
        InputError: A factor out of range, or several sizes of a file that has one.
    """
    if not scales:
        return AveragedPredictor([predictor], flip) if flip else predictor
    wrong = [scale for scale in scales if not 0 < scale <= LARGEST_SCALE]
    if wrong:
        raise InputError(
            f"--scale {wrong[0]:g}: expected factors above 0 and up to {LARGEST_SCALE:g}"
        )
    if not isinstance(predictor, TorchPredictor):
        height, width = predictor.size_hw
        raise InputError(
            f"--scale: {predictor.name} is a file of the one size {height}x{width}; give a "
            "checkpoint, or leave --scale away"
        )
    sizes = {scaled_size(predictor.size_hw, s, predictor.multiple): None for s in scales}
    return AveragedPredictor([predictor.at(size_hw) for size_hw in sizes], flip)
