"""One image to exactly what the graph takes: the same for training, parity and the device.

Order of steps: validate, map thermal and depth to 0..1 at the resolution given, resize to the
model's size by stretching, put the colours in RGB order, lay out.  The resolution is the camera's
own, or that of the RGB frame where registration has warped the thermal frame into its view, as in
training.  Thermal is mapped before it is resized because its percentiles then are the same for
every model size, and because a dead pixel is clipped before the resize could bleed it into its
neighbours.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import InputSpec, ThermalPolicy
from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.thermal import ThermalMapper, new_histogram, percentile_range

ColorOrder = Literal["RGB", "BGR"]


def resize(
    image: npt.NDArray[Any], size_hw: tuple[int, int], out: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Stretch an image to a size.

    Convention: pixel centres at half-integers (corner-aligned images, OpenCV's rule); the
    aspect is not kept.  Area averaging where no side grows, so that fine texture does not alias;
    bilinear otherwise.

    Args:
        image: (H, W) or (H, W, C), any dtype that OpenCV resizes.
        size_hw: Height and width in pixels.
        out: Buffer of the result's shape and dtype; a new array when None.
    """
    height, width = size_hw
    if image.shape[:2] == size_hw:
        if out is None:
            return image.copy()
        np.copyto(out, image)
        return out
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), dst=out, interpolation=method)


