"""The manifest: one JSON document inside every model file that says how to use it.

An exported ONNX file carries it in ``metadata_props["differseg"]``; an engine's sidecar repeats
it.  The runtime takes only a model file, so all that it needs stands here: inputs with size,
layout, value range and thermal policy, outputs, classes with colours, the threshold, and where
the weights came from.  Standard library only, so that it loads anywhere in milliseconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from differseg.errors import ManifestError
from differseg.schema import from_plain, parse_json, to_plain

SCHEMA = 1
"""Version of the document's layout; a reader refuses any other."""

METADATA_KEY = "differseg"
"""Key of the document in an ONNX file's ``metadata_props``."""

Modality = Literal["rgb", "thermal", "depth", "flow"]


@dataclass(frozen=True)
class ThermalPolicy:
    """How a thermal image of any bit depth becomes the network's input in [0, 1].

    ``fixed`` maps ``low_ck``..``high_ck`` (centikelvin) to 0..1 and needs a radiometric camera.
    ``percentile`` maps two percentiles of the image itself, smoothed over time in a video, and
    works with any camera; ``min_span_ck`` keeps a flat scene from becoming amplified noise.
    ``full`` maps all codes of an 8-bit image, 0..255, to 0..1, as public data sets are used; a
    16-bit image, whose codes it could not know, is mapped as by ``percentile``.
    """

    kind: Literal["fixed", "percentile", "full"] = "percentile"
    low_ck: float = 27315.0
    high_ck: float = 31315.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0
    min_span_ck: float = 300.0
    smoothing_s: float = 1.0

    def __post_init__(self) -> None:
        """Check that both ranges are ordered and finite."""
        _check_finite("low_ck", (self.low_ck,))
        _check_finite("high_ck", (self.high_ck,))
        if not self.low_ck < self.high_ck:
            raise ManifestError(f"low_ck: {self.low_ck} is not below high_ck {self.high_ck}")
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise ManifestError(
                "low_percentile: need 0 <= low_percentile < high_percentile <= 100, got "
                f"{self.low_percentile} and {self.high_percentile}"
            )
        for name in ("min_span_ck", "smoothing_s"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ManifestError(f"{name}: expected a finite number >= 0, got {value}")


@dataclass(frozen=True)
class InputSpec:
    """One graph input.

    ``rgb`` and ``flow`` are raw camera frames, (N, H, W, 3) uint8 in 0..255; ``thermal`` and
    ``depth`` are (N, 1, H, W) float32 in 0..1 after the policy.  ``mean`` and ``std`` (in units
    of 0..1) are what the graph itself applies; they stand here for the record.
    """

    name: str
    modality: Modality
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32", "float16"]
    layout: Literal["NHWC", "NCHW"]
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_order: Literal["RGB"] | None = None
    thermal_policy: ThermalPolicy | None = None

    def __post_init__(self) -> None:
        """Check shape, range and normalisation against each other."""
        _check_shape(self.shape)
        expected = 3 if self.modality in ("rgb", "flow") else 1
        if self.channels != expected:
            raise ManifestError(
                f"shape: expected {expected} channel(s) for {self.modality} in {self.layout}, "
                f"got {list(self.shape)}"
            )
        _check_finite("value_range", self.value_range)
        if not self.value_range[0] < self.value_range[1]:
            raise ManifestError(f"value_range: {list(self.value_range)} is not increasing")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ManifestError(
                f"mean: expected {self.channels} values in mean and std, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        _check_finite("mean", self.mean)
        if any(not (math.isfinite(s) and s > 0) for s in self.std):
            raise ManifestError(f"std: expected finite values > 0, got {list(self.std)}")
        if self.modality == "thermal" and self.thermal_policy is None:
            raise ManifestError("thermal_policy: a thermal input needs one, got null")

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self.shape[3] if self.layout == "NHWC" else self.shape[1]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels (-1 where dynamic)."""
        return self.shape[1:3] if self.layout == "NHWC" else self.shape[2:4]  # type: ignore[return-value]


@dataclass(frozen=True)
class OutputSpec:
    """One graph output.

    ``probability`` is that of the foreground, (N, 1, H, W), of two classes;
    ``class_probability`` that of every class in the manifest's order, (N, K, H, W), which sum to 1.
    ``mask`` is decided in the graph: (N, 1, H, W) uint8, the place of a pixel's class in that
    order; with it comes ``mean``, (N, 1, 1, 1), of what was compared, which is finite when all is.
    """

    name: str
    kind: Literal["probability", "class_probability", "mask", "mean"]
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8"] = "float32"

    def __post_init__(self) -> None:
        """Check the shape, and that a probability is one map."""
        _check_shape(self.shape)
        if (self.kind == "mask") != (self.dtype == "uint8"):
            raise ManifestError(f"dtype: a mask is uint8, else a float; got {self.dtype}")
        if self.kind in ("mask", "mean") and self.shape[1] != 1:
            raise ManifestError(f"shape: expected one map, got {list(self.shape)}")
        if self.kind == "probability" and self.shape[1] != 1:
            raise ManifestError(
                f"shape: expected (N, 1, H, W) of a probability, got {list(self.shape)}"
            )


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or any(size < -1 or size == 0 for size in shape):
        raise ManifestError(f"shape: expected 4 sizes > 0 (or -1), got {list(shape)}")


def _check_finite(name: str, values: Sequence[float]) -> None:
    if not all(map(math.isfinite, values)):
        shown = values[0] if len(values) == 1 else list(values)
        raise ManifestError(f"{name}: expected finite numbers, got {shown}")


@dataclass(frozen=True)
class ClassSpec:
    """One class: its id in the mask, its name, and its overlay colour (R, G, B) in 0..255."""

    id: int
    name: str
    color_rgb: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check id and colour ranges."""
        if not 0 <= self.id <= 254:
            raise ManifestError(f"id: expected 0..254, got {self.id}")
        if any(not 0 <= c <= 255 for c in self.color_rgb):
            raise ManifestError(f"color_rgb: expected 0..255, got {list(self.color_rgb)}")


def background_of(classes: Sequence[ClassSpec]) -> ClassSpec | None:
    """Return the class of pixels that show nothing that was looked for, or None.

    Of two classes it is the first.  Of more it is the first where its colour is black, as the
    palettes of RGB-thermal data sets have it; where it has a colour, every class is an object.
    """
    first = classes[0]
    return first if len(classes) == 2 or first.color_rgb == (0, 0, 0) else None


@dataclass(frozen=True)
class WeightsRecord:
    """Where the weights came from; ``source`` starts with ``random`` for an untrained network."""

    source: str
    sha256: str | None = None
    trained_on: str | None = None


@dataclass(frozen=True)
class ParityRecord:
    """Figures of the comparison with PyTorch that ran when the file was written.

    ``tied_pixels`` lie so near to the threshold on both sides that rounding decides where they
    fall; they are none of the ``flipped_pixels``, and ``min_mask_iou`` feels them.
    """

    against: str
    images: int
    data: str
    max_error: float
    mean_error: float
    flipped_pixels: int
    min_mask_iou: float
    tied_pixels: int = 0


@dataclass(frozen=True)
class Decision:
    """An automatic choice, its value and the reason for it."""

    what: str
    value: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """The whole document; see the module's docstring."""

    model: str
    system: str
    task: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    classes: tuple[ClassSpec, ...]
    threshold: float
    weights: WeightsRecord
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    operator_form: Literal["portable", "function", "plugin"] = "portable"
    opset: int = 17
    model_config: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    parity: ParityRecord | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Check what single fields cannot: schema, uniqueness, classes and threshold."""
        if self.schema != SCHEMA:
            raise ManifestError(
                f"schema: this differseg reads schema {SCHEMA}, got {self.schema}; "
                "export the model again, or use the differseg version that wrote it"
            )
        if not self.inputs or not self.outputs or len(self.classes) < 2:
            raise ManifestError("inputs, outputs: need at least one each, and at least 2 classes")
        for label, names in (
            ("inputs", [i.name for i in self.inputs]),
            ("inputs", [str(i.modality) for i in self.inputs]),
            ("outputs", [o.name for o in self.outputs]),
            ("classes", [str(c.id) for c in self.classes]),
            ("classes", [c.name for c in self.classes]),
        ):
            repeated = sorted({n for n in names if names.count(n) > 1})
            if repeated:
                raise ManifestError(f"{label}: '{repeated[0]}' stands there twice")
        if not 0 < self.threshold < 1:
            raise ManifestError(
                f"threshold: expected a value between 0 and 1, got {self.threshold}"
            )

    def input(self, modality: str) -> InputSpec | None:
        """Return the input of this modality, or None where the model has none."""
        return next((spec for spec in self.inputs if spec.modality == modality), None)

    def with_parity(self, parity: ParityRecord) -> Manifest:
        """Return a copy that carries these parity figures."""
        return replace(self, parity=parity)

    def to_json(self, indent: int | None = None) -> str:
        """Write the document; equal manifests give equal text."""
        return json.dumps(to_plain(self), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read a document.

        Raises:
            ManifestError: Not JSON, another schema, an unknown key, or a wrong field, by name.
        """
        document = parse_json(text, "manifest")
        if isinstance(document, dict) and document.get("schema", None) != SCHEMA:
            raise ManifestError(
                f"schema: this differseg reads schema {SCHEMA}, got {document.get('schema')!r}; "
                "export the model again, or use the differseg version that wrote it"
            )
        return from_plain(cls, document)
