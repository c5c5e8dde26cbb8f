"""What a comparison of two forms of a model gives: figures, verdicts, and pictures for the report.

Plain data; numpy only, so that reading a result or writing its report needs neither torch nor an
inference engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ClassSpec, ParityRecord
from differseg.options import option

if TYPE_CHECKING:
    from differseg.export.boundary_band import BoundaryBand
    from differseg.export.divergence_result import Divergence
    from differseg.export.error_spectrum import ErrorSpectrum

Picture = npt.NDArray[Any]
"""(H, W, 3) uint8 RGB, or (H, W) float32 in 0..1 for one-channel modalities."""


TIE = 1e-6
"""A pixel whose two probabilities both lie this near to the threshold is a tie, not a flip.

With more than two classes it is one where either side finds its own winner and the other side's
winner this near to each other.  It is a few units in the last place of float32 at 0.5: on which
side such a pixel falls is decided by the order of summation, and ONNX Runtime's own optimisation
levels disagree on it.
"""


@dataclass(frozen=True)
class Thresholds:
    """Limits that a comparison must keep; the verdict is one line for each."""

    max_error: float = option(1e-4, metavar="E")
    """Largest difference between the two probabilities of any pixel (of any class)."""
    flipped_pixels: int = option(0, metavar="N")
    """Most pixels, over all images, whose class differs between the two masks; 0 by default."""
    flipped_part: float = option(0.0, metavar="P")
    """The same as a part of all pixels, 0..1; the larger of the two limits holds."""
    min_mask_iou: float = option(0.999, metavar="IOU")
    """Smallest IoU between the two masks of any image; a mean over classes where there are more
    than two."""
    min_boundary_f: float = option(0.999, metavar="F")
    """Smallest boundary F (2 px tolerance) between the two masks of any image, likewise."""
    max_label_iou_drop: float = option(0.005, metavar="D")
    """Most that B's IoU with the labels may lie below A's, over all labelled images, likewise."""
    max_threshold_difference: float = option(1e-6, metavar="D")
    """Largest difference between the two thresholds that turn probability into a mask; two classes
    only."""

    def __post_init__(self) -> None:
        """Refuse limits that could never be kept or never be missed."""
        for item in fields(Thresholds):
            value, highest = getattr(self, item.name), math.inf
            if item.name.startswith("min_") or item.name == "flipped_part":
                highest = 1.0
            if not 0 <= value <= highest:
                flag = "--" + item.name.replace("_", "-")
                expected = "0..1" if highest == 1.0 else "a number >= 0"
                raise InputError(f"parity: {flag}: expected {expected}, got {value}")


@dataclass(frozen=True)
class Side:
    """One of the two forms that are compared.

    Attributes:
        name: Short name for tables, such as the file's name.
        kind: Where it ran, such as ``PyTorch`` or ``ONNX Runtime``.
        model: Name of the network.
        threshold: A probability from it on is foreground, of two classes.
        source: File path as the caller gave it, or where the weights came from.
        sha256: Hash of the file, None where there is no file.
        precision: ``fp32``, ``fp16`` or ``int8``.
        weights: Where the weights came from; starts with ``random`` for an untrained network.
        versions: Package name -> version of what ran it.
        classes: In the order of the maps; none stands for two.
    """

    name: str
    kind: str
    model: str
    threshold: float
    source: str = ""
    sha256: str | None = None
    precision: str = "fp32"
    weights: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    classes: tuple[ClassSpec, ...] = ()


@dataclass(frozen=True)
class ImageFigures:
    """Figures of one image, or of all of them together (``stem`` is then ``all images``).

    Errors are differences of probability, 0..1, infinite where an output is NaN or infinite; of
    several classes a pixel's error is the largest.  ``foreground_*`` and ``label_*`` are in 0..1;
    the latter are None without a label.  Pixels whose class differs are ``flipped_pixels``, or
    ``tied_pixels`` where rounding decides them (:data:`TIE`).  With more than two classes every
    IoU and boundary F is a mean over the classes present.
    """

    stem: str
    pixels: int
    max_error: float
    mean_error: float
    flipped_pixels: int
    mask_iou: float
    boundary_f: float
    nonfinite: int
    foreground_a: float
    foreground_b: float
    label_iou_a: float | None = None
    label_iou_b: float | None = None
    label_boundary_f_a: float | None = None
    label_boundary_f_b: float | None = None
    tied_pixels: int = 0

    @property
    def severity(self) -> tuple[float, ...]:
        """Sort key: the worse the image, the larger."""
        return self.nonfinite, self.flipped_pixels, self.max_error


@dataclass(frozen=True)
class ClassAgreement:
    """One of more than two classes over all images: each IoU in 0..1, None where it is absent.

    ``mask_iou`` is that between the two masks, ``label_iou_*`` that with the labels.
    """

    name: str
    mask_iou: float | None
    label_iou_a: float | None = None
    label_iou_b: float | None = None


def flips(figures: ImageFigures | ParityRecord) -> str:
    """Return the pixels on different sides in words, such as ``0 flipped pixels (3 tied)``."""
    tied = f" ({figures.tied_pixels} tied)" if figures.tied_pixels else ""
    return f"{figures.flipped_pixels} flipped pixels{tied}"


@dataclass(frozen=True)
class Check:
    """One line of the verdict: ``measured`` against ``limit`` by ``relation``."""

    what: str
    measured: float
    relation: Literal["<=", ">="]
    limit: float
    passed: bool
    where: str = ""


@dataclass(frozen=True)
class ErrorHistogram:
    """Pixels by the logarithm of their error; a survival curve is read from it.

    ``counts[i]`` pixels have an error in ``edges[i] <= e < edges[i + 1]``; errors below the first
    edge (and zero) stand in ``below``, infinite ones in ``nonfinite``.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    below: int
    nonfinite: int

    @property
    def pixels(self) -> int:
        """All pixels counted."""
        return int(self.counts.sum()) + self.below + self.nonfinite

    def share_above(self) -> npt.NDArray[np.float64]:
        """Return, for each edge, the share of pixels whose error is at least that edge."""
        above = np.concatenate([np.cumsum(self.counts[::-1])[::-1], [0]]) + self.nonfinite
        return above / max(1, self.pixels)

    def quantile(self, share: float) -> float:
        """Return an error that at least ``share`` (0..1) of the pixels lie below, rounded up.

        Returns:
            An edge, or infinity where too many outputs are not finite.
        """
        below = self.below + np.concatenate([[0], np.cumsum(self.counts)])
        reached = np.flatnonzero(below >= share * self.pixels)
        return float(self.edges[reached[0]]) if reached.size else math.inf


