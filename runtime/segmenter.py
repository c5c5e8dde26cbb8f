"""A model file and frames in, a mask out: ``Segmenter(model_file)(rgb=..., thermal=...)``."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import CheckFailedError, InputError
from differseg.manifest import ClassSpec, Manifest, background_of
from differseg.runtime.backends import (
    BackendName,
    Buffers,
    CpuPrecision,
    OnlyBuffers,
    OverlappingBackend,
    open_backend,
)
from differseg.runtime.model_file import check_outputs
from differseg.runtime.network_output import NetworkOutput, output_reader
from differseg.runtime.preprocess import ColorOrder, InputPreparer

_LOG = logging.getLogger("differseg.runtime")


@dataclass(frozen=True, eq=False)
class Result:
    """What one pair of frames gave.

    ``mask`` and ``probability`` are the segmenter's own buffers and change at its next call;
    :meth:`copy` gives a result that stays.
    """

    mask: npt.NDArray[np.uint8]
    """(H, W) uint8 class ids, at the size of the first frame (rgb where the model has it)."""
    probability: npt.NDArray[np.float32] | None
    """(Hm, Wm) float32 in 0..1, probability of the foreground class at the model's size; of a
    model with K > 2 classes (K, Hm, Wm), one map for each of ``classes``; None of a model that
    gives masks."""
    timings_ms: dict[str, float]
    """Milliseconds of the stages ``prepare``, ``infer`` and ``post``."""
    classes: tuple[ClassSpec, ...]
    """Classes of the ids, from the manifest."""
    coverage: float
    """Part of the mask's pixels that are foreground (of any class but the background), 0..1."""
    class_coverage: dict[str, float] = field(default_factory=dict)
    """Class name -> part of the mask's pixels, 0..1, of every class in the order of ``classes``."""

    def copy(self) -> Result:
        """Return the same result with arrays of its own."""
        return replace(
            self,
            mask=self.mask.copy(),
            probability=None if self.probability is None else self.probability.copy(),
            timings_ms=dict(self.timings_ms),
            class_coverage=dict(self.class_coverage),
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """A frame that the engine has, or is about to compute; see :meth:`Segmenter.begin`."""

    slot: int
    size_hw: tuple[int, int]
    started_s: float
    prepared_s: float


class Segmenter:
    """Segment frames with one model file; everything else it needs stands in the file.

    The probability is resized to the frame (bilinear when it grows, area average when it shrinks)
    and then compared with the threshold, or among more than two classes the most probable one is
    taken, which gives smoother outlines than resizing a mask.  All buffers are allocated at the
    first call and when a frame size changes.  One segmenter belongs to one thread at a time,
    because its results share its buffers.

    Args:
        model_file: An .onnx file written by ``differseg export``, or an engine by ``build``.
        backend: Inference engine; ``auto`` chooses and gives its reason in ``backend.reason``, a
            named one is taken or is an error.
        threads: Processor threads; None takes one per core that this process may use.
        color_order: Order of the colour channels in the frames; OpenCV captures BGR.
        threshold: Probability from which a pixel is foreground; None takes the manifest's.  For
            models with two classes.
        cpu_precision: What OpenVINO computes in; None takes float32.
        engine_key: Key file of who must have signed an engine; None takes any that we built.

    Raises:
        ModelFileError, ManifestError: The file cannot be used; the text says why.
        MissingComponentError: The engine is not installed.
        InputError: A wrong argument.

    Example:
        >>> with Segmenter("model.onnx", color_order="BGR") as segmenter:  # doctest: +SKIP
        ...     result = segmenter(rgb=frame, thermal=thermal)
        ...     result.mask.shape
        (480, 640)
    """

    def __init__(
        self,
        model_file: str | Path,
        backend: BackendName = "auto",
        threads: int | None = None,
        color_order: ColorOrder = "RGB",
        threshold: float | None = None,
        cpu_precision: CpuPrecision | None = None,
        engine_key: str | Path | None = None,
    ) -> None:
        if threshold is not None and not 0 < threshold < 1:
            raise InputError(f"threshold: expected a value between 0 and 1, got {threshold}")
        self.model_file = Path(model_file)
        self._warnings: list[str] = []
        self.backend = open_backend(
            model_file,
            backend,
            threads,
            cpu_precision,
            engine_key=None if engine_key is None else Path(engine_key),
            warn=self._warn,
        )
        check_outputs(self.model_file, self.manifest)
        self._background = background_of(self.manifest.classes)
        self._preparers = {
            spec.modality: InputPreparer(spec, color_order=color_order)
            for spec in self.manifest.inputs
        }
        self._names = {spec.modality: spec.name for spec in self.manifest.inputs}
        self._slots: Sequence[Buffers] = (
            self.backend.slots
            if isinstance(self.backend, OverlappingBackend)
            else (OnlyBuffers(self.backend.inputs, self.backend.outputs),)
        )
        self._free = deque(range(len(self._slots)))
        self._readers = [
            output_reader(self.manifest, threshold, slot.outputs) for slot in self._slots
        ]
        self._mask = np.empty((0, 0), np.uint8)
        self._aspect_seen = False
        if self.manifest.weights.source.startswith("random"):
            self._warn(
                f"model {self.model_file}: its weights are random (never trained), "
                "so the masks mean nothing"
            )

    @property
    def manifest(self) -> Manifest:
        """What the model file says about itself."""
        return self.backend.manifest

    @property
    def modalities(self) -> tuple[str, ...]:
        """Keywords that a call needs, in the model's order."""
        return tuple(self._preparers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed so far about model, frames and thermal policy; each logged once."""
        mappers = [p.mapper for p in self._preparers.values() if p.mapper is not None]
        return (*self._warnings, *(m.warning for m in mappers if m.warning is not None))

    def __call__(self, *, timestamp_s: float | None = None, **frames: npt.NDArray[Any]) -> Result:
        """Segment one frame, or one pair of frames of the same view.

        Args:
            timestamp_s: Capture time of the thermal frame in seconds on a steady clock, for the
                thermal policy's smoothing; None treats the frames as single images.
            frames: One array per modality of the model.  ``rgb``, ``flow``: (H, W, 3) uint8 in
                ``color_order``; ``thermal``: (H, W) uint8 or uint16; ``depth``: (H, W).  Any
                size: frames are stretched to the model's size, and sizes may differ between
                modalities and from call to call.

        Returns:
            The result; its arrays are overwritten by the next call.

        Raises:
            InputError: A modality too many or too few, or an image that cannot be used.
            CheckFailedError: The network gave NaN or infinity.
        """
        return self.end(self.begin(timestamp_s=timestamp_s, **frames))

    @property
    def slots(self) -> int:
        """How many frames may be begun and not ended at once: 2 with TensorRT, else 1."""
        return len(self._slots)

    def begin(self, *, timestamp_s: float | None = None, **frames: npt.NDArray[Any]) -> Begun:
        """Prepare a frame and let the engine begin with it, where it computes beside the caller.

        Frames are ended in the order in which they were begun; one thread may begin them and
        another end them.

        Args:
            timestamp_s: As of a call.
            frames: As of a call.

        Raises:
            InputError: As a call; nothing is begun then.
            RuntimeError: All ``slots`` are begun already.
        """
        if not self._free:
            raise RuntimeError(f"{self.slots} frames are begun already; end one first")
        slot, started_s = self._free[0], time.perf_counter()
        size_hw = self._prepare(frames, timestamp_s, self._slots[slot].inputs)
        prepared_s = time.perf_counter()
        if isinstance(self.backend, OverlappingBackend):
            self.backend.start(slot)
        self._free.popleft()
        return Begun(slot, size_hw, started_s, prepared_s)

    def end(self, begun: Begun) -> Result:
        """Wait for a frame's result; its arrays are overwritten when the next frame is ended.

        Raises:
            CheckFailedError: As a call.
        """
        try:
            if isinstance(self.backend, OverlappingBackend):
                self.backend.finish(begun.slot)
            else:
                self.backend.run()
            return self._result(begun)
        finally:
            self._free.append(begun.slot)

    def overlapped(self, frames: Iterable[Mapping[str, npt.NDArray[Any]]]) -> Iterator[Result]:
        """Segment single frames, or pairs, in order, and give their results in order.

        While the engine computes one frame, the next is prepared and the one before is read, where
        it has buffers for that (TensorRT); other engines take one frame after the other.

        Args:
            frames: The keywords of a call for each, without time stamps.

        Yields:
            As a call returns; the arrays are overwritten when the next result is asked for.

        Raises:
            InputError, CheckFailedError: As a call.
        """
        under_way: deque[Begun] = deque()
        for frame in frames:
            under_way.append(self.begin(timestamp_s=None, **frame))
            if len(under_way) == self.slots:
                yield self.end(under_way.popleft())
        while under_way:
            yield self.end(under_way.popleft())

    def warmup(self, runs: int = 2) -> None:
        """Run the network on zeros, so that the first real frame is not the slow one."""
        for _ in range(runs):
            self.backend.run()

    def reset(self) -> None:
        """Forget the thermal range remembered over time, for the next video."""
        for preparer in self._preparers.values():
            if preparer.mapper is not None:
                preparer.mapper.reset()

    def close(self) -> None:
        """Give the engine's memory back; safe to call twice."""
        self.backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(
        self,
        frames: Mapping[str, npt.NDArray[Any]],
        timestamp_s: float | None,
        inputs: Mapping[str, npt.NDArray[Any]],
    ) -> tuple[int, int]:
        """Fill input buffers from frames; return the size of the mask."""
        self._check_keywords(frames)
        for modality, preparer in self._preparers.items():
            buffer = inputs[self._names[modality]]
            preparer.prepare(frames[modality], timestamp_s=timestamp_s, out=buffer)
        if not self._aspect_seen:
            self._check_aspect(frames)
        height, width = frames[self.modalities[0]].shape[:2]
        return height, width

    def _result(self, begun: Begun) -> Result:
        """Make the result of output buffers that are filled."""
        inferred_s, reader = time.perf_counter(), self._readers[begun.slot]
        coverage = self._postprocess(reader, begun.size_hw)
        background = 0.0 if self._background is None else coverage[self._background.name]
        done_s = time.perf_counter()
        return Result(
            mask=self._mask,
            probability=reader.probability,
            timings_ms={
                "prepare": (begun.prepared_s - begun.started_s) * 1e3,
                "infer": (inferred_s - begun.prepared_s) * 1e3,
                "post": (done_s - inferred_s) * 1e3,
            },
            classes=self.manifest.classes,
            coverage=1.0 - background,
            class_coverage=coverage,
        )

    def _check_keywords(self, frames: Mapping[str, npt.NDArray[Any]]) -> None:
        given = [name for name, frame in frames.items() if frame is not None]
        if set(given) != set(self._preparers):
            raise InputError(
                f"{self.manifest.model} takes {' and '.join(self.modalities)}, "
                f"got {' and '.join(given) or 'nothing'}"
            )

    def _check_aspect(self, frames: Mapping[str, npt.NDArray[Any]]) -> None:
        """Warn when two frames cannot show the same view, because their aspects differ."""
        self._aspect_seen = True
        first, *others = self.modalities
        height, width = frames[first].shape[:2]
        for other in others:
            other_h, other_w = frames[other].shape[:2]
            if abs((width / height) / (other_w / other_h) - 1) > 0.05:
                self._warn(
                    f"{first} is {width}x{height} and {other} {other_w}x{other_h}, another aspect, "
                    "so they cannot show the same view; register the cameras"
                )

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        _LOG.warning(text)

    def _postprocess(self, reader: NetworkOutput, size_hw: tuple[int, int]) -> dict[str, float]:
        """Fill the mask from the network's output; return each class's part."""
        if not reader.is_finite():
            raise CheckFailedError(
                f"model {self.model_file}: the network's output holds NaN or infinity for this "
                "frame; check the file with: differseg parity"
            )
        if self._mask.shape != size_hw:
            self._mask = np.empty(size_hw, np.uint8)
        parts = reader.fill(self._mask)
        return {spec.name: part for spec, part in zip(self.manifest.classes, parts, strict=True)}
