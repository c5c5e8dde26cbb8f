"""Export operators in every spelling and run the files in ONNX Runtime.

An export costs about half a second, so many trials of an operator share one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from maps_under_test import LIMITS, relative_error
from torch import Tensor, nn

from differseg.export import export_onnx
from differseg.export.example_check import runnable

FORMS = ("portable", "function", "plugin")


@dataclass(frozen=True)
class Trial:
    """One call of an operator and what it must give.

    Attributes:
        operator: Its name.
        call: The call, of the inputs alone.
        inputs: What goes in.
        expected: The oracle's result, float64.
    """

    operator: str
    call: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    expected: Tensor


class Calls(nn.Module):
    """All the calls of some trials, one output each."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        super().__init__()
        self.trials = trials

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        left, outputs = list(inputs), {}
        for index, trial in enumerate(self.trials):
            given, left = left[: len(trial.inputs)], left[len(trial.inputs) :]
            outputs[f"y{index}"] = trial.call(*given)
        return outputs


def try_form(
    trials: Sequence[Trial], folder: Path, form: str, measured: Callable[..., None]
) -> None:
    """Export all trials in one graph, run it, and measure every output against its oracle.

    Args:
        trials: What is run and compared.
        folder: Where the file goes.
        form: One of ``FORMS``.
        measured: The fixture.
    """
    session = _exported(trials, folder, form, dynamic_batch=False)
    _run(session, trials, form, measured)


def try_form_with_any_batch(
    trials_of: Callable[[int], Sequence[Trial]],
    folder: Path,
    form: str,
    measured: Callable[..., None],
) -> None:
    """Trace with a batch of 2 that varies, then run and measure the file with batches 1 and 3.

    Args:
        trials_of: Returns the same calls for every batch.
        folder: Where the file goes.
        form: One of ``FORMS``.
        measured: The fixture.
    """
    session = _exported(trials_of(2), folder, form, dynamic_batch=True)
    for batch in (1, 3):
        _run(session, trials_of(batch), form, measured)


def _exported(
    trials: Sequence[Trial], folder: Path, form: str, *, dynamic_batch: bool
) -> onnxruntime.InferenceSession:
    """Export the trials' calls as one graph with inputs x0, x1 ... and open it."""
    inputs = [tensor for trial in trials for tensor in trial.inputs]
    named = {f"x{index}": tensor for index, tensor in enumerate(inputs)}
    path = folder / f"{form}.onnx"
    export_onnx(Calls(trials), named, path, ops=form, dynamic_batch=dynamic_batch, verify=False)
    with runnable(path) as file:
        return session_of(file)


def _run(
    session: onnxruntime.InferenceSession,
    trials: Sequence[Trial],
    form: str,
    measured: Callable[..., None],
) -> None:
    """Run the trials' inputs through their graph and measure every output."""
    fed = [tensor.numpy() for trial in trials for tensor in trial.inputs]
    outputs = session.run(None, {f"x{index}": array for index, array in enumerate(fed)})
    for trial, y in zip(trials, outputs, strict=True):
        dtype = trial.inputs[0].dtype
        measured(
            trial.operator,
            form=form,
            dtype=str(dtype).removeprefix("torch."),
            error=relative_error(torch.from_numpy(y), trial.expected),
            limit=LIMITS[dtype],
        )


def session_of(file: Path) -> onnxruntime.InferenceSession:
    """Open a file with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
