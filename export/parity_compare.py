"""The arithmetic of a comparison: two outputs at a time, held as counts."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.export.boundary_band import BoundarySum
from differseg.export.error_spectrum import SpectrumSum
from differseg.export.parity_masks import BinaryJudge, ClassJudge, Maps, Mask, MaskJudge, MaskScores
from differseg.export.parity_result import (
    TIE,
    Check,
    ErrorHistogram,
    ImageFigures,
    Panel,
    ParityResult,
    Picture,
    Side,
    Thresholds,
)

ALL_IMAGES = "all images"
"""Stem of the figures over the whole data."""

LITTLE_SHOWN = "masks are empty/full on all images: this comparison shows little"
"""Warning of a comparison that would pass whatever the network does."""

_EDGES = np.logspace(-9, 0, 10 * 9 + 1)
_ALMOST = 1e-4  # share of all other classes up to which a mask is of one class


@dataclass
class Comparison:
    """Takes image after image and turns them into a :class:`ParityResult`.

    Only counts are kept, and the ``keep_panels`` worst images for the report.

    Args:
        a: The reference.
        b: What is judged against it.
        thresholds: Limits of the verdict.
        keep_panels: How many images keep their pictures.
        locate: Also find at which frequencies and how near to outlines the outputs differ.
    """

    a: Side
    b: Side
    thresholds: Thresholds
    keep_panels: int = 0
    locate: bool = False
    _images: list[ImageFigures] = field(default_factory=list)
    _panels: list[tuple[tuple[float, ...], int, Panel]] = field(default_factory=list)
    _counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(_EDGES) - 1, np.int64)
    )
    _below: int = 0
    _blank_inputs: int = 0
    _blank_masks: int = 0
    _size_hw: tuple[int, int] = (0, 0)
    _spectrum: SpectrumSum = field(default_factory=SpectrumSum)
    _boundary: BoundarySum = field(default_factory=BoundarySum)

    def __post_init__(self) -> None:
        """Choose how masks are judged; sides with other classes cannot be compared."""
        a, b = ([f"{spec.id} {spec.name}" for spec in side.classes] for side in (self.a, self.b))
        if a and b and a != b:
            other = [f"{one} ({two})" for one, two in zip(a, b, strict=False) if one != two]
            said = f"class {other[0]}" if other else f"{len(a)} classes ({len(b)})"
            raise InputError(
                f"parity: {self.a.name} has {said} where {self.b.name} has what stands in "
                "brackets; compare two forms of one network"
            )
        several = len(self.a.classes) > 2
        self._judge: MaskJudge = (
            ClassJudge(self.a.classes) if several else BinaryJudge(self.a, self.b)
        )
        self._order = itertools.count(0, -1)

    def add(
        self,
        stem: str,
        probability_a: npt.NDArray[np.floating],
        probability_b: npt.NDArray[np.floating],
        label: npt.NDArray[np.uint8] | None = None,
        pictures: dict[str, Picture] | None = None,
    ) -> ImageFigures:
        """Compare one image and return its figures.

        Args:
            stem: Name of the image.
            probability_a: (1, 1, H, W), or (1, K, H, W) of K > 2 classes; float, side A's output.
            probability_b: Likewise, side B's output.
            label: (h, w) uint8 {0, 1, 255 ignore} of any size; with more classes 0..K-1 and 255.
                The probability maps are resized to it before the class is decided, as the device
                does for its frames.
            pictures: Input name -> what the network saw, for the report.

        Raises:
            InputError: The maps are not of one such shape.
        """
        maps_a, maps_b = self._maps(stem, probability_a, probability_b)
        error = _errors(maps_a, maps_b)
        masks = self._judge.masks(maps_a, maps_b)
        figures = self._figures(stem, error, maps_a, maps_b, masks)
        if label is not None:
            # NaN counts as background here; the finite-output check reports it.
            usable = [np.nan_to_num(maps, nan=0.0) for maps in (maps_a, maps_b)]
            on_a, on_b = self._judge.against_label(usable[0], usable[1], label)
            figures = dataclasses.replace(figures, **_label_figures(on_a, on_b))
        if self.locate:
            self._spectrum.add(maps_a, maps_b)
            self._boundary.add(masks[0], error)
        self._images.append(figures)
        self._blank_masks += all(_blank(mask) for mask in masks)
        pictures = pictures or {}
        if pictures and all(float(np.ptp(picture)) == 0 for picture in pictures.values()):
            self._blank_inputs += 1
        if self.keep_panels:
            panel = Panel(figures, pictures, *masks, error.astype(np.float32), label)
            # Equal images keep the order of the data; the count also spares comparing panels.
            entry = (figures.severity, next(self._order), panel)
            keep = heapq.heappush if len(self._panels) < self.keep_panels else heapq.heappushpop
            keep(self._panels, entry)
        return figures

    def _maps(
        self, stem: str, a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]
    ) -> tuple[Maps, Maps]:
        channels = self._judge.channels
        if a.shape != b.shape or a.ndim != 4 or a.shape[:2] != (1, channels):
            raise InputError(
                f"parity: {stem}: expected two probability maps of one shape (1, {channels}, H, W),"
                f" got {a.shape} from {self.a.name} and {b.shape} from {self.b.name}"
            )
        self._size_hw = (a.shape[2], a.shape[3])
        return a[0].astype(np.float32, copy=False), b[0].astype(np.float32, copy=False)

    def _figures(
        self,
        stem: str,
        error: npt.NDArray[np.float64],
        maps_a: Maps,
        maps_b: Maps,
        masks: tuple[Mask, Mask],
    ) -> ImageFigures:
        finite = np.isfinite(error)
        self._count(error[finite])
        tied = self._judge.tied(maps_a, maps_b, masks)
        scores = self._judge.agreement(*masks)
        foreground_a, foreground_b = map(self._judge.foreground, masks)
        return ImageFigures(
            stem=stem,
            pixels=error.size,
            max_error=float(error.max()),
            mean_error=float(error.mean()),
            flipped_pixels=int(np.count_nonzero(masks[0] != masks[1])) - tied,
            mask_iou=scores.iou,
            boundary_f=scores.boundary_f,
            nonfinite=int(finite.size - np.count_nonzero(finite)),
            foreground_a=foreground_a,
            foreground_b=foreground_b,
            tied_pixels=tied,
        )

    def _count(self, error: npt.NDArray[np.float64]) -> None:
        self._below += int(np.count_nonzero(error < _EDGES[0]))
        # np.histogram drops what lies beyond the last edge: a logit in place of a probability.
        self._counts += np.histogram(np.minimum(error, _EDGES[-1]), _EDGES)[0]

    def finish(
        self,
        data: str,
        warnings: tuple[str, ...] = (),
        machine: dict[str, str] | None = None,
        seconds: float = 0.0,
    ) -> ParityResult:
        """Return the verdict over everything that was added.

        Raises:
            InputError: Nothing was added.
        """
        if not self._images:
            raise InputError("parity: there are no images to compare on; give a folder with some")
        overall = self._overall()
        panels = [panel for _, _, panel in sorted(self._panels, key=lambda e: e[:2], reverse=True)]
        return ParityResult(
            a=self.a,
            b=self.b,
            size_hw=self._size_hw,
            data=data,
            overall=overall,
            images=tuple(self._images),
            checks=tuple(self._checks(overall)),
            warnings=(*warnings, *self._warnings()),
            histogram=ErrorHistogram(_EDGES, self._counts, self._below, overall.nonfinite),
            classes=self._judge.classes(),
            panels=tuple(panels),
            machine=machine or {},
            seconds=seconds,
            spectrum=self._spectrum.result(),
            boundary=self._boundary.result(),
        )

    def _overall(self) -> ImageFigures:
        images = self._images
        label: dict[str, Any] = {}
        if any(image.label_iou_a is not None for image in images):
            label = _label_figures(*self._judge.pooled_labels())
        pixels = sum(image.pixels for image in images)
        return ImageFigures(
            stem=ALL_IMAGES,
            pixels=pixels,
            max_error=max(image.max_error for image in images),
            mean_error=sum(image.mean_error * image.pixels for image in images) / pixels,
            flipped_pixels=sum(image.flipped_pixels for image in images),
            tied_pixels=sum(image.tied_pixels for image in images),
            mask_iou=min(image.mask_iou for image in images),
            boundary_f=min(image.boundary_f for image in images),
            nonfinite=sum(image.nonfinite for image in images),
            foreground_a=sum(image.foreground_a * image.pixels for image in images) / pixels,
            foreground_b=sum(image.foreground_b * image.pixels for image in images) / pixels,
            **label,
        )

    def _checks(self, overall: ImageFigures) -> list[Check]:
        limits = self.thresholds
        errors = _worst(self._images, "max_error", max)
        ious = _worst(self._images, "mask_iou", min)
        boundaries = _worst(self._images, "boundary_f", min)
        flips = max(limits.flipped_pixels, int(limits.flipped_part * overall.pixels))
        checks = [
            _at_most("NaN or infinite values", overall.nonfinite, 0),
            _at_most("max error", overall.max_error, limits.max_error, errors),
            _at_most("flipped pixels", overall.flipped_pixels, flips),
            _at_least("mask IoU", overall.mask_iou, limits.min_mask_iou, ious),
            _at_least("boundary F", overall.boundary_f, limits.min_boundary_f, boundaries),
        ]
        if self._judge.channels == 1:
            checks.append(
                _at_most(
                    "threshold difference",
                    abs(self.a.threshold - self.b.threshold),
                    limits.max_threshold_difference,
                    f"{self.a.threshold:g} and {self.b.threshold:g}",
                )
            )
        if overall.label_iou_a is not None and overall.label_iou_b is not None:
            labelled = sum(image.label_iou_a is not None for image in self._images)
            checks.append(
                _at_most(
                    "label IoU drop",
                    overall.label_iou_a - overall.label_iou_b,
                    limits.max_label_iou_drop,
                    f"{overall.label_iou_a:.4f} to {overall.label_iou_b:.4f}, "
                    f"{labelled} labelled images",
                )
            )
        return checks

    def _warnings(self) -> list[str]:
        warnings = []
        if self._blank_masks == len(self._images):
            warnings.append(LITTLE_SHOWN)
        if self._blank_inputs == len(self._images):
            warnings.append("all images are of one colour: this comparison shows little")
        tied = sum(image.tied_pixels for image in self._images)
        if tied:
            where = "the threshold" if self._judge.channels == 1 else "a draw of two classes"
            warnings.append(
                f"{tied} pixel(s) lie within {TIE:g} of {where} and fell on different sides "
                "by rounding; they are not counted as flipped"
            )
        return warnings


def _worst(images: list[ImageFigures], name: str, pick: Callable[..., ImageFigures]) -> str:
    """Name the worst image by one figure; nothing where all are alike."""
    values = {getattr(image, name) for image in images}
    if len(values) == 1:
        return ""
    return f"worst: {pick(images, key=lambda image: getattr(image, name)).stem}"


def _errors(maps_a: Maps, maps_b: Maps) -> npt.NDArray[np.float64]:
    """Return each pixel's largest difference over the maps; infinite where one is not finite."""
    errors = np.zeros(maps_a.shape[1:])
    for a, b in zip(maps_a, maps_b, strict=True):
        finite = np.isfinite(a) & np.isfinite(b)
        difference = np.full(errors.shape, np.inf)
        np.subtract(a, b, out=difference, where=finite, dtype=np.float64)
        np.maximum(errors, np.abs(difference), out=errors)
    return errors


def _label_figures(on_a: MaskScores, on_b: MaskScores) -> dict[str, Any]:
    return {
        "label_iou_a": on_a.iou,
        "label_iou_b": on_b.iou,
        "label_boundary_f_a": on_a.boundary_f,
        "label_boundary_f_b": on_b.boundary_f,
    }


def _blank(mask: Mask) -> bool:
    """Say whether almost the whole mask is of one class."""
    return bool(np.bincount(mask.ravel()).max() >= (1 - _ALMOST) * mask.size)


def _at_most(what: str, measured: float, limit: float, where: str = "") -> Check:
    return Check(what, measured, "<=", limit, bool(measured <= limit), where)


def _at_least(what: str, measured: float, limit: float, where: str = "") -> Check:
    return Check(what, measured, ">=", limit, bool(measured >= limit), where)
