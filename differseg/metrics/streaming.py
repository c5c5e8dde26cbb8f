"""Figures of a binary segmentation over a set of images, one image at a time."""

from __future__ import annotations

import difflib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.metrics.boundaries import BOUNDARY_TOLERANCE_PX
from differseg.metrics.f_curve import Curve
from differseg.metrics.image_values import VALUES, Image, Value, agreement, needed
from differseg.metrics.overlap import Overlap
from differseg.metrics.pair import Normalize, Pair

QUICK_MEASURES = ("iou", "mean_iou", "precision", "recall", "f_measure", "mae", "boundary_f")
"""What a training run watches."""

MEASURES = (
    *QUICK_MEASURES, "s_measure", "e_max", "e_mean", "e_adaptive", "f_max", "f_mean", "f_adaptive",
    "f_weighted", "ber", "image_iou", "set_mae", "set_ber",
)  # fmt: skip
"""All figures but ``hce``, which is slow and given where it is asked for."""

_NOT_ASKED = math.nan


@dataclass(frozen=True)
class ImageScores:
    """The figures of one image, NaN where not asked for.

    All in 0..1 and better where larger, but ``mae`` and ``ber``, where less is better, and ``hce``,
    a count of which less is better.  The maxima are over this image's own curve.
    """

    iou: float = _NOT_ASKED
    precision: float = _NOT_ASKED
    recall: float = _NOT_ASKED
    f_measure: float = _NOT_ASKED
    mae: float = _NOT_ASKED
    boundary_f: float = _NOT_ASKED
    s_measure: float = _NOT_ASKED
    e_max: float = _NOT_ASKED
    e_mean: float = _NOT_ASKED
    e_adaptive: float = _NOT_ASKED
    f_max: float = _NOT_ASKED
    f_mean: float = _NOT_ASKED
    f_adaptive: float = _NOT_ASKED
    f_weighted: float = _NOT_ASKED
    ber: float = _NOT_ASKED
    hce: float = _NOT_ASKED


IMAGE_MEASURES = tuple(field.name for field in fields(ImageScores))
"""The figures that one image has, in the order of :class:`ImageScores`."""


@dataclass(frozen=True)
class _Judged:
    """One image's counts, sum of absolute errors, and values; these of no error without pixels."""

    overlap: Overlap
    absolute_error: float
    values: dict[str, Value]


