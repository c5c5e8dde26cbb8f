"""What a camera run needs of this package in one object: its board and its models."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from differseg.manifest import Manifest
from differseg.runtime.engine_file import is_engine, read_sidecar
from differseg.runtime.model_file import read_manifest
from differseg.runtime.power.board import Board
from differseg.runtime.power.monitor import BoardMonitor, BoardState, BoardSummary, open_board
from differseg.runtime.power.report import board_metrics, state_document, state_lines, step_metrics
from differseg.runtime.power.stepdown import StepDown, StepRules
from differseg.runtime.power.stepping import ModelStepper, StepEvent
from differseg.runtime.power.swap import Swappable, SwappingSegmenter, check_models
from differseg.runtime.power.throttling import ThrottleEvent

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_MOST_WAITING = 64


def manifest_of(path: Path) -> Manifest:
    """Return what a model file says, .onnx or engine, without opening it.

    Raises:
        ModelFileError, ManifestError: It cannot be used.
    """
    return read_sidecar(path).manifest if is_engine(path) else read_manifest(path)


class RunPower:
    """Watches the board of a run, and changes its model where smaller ones are given.

    Args:
        first: The run's segmenter, of the first file.
        files: The models, largest first; one alone is never changed.
        open_model: Opens one of the files as the first was opened.
        note: Called with every automatic choice and every change of the model, from any thread.
        board: What is watched; this machine when None.
        rules: When the model changes.

    Attributes:
        segmenter: What the run takes for its segmenter.

    Raises:
        ModelFileError, ManifestError: A smaller model cannot be used.
        InputError: It cannot take the place of the first.
    """

    def __init__(
        self,
        first: Swappable,
        files: Sequence[Path],
        open_model: Callable[[Path], Swappable],
        note: Callable[[str], None],
        board: Board | None = None,
        rules: StepRules | None = None,
    ) -> None:
        if len(files) > 1:
            check_models(files, [first.manifest, *(manifest_of(path) for path in files[1:])])
        if board is None:
            board, _ = open_board()
        self._files, self._note, self._rules = list(files), note, rules
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._monitor = BoardMonitor(board, on_event=self._keep)
        self._stepper: ModelStepper | None = None
        self._swapping = (
            SwappingSegmenter(first, lambda index: open_model(self._files[index]))
            if len(files) > 1
            else None
        )
        self.segmenter: Swappable | SwappingSegmenter = self._swapping or first

    def start(self, counts: Callable[[], tuple[int, int]]) -> None:
        """Begin to watch.

        Args:
            counts: Returns how many frames missed the deadline, and how many results there are.
        """
        if self._swapping is not None:
            begin_s = self._monitor.state.reading.time_s
            policy = StepDown(len(self._files), begin_s, self._rules)
            names = [str(path) for path in self._files]
            self._stepper = ModelStepper(names, self._swapping, policy, counts, self._stepped)
            self._monitor.listen(self._stepper)
        self._monitor.start()

    @property
    def state(self) -> BoardState:
        """The board at this moment."""
        return self._monitor.state

    def take_events(self) -> tuple[dict[str, Any], ...]:
        """Return what happened since the last call, ready for JSON: for ``results.jsonl``."""
        if not self._waiting:
            return ()
        with self._lock:
            events = tuple(self._waiting)
            self._waiting.clear()
        return events

    def lines(self) -> tuple[str, ...]:
        """Return what to show of the board and the model, for people."""
        model = () if self._stepper is None else (f"model {Path(self._stepper.model).name}",)
        return (*state_lines(self.state), *model)

    def document(self) -> dict[str, Any]:
        """Return the board and the model, ready for JSON: for the web page."""
        stepper = self._stepper
        steps = None if stepper is None else {"running": stepper.model, "steps": stepper.steps}
        return {**state_document(self.state), "model": steps, "lines": list(self.lines())}

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` says of the board and the model."""
        yield from board_metrics(self.state)
        if self._stepper is not None:
            yield from step_metrics(self._stepper, tuple(str(path) for path in self._files))

    def summary(self) -> BoardSummary:
        """Return what the board was like over the run."""
        return self._monitor.summary()

    def close(self) -> None:
        """Stop; every model is closed, so the run must have ended.  Safe to call twice."""
        self._monitor.close()
        if self._swapping is not None:
            self._swapping.close()

    def __enter__(self) -> RunPower:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self, event: ThrottleEvent | StepEvent) -> None:
        with self._lock:
            self._waiting.append(event.document())

    def _stepped(self, event: StepEvent) -> None:
        self._keep(event)
        self._note(event.text())
