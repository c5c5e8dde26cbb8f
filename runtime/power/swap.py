"""Change the model of a run between two frames, without losing one.

The next model is opened and warmed up in a thread of its own, while the present one goes on; the
first frame that is begun after that goes to the next.  Frames that were begun with the old model
are ended with it, and it is closed as soon as the first result of the new one is there.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy.typing as npt

from differseg.errors import DifferSegError, InputError
from differseg.manifest import Manifest
from differseg.runtime.processor import SegmenterLike
from differseg.runtime.segmenter import Begun, Result

_LOG = logging.getLogger("differseg.runtime.power")


class Swappable(SegmenterLike, Protocol):
    """A segmenter that can be opened beside another, such as ``Segmenter``."""

    def warmup(self) -> None:
        """Compute once, so that the first frame is not the slow one."""

    def close(self) -> None:
        """Give the engine's memory back; safe to call twice."""


@dataclass(frozen=True, slots=True)
class SwapReport:
    """How a request ended.

    Attributes:
        index: Place of the model that was asked for.
        refused: Why it does not run; None where it does.
    """

    index: int
    refused: str | None


@dataclass(eq=False, slots=True)
class _Held:
    index: int
    segmenter: Swappable


def difference(first: Manifest, other: Manifest) -> str | None:
    """Return why a run cannot change from one model to another, or None where it can.

    Masks, zones and overlays go on, so both must have the same classes; and what the cameras give
    must be the input of both.
    """
    if first.classes != other.classes:
        names = ", ".join(spec.name for spec in other.classes)
        wanted = ", ".join(spec.name for spec in first.classes)
        same = ", with other ids or colours" if names == wanted else ""
        return f"its classes are {names}{same}; those of the first model are {wanted}"
    inputs, wanted_inputs = (
        {spec.modality: spec.thermal_policy for spec in manifest.inputs}
        for manifest in (other, first)
    )
    if set(inputs) != set(wanted_inputs):
        return f"it takes {' and '.join(inputs)}; the first model {' and '.join(wanted_inputs)}"
    for modality, policy in inputs.items():
        wanted_policy = wanted_inputs[modality]
        if policy is None or wanted_policy is None:
            continue
        if (policy.low_ck, policy.high_ck) != (wanted_policy.low_ck, wanted_policy.high_ck):
            return (
                f"its thermal range is {policy.low_ck:g} to {policy.high_ck:g} cK; that of the "
                f"first model {wanted_policy.low_ck:g} to {wanted_policy.high_ck:g} cK"
            )
    return None


def check_models(files: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Make sure before a run that it can change between these models.

    Args:
        files: The models, for the text.
        manifests: What they say, in the same order.

    Raises:
        InputError: It cannot.
    """
    for path, manifest in zip(files[1:], manifests[1:], strict=True):
        reason = difference(manifests[0], manifest)
        if reason is not None:
            raise InputError(f"--step-down {path}: {reason}; export both from the same classes")


class SwappingSegmenter:
    """A segmenter that can become another between two frames.

    It is what a run takes for its segmenter.  As with that, one thread may begin frames and
    another end them; :meth:`request` and :meth:`take_report` belong to a third.

    Args:
        first: The present segmenter.
        open_model: Opens the model at a place of the list; called in a thread of its own.
    """

    def __init__(self, first: Swappable, open_model: Callable[[int], Swappable]) -> None:
        self._open_model = open_model
        self._slots = first.slots
        self._first_manifest = first.manifest
        self._lock = threading.Lock()
        self._present = _Held(0, first)
        self._ready: _Held | None = None
        self._old: _Held | None = None
        self._begun: deque[_Held] = deque()  # whose the frames under way are; at most the slots
        self._report: SwapReport | None = None
        self._busy = self._closed = False
        self._threads: list[threading.Thread] = []

    @property
    def manifest(self) -> Manifest:
        """What the present model file says."""
        return self._present.segmenter.manifest

    @property
    def slots(self) -> int:
        """How many frames may be begun and not ended at once: those of the first model."""
        return self._slots

    @property
    def index(self) -> int:
        """Place of the model that frames are begun with."""
        return self._present.index

    @property
    def busy(self) -> bool:
        """Whether a request is under way, from its call until its report is taken."""
        return self._busy

    def warmup(self) -> None:
        """Let the present model compute once."""
        self._present.segmenter.warmup()

    def begin(self, *, timestamp_s: float | None = None, **frames: npt.NDArray[Any]) -> Begun:
        """Begin with one pair of frames, with the next model where one is ready."""
        with self._lock:
            if self._ready is not None and self._old is None:
                self._old, self._present, self._ready = self._present, self._ready, None
                self._report = SwapReport(self._present.index, None)
            held = self._present
        begun = held.segmenter.begin(timestamp_s=timestamp_s, **frames)
        self._begun.append(held)
        return begun

    def end(self, begun: Begun) -> Result:
        """Return the result of the pair that was begun first, from the model it was begun with."""
        held = self._begun.popleft()
        try:
            return held.segmenter.end(begun)
        finally:
            # The old model's last result was read before this one was asked for.
            if self._old is not None and self._old is not held:
                old, self._old = self._old, None
                self._in_thread(old.segmenter.close, "model-close")

    def request(self, index: int) -> bool:
        """Ask for another model; it runs from some frame on, and :meth:`take_report` tells.

        Args:
            index: Its place in the list.

        Returns:
            Whether the request was taken; not while another is under way or after the end.
        """
        with self._lock:
            if self._busy or self._closed or index == self._present.index:
                return False
            self._busy = True
        self._in_thread(lambda: self._prepare(index), "model-open")
        return True

    def take_report(self) -> SwapReport | None:
        """Return how the last request ended, once; None while it is under way."""
        with self._lock:
            report, self._report = self._report, None
            if report is not None:
                self._busy = False
            return report

    def close(self) -> None:
        """Close all models; no frame may be under way.  Safe to call twice."""
        with self._lock:
            self._closed = True
        for thread in self._threads:
            thread.join()
        for held in (self._present, self._ready, self._old):
            if held is not None:
                held.segmenter.close()

    def __enter__(self) -> SwappingSegmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _in_thread(self, call: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=call, name=name, daemon=True)
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
            thread.start()

    def _prepare(self, index: int) -> None:
        """Open a model and warm it up, or say why it cannot be."""
        segmenter: Swappable | None = None
        try:
            segmenter = self._open_model(index)
            refused = difference(self._first_manifest, segmenter.manifest)
            if refused is None and segmenter.slots < self._slots:
                refused = f"its engine has room for {segmenter.slots} frame, {self._slots} needed"
            if refused is None:
                segmenter.warmup()
        except DifferSegError as error:
            refused = str(error)
        except Exception as error:
            _LOG.exception("a model could not be opened")
            refused = f"{type(error).__name__}: {error}"
        with self._lock:
            if refused is None and segmenter is not None and not self._closed:
                self._ready = _Held(index, segmenter)
                return
            self._report = SwapReport(index, refused or "the run has ended")
        if segmenter is not None:
            segmenter.close()