class SegmentationMetrics:
    """Streaming figures of a binary segmentation; see :mod:`differseg.metrics` for each.

    Example:
        >>> metrics = SegmentationMetrics()
        >>> label = np.eye(4, dtype=np.uint8)
        >>> metrics.update(label.astype(np.float32), label).iou
        1.0
        >>> metrics.compute()["iou"]
        1.0

    Args:
        threshold: Probability from which a pixel is foreground, as at run time.
        tolerance_px: Tolerance of the boundary F-measure, in pixels.
        measures: The figures that :meth:`compute` gives, and the only ones that cost time.
        normalize: None takes predictions as they are; ``"minmax"`` stretches each to 0..1 first,
            for figures that compare with papers.  ``iou`` and all that hangs on the threshold then
            change, too; and a pixel at the threshold is background, as papers have it.
        threads: Images that :meth:`update_all` scores at a time.

    Raises:
        InputError: A measure is unknown, or an argument is out of its range.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        tolerance_px: float = BOUNDARY_TOLERANCE_PX,
        *,
        measures: Sequence[str] = MEASURES,
        normalize: Normalize | None = None,
        threads: int = 1,
    ) -> None:
        for name in measures:
            if name not in (*MEASURES, "hce"):
                near = difflib.get_close_matches(name, (*MEASURES, "hce"), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(MEASURES)}"
                raise InputError(f"metrics: there is no measure {name!r}; {hint}")
        if threads < 1:
            raise InputError(f"metrics: threads={threads}: expected 1 or more")
        self.threshold = threshold
        self.tolerance_px = tolerance_px
        self.measures = tuple(measures)
        self.normalize = normalize
        self.threads = threads
        self._needed = tuple(dict.fromkeys(v for name in measures for v in needed(name)))
        self._overlap = Overlap()
        self._absolute_error = 0.0
        self._sums: dict[str, Value] = dict.fromkeys(self._needed, 0.0)
        self._counted = 0  # images with a pixel that counts
        self._images = 0

    def update(
        self,
        prediction: npt.NDArray[np.generic],
        label: npt.NDArray[np.generic],
        valid: npt.NDArray[np.bool_] | None = None,
    ) -> ImageScores:
        """Add one image and return its own figures.

        Args:
            prediction: (H, W) float, foreground probability in 0..1; uint8 in 0..255; or bool.
            label: (H, W) bool, or a number: 0 background, 255 ignored, all else foreground.  Of a
                file with 0 and 255 give ``file > 128``.
            valid: (H, W) bool, False for further ignored pixels.

        Raises:
            InputError: The shapes differ, or a probability is NaN or outside 0..1.
            MissingComponentError: ``hce`` is asked for, and scikit-image is not installed.
        """
        return self._add(self._judge(prediction, label, valid))

    def update_all(
        self, images: Iterable[tuple[npt.NDArray[np.generic], ...]]
    ) -> list[ImageScores]:
        """Add many images, several at a time; the figures are those of :meth:`update`, to the bit.

        Args:
            images: Arguments of :meth:`update` for each image; drawn a few ahead.

        Returns:
            The figures of each image, in order.

        Raises:
            InputError: As :meth:`update`; the images before are added.
        """
        return [self._add(judged) for judged in self._judge_all(images)]

    def _judge_all(
        self, images: Iterable[tuple[npt.NDArray[np.generic], ...]]
    ) -> Iterator[_Judged]:
        waiting: deque[Future[_Judged]] = deque()
        with ThreadPoolExecutor(self.threads, thread_name_prefix="metrics") as pool:
            for arguments in images:
                waiting.append(pool.submit(self._judge, *arguments))  # type: ignore[arg-type]
                if len(waiting) > 2 * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _judge(
        self,
        prediction: npt.NDArray[np.generic],
        label: npt.NDArray[np.generic],
        valid: npt.NDArray[np.bool_] | None = None,
    ) -> _Judged:
        pair = Pair(prediction, label, valid, self.normalize)
        beyond = np.greater if self.normalize else np.greater_equal
        found = beyond(pair.prediction, self.threshold)
        if pair.valid is not None:
            found &= pair.valid
        overlap = Overlap.of(found, pair)
        image = Image(pair, found, overlap, self.tolerance_px)
        if not pair.pixels:
            return _Judged(overlap, 0.0, {name: agreement(name) for name in self._needed})
        values = {name: VALUES[name](image) for name in self._needed}
        error = pair.absolute_error if "set_mae" in self.measures else 0.0
        return _Judged(overlap, error, values)

    def _add(self, judged: _Judged) -> ImageScores:
        self._images += 1
        if judged.overlap.pixels:
            self._counted += 1
            self._overlap += judged.overlap
            self._absolute_error += judged.absolute_error
            for name, value in judged.values.items():
                self._sums[name] = self._sums[name] + value
        asked = [name for name in IMAGE_MEASURES if name in self.measures]
        return ImageScores(**{n: _figure(n, judged.values, judged.overlap) for n in asked})

    def _means(self) -> dict[str, Value]:
        if not self._images:
            raise InputError("metrics: no image was added, so there is nothing to compute")
        if not self._counted:
            return {name: agreement(name) for name in self._needed}
        return {name: total / self._counted for name, total in self._sums.items()}

    def compute(self) -> dict[str, float]:
        """Return the figures over all images so far.

        Returns:
            Those of ``measures``, in that order, and ``images``.

        Raises:
            InputError: No image was added.
        """
        means, overlap = self._means(), self._overlap
        over_set = {
            "mean_iou": (overlap.iou + overlap.background_iou) / 2,
            "set_mae": self._absolute_error / max(1, overlap.pixels),
            "set_ber": overlap.ber if overlap.pixels else 0.0,
        }
        figures = {
            name: over_set[name] if name in over_set else _figure(name, means, overlap)
            for name in self.measures
        }
        return {**figures, "images": self._images}

    def curves(self) -> dict[str, Curve]:
        """Return means over images at every threshold, (256,) each; place t is threshold t / 255.

        Returns:
            ``precision_curve``, ``recall_curve`` and ``f_curve`` where ``f_max`` or ``f_mean`` is
            among the measures, ``e_curve`` where ``e_max`` or ``e_mean`` is.

        Raises:
            InputError: No image was added.
        """
        return {n: np.asarray(v) for n, v in self._means().items() if n.endswith("_curve")}


def _figure(name: str, values: dict[str, Value], overlap: Overlap) -> float:
    """Return a figure from values and counts, of one image or of a set."""
    if name in values:
        return float(values[name])
    if name.endswith(("_max", "_mean")):
        curve = np.asarray(values[f"{name[0]}_curve"])
        return float(curve.max() if name.endswith("_max") else curve.mean())
    return float(getattr(overlap, name))