def resize_label(mask: npt.NDArray[Any], size_hw: tuple[int, int]) -> npt.NDArray[Any]:
    """Stretch a mask of class ids to a size, nearest neighbour (ids are never mixed).

    Convention: pixel centres at half-integers, as :func:`resize`.

    Args:
        mask: (H, W) uint8 class ids.
        size_hw: Height and width in pixels.
    """
    if mask.shape == size_hw:
        return mask.copy()
    return cv2.resize(mask, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


class InputPreparer:
    """Prepare the frames of one model input; every buffer is kept between frames.

    Args:
        spec: The input, from the model's manifest.
        color_order: Order of the colour channels in the images given (OpenCV reads BGR).
        size_hw: Height and width; needed only where the spec's size is dynamic (-1).

    Attributes:
        mapper: The thermal mapper of a thermal input, else None.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        color_order: ColorOrder = "RGB",
        size_hw: tuple[int, int] | None = None,
    ) -> None:
        if color_order not in ("RGB", "BGR"):
            raise InputError(f"color_order: expected RGB or BGR, got {color_order!r}")
        self.spec = spec
        self.size_hw = size_hw or spec.size_hw
        if min(self.size_hw) < 1:
            raise InputError(
                f"{spec.name}: the model takes any size, so size_hw must be given; got "
                f"{self.size_hw[0]}x{self.size_hw[1]}"
            )
        self.mapper = (
            ThermalMapper(spec.thermal_policy or ThermalPolicy())
            if spec.modality == "thermal"
            else None
        )
        self._swap = color_order == "BGR"
        self._mapped = np.empty((0, 0), np.float32)
        self._resized = np.empty((0, 0), np.float32)
        self._histogram = new_histogram() if spec.modality == "depth" else None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the prepared array."""
        height, width = self.size_hw
        channels = self.spec.channels
        if self.spec.layout == "NHWC":
            return (1, height, width, channels)
        return (1, channels, height, width)

    def prepare(
        self,
        image: npt.NDArray[Any],
        *,
        timestamp_s: float | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Return the image as the graph takes it.

        Args:
            image: rgb and flow: (H, W, 3) uint8.  thermal: (H, W) or (H, W, 1), uint8 or
                uint16.  depth: (H, W) or (H, W, 1), see :func:`map_depth`.
            timestamp_s: Capture time in seconds, for the thermal policy's smoothing.
            out: Array of ``shape`` and the spec's dtype; a new one when None.

        Returns:
            ``out``: (1, H, W, C) or (1, C, H, W) in the spec's dtype and value range.

        Raises:
            InputError: Wrong dtype, channels or size, or NaN; names modality, got and expected.
        """
        image = check_image(self.spec.modality, image)
        if out is None:
            out = np.empty(self.shape, self.spec.dtype)
        elif out.shape != self.shape or out.dtype != self.spec.dtype:
            raise InputError(
                f"{self.spec.name}: out is {out.dtype} {out.shape}, "
                f"expected {self.spec.dtype} {self.shape}"
            )
        if image.ndim == 3:
            self._color(image, out)
        else:
            self._plane(image, timestamp_s, out)
        return out

    def _color(self, image: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        direct = self.spec.layout == "NHWC" and out.dtype == np.uint8
        if direct and not self._swap:
            resize(image, self.size_hw, out=out[0])
            return
        if image.shape[:2] != self.size_hw:
            self._resized = fitting_buffer(self._resized, (*self.size_hw, 3), np.uint8)
            image = resize(image, self.size_hw, out=self._resized)
        if direct:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out[0])
            return
        if self._swap:
            image = image[:, :, ::-1]
        planes = image if self.spec.layout == "NHWC" else image.transpose(2, 0, 1)
        low, high = self.spec.value_range
        if out.dtype == np.uint8:
            np.copyto(out[0], planes)
        else:
            np.multiply(planes, (high - low) / 255.0, out=out[0], casting="unsafe")
            np.add(out[0], low, out=out[0], casting="unsafe")

    def _plane(
        self, image: npt.NDArray[Any], timestamp_s: float | None, out: npt.NDArray[Any]
    ) -> None:
        target = out[0, 0] if self.spec.layout == "NCHW" else out[0, :, :, 0]
        fits = target.dtype == np.float32 and target.flags.c_contiguous
        if fits and target.shape == image.shape:
            self._map(image, timestamp_s, target)
            return
        self._mapped = fitting_buffer(self._mapped, image.shape, np.float32)
        self._map(image, timestamp_s, self._mapped)
        if fits:
            resize(self._mapped, self.size_hw, out=target)
        else:
            self._resized = fitting_buffer(self._resized, self.size_hw, np.float32)
            resize(self._mapped, self.size_hw, out=self._resized)
            np.copyto(target, self._resized, casting="unsafe")

    def _map(
        self, image: npt.NDArray[Any], timestamp_s: float | None, out: npt.NDArray[np.float32]
    ) -> None:
        """Map thermal or depth (H, W) to 0..1."""
        if self.mapper is not None:
            self.mapper.map(image, timestamp_s, out=out)
        else:
            map_depth(image, out=out, histogram=self._histogram)


def prepare_input(
    spec: InputSpec,
    image: npt.NDArray[Any],
    *,
    color_order: ColorOrder = "RGB",
    mapper: ThermalMapper | None = None,
    timestamp_s: float | None = None,
    out: npt.NDArray[Any] | None = None,
    size_hw: tuple[int, int] | None = None,
) -> npt.NDArray[Any]:
    """Prepare one image; :class:`InputPreparer` does the same for a stream without allocating.

    Args:
        spec: The input, from a manifest.
        image: As :meth:`InputPreparer.prepare` says.
        color_order: Order of the image's colour channels.
        mapper: A thermal mapper that remembers a stream; by default a fresh one of the spec.
        timestamp_s: Capture time in seconds, for the mapper.
        out: Array to write into.
        size_hw: Height and width where the spec's are dynamic.

    Raises:
        InputError: As :meth:`InputPreparer.prepare`.
    """
    preparer = InputPreparer(spec, color_order=color_order, size_hw=size_hw)
    if mapper is not None and preparer.mapper is not None:
        preparer.mapper = mapper
    return preparer.prepare(image, timestamp_s=timestamp_s, out=out)


def map_depth(
    image: npt.NDArray[Any],
    out: npt.NDArray[np.float32] | None = None,
    histogram: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Map a depth or disparity image to 0..1; stored direction (near dark or bright) is kept.

    uint8 is divided by 255 (a depth picture, as the published networks were trained on).
    uint16 is stretched between the 1st and 99th percentile of its valid pixels, because sensor
    units differ; 0 is "no measurement" and stays 0.  Floating point must lie in 0..1 already.

    Args:
        image: (H, W) uint8, uint16, float32 or float64.
        out: (H, W) float32 buffer; a new array when None.
        histogram: Buffer for :func:`percentile_range`; a new one when None.

    Raises:
        InputError: Floating point outside 0..1.
    """
    if out is None:
        out = np.empty(image.shape, np.float32)
    if image.dtype == np.uint8:
        np.copyto(out, image)
        np.multiply(out, np.float32(1 / 255), out=out)
    elif image.dtype == np.uint16:
        low, high = percentile_range(image, 1.0, 99.0, histogram)
        np.copyto(out, image)
        np.subtract(out, np.float32(low), out=out)
        np.multiply(out, np.float32(1.0 / max(high - low, 1.0)), out=out)
        np.clip(out, 0.0, 1.0, out=out)
    else:
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > 1:
            raise InputError(
                f"depth: floating point must lie in 0..1, got {low:g}..{high:g}; scale it first, "
                "or give the sensor's uint16"
            )
        np.copyto(out, image, casting="same_kind")
    return out


_DTYPES = {
    "rgb": ("uint8",),
    "flow": ("uint8",),
    "thermal": ("uint8", "uint16"),
    "depth": ("uint8", "uint16", "float32", "float64"),
}


def check_image(modality: str, image: Any) -> npt.NDArray[Any]:
    """Return the image as (H, W, 3) or (H, W), or say in one line what is wrong with it.

    Raises:
        InputError: Not an array, wrong channel count, empty, NaN or infinite, or wrong dtype.
    """
    color = modality in ("rgb", "flow")
    expected = f"{'(H, W, 3)' if color else '(H, W)'} {' or '.join(_DTYPES[modality])}"
    if not isinstance(image, np.ndarray):
        raise InputError(f"{modality}: expected an array {expected}, got {type(image).__name__}")
    got = f"{image.shape} {image.dtype}"
    if not color and image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim != (3 if color else 2) or (color and image.shape[2] != 3):
        hint = "; take one channel, image[:, :, 0]" if not color and image.ndim == 3 else ""
        raise InputError(f"{modality}: expected an image {expected}, got {got}{hint}")
    if image.size == 0:
        raise InputError(f"{modality}: the image is empty: expected {expected}, got {got}")
    # The extremes tell NaN and infinity without a boolean image; it is made to count them only.
    if image.dtype.kind == "f" and not all(map(math.isfinite, (image.min(), image.max()))):
        bad = int(image.size - np.count_nonzero(np.isfinite(image)))
        raise InputError(
            f"{modality}: {bad} of {image.size} values are NaN or infinite; expected {expected}"
        )
    if image.dtype.name not in _DTYPES[modality]:
        raise InputError(f"{modality}: expected an image {expected}, got {got}")
    return image