@dataclass(frozen=True)
class Panel:
    """One image of the report: what went in and what came out.

    Attributes:
        figures: Its figures.
        pictures: Input name -> what the network saw.
        mask_a: (H, W) uint8, place of the class at every pixel.
        mask_b: (H, W) uint8.
        error: (H, W) float32, infinite where an output is not finite.
        label: (h, w) uint8, places of classes and 255, or None.
    """

    figures: ImageFigures
    pictures: dict[str, Picture]
    mask_a: npt.NDArray[np.uint8]
    mask_b: npt.NDArray[np.uint8]
    error: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8] | None


@dataclass(frozen=True)
class ParityResult:
    """Outcome of a comparison.

    Attributes:
        a: The reference.
        b: What is judged against it.
        size_hw: Size of the probability maps in pixels.
        data: What was compared on, in words.
        overall: Figures over all images: largest, mean or summed as the name says; IoU and
            boundary F between the masks are those of the worst image, label figures are pooled.
        images: Figures of every image in the order of the data.
        checks: The verdict, line by line.
        warnings: Why the comparison may show less than it seems to.
        histogram: Errors of all pixels.
        classes: Figures of every class, where there are more than two.
        panels: The worst images, worst first; empty unless pictures were asked for.
        machine: Operating system, processor, versions.
        seconds: How long the comparison took.
        spectrum: At which spatial frequencies the outputs differ, where that was asked for.
        boundary: Errors near outlines and elsewhere, likewise.
        layers: Which node is at fault, likewise.
    """

    a: Side
    b: Side
    size_hw: tuple[int, int]
    data: str
    overall: ImageFigures
    images: tuple[ImageFigures, ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    histogram: ErrorHistogram
    classes: tuple[ClassAgreement, ...] = ()
    panels: tuple[Panel, ...] = ()
    machine: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    spectrum: ErrorSpectrum | None = None
    boundary: tuple[BoundaryBand, ...] = ()
    layers: Divergence | None = None

    @property
    def worst_first(self) -> tuple[ImageFigures, ...]:
        """The images, worst first; equal ones in the order of the data."""
        return tuple(sorted(self.images, key=lambda image: image.severity, reverse=True))

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def record(self) -> ParityRecord:
        """Return the figures that a model file's manifest carries.

        Raises:
            InputError: An output was NaN or infinite, which no manifest may record as a figure.
        """
        if self.overall.nonfinite:
            raise InputError(
                f"parity: {self.overall.nonfinite} output values are NaN or infinite, so there "
                "are no figures to record; look at the report"
            )
        return ParityRecord(
            against=self.a.kind,
            images=len(self.images),
            data=self.data,
            max_error=self.overall.max_error,
            mean_error=self.overall.mean_error,
            flipped_pixels=self.overall.flipped_pixels,
            min_mask_iou=self.overall.mask_iou,
            tied_pixels=self.overall.tied_pixels,
        )

    def summary(self) -> str:
        """Return the verdict in one line."""
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return (
                f"{self.b.name} matches {self.a.name} on {len(self.images)} images: max error "
                f"{self.overall.max_error:.2g}, {flips(self.overall)}"
            )
        said = "; ".join(
            f"{check.what} {check.measured:.4g} "
            f"(at {'most' if check.relation == '<=' else 'least'} {check.limit:g})"
            for check in failed
        )
        return f"{self.b.name} differs from {self.a.name}: {said}"

    def to_plain(self) -> dict[str, Any]:
        """Return the result as JSON values (infinite errors become null), without pictures."""
        document = {
            "passed": self.passed,
            "a": self.a,
            "b": self.b,
            "size_hw": self.size_hw,
            "data": self.data,
            "overall": self.overall,
            "classes": self.classes,
            "checks": self.checks,
            "warnings": self.warnings,
            "images": self.images,
            "worst_first": [image.stem for image in self.worst_first],
            "spectrum": self.spectrum,
            "boundary": self.boundary,
            "layers": None if self.layers is None else self.layers.to_plain(),
            "machine": self.machine,
            "seconds": round(self.seconds, 3),
        }
        return {key: _finite(value) for key, value in document.items()}


def _finite(value: Any) -> Any:
    """Turn dataclasses into dicts and numbers that JSON has no word for into null."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _finite(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
