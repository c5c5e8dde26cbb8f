"""Does a written file compute what the module computes: one run of the example in ONNX Runtime."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from differseg.errors import CheckFailedError, DifferSegError, InputError
from differseg.export.finish import finish_body
from differseg.export.lowering.plugin_nodes import mentions_plugins
from differseg.export.lowering.spelling import with_definitions
from differseg.export.modelfile import serialize
from differseg.export.trace import evaluating, returned_tensors

MAX_ERROR = 1e-4
"""Largest difference between PyTorch and ONNX Runtime that an export may show; in proportion to
the output's largest value where that is above ``LARGE``, as in the spectrum of a picture."""
LARGE = 10.0
MAX_HALF_ERROR = 5e-3
"""The same for an output of float16, relative to its largest value."""


def compare_example(module: nn.Module, example_inputs: Mapping[str, Tensor], path: Path) -> float:
    """Return the largest difference between the module and ONNX Runtime on the example.

    Raises:
        InputError: The module itself fails on the example.
        CheckFailedError: It is above the limit, a shape or type differs, a number is not finite, or
            ONNX Runtime cannot run the file.
    """
    import onnxruntime

    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluating(module), torch.no_grad():
        # A copy, because a module may write to its inputs.
        copies = [value.to(device, copy=True) for value in example_inputs.values()]
        try:
            result = module(*copies)
        except DifferSegError:  # an operator of ours has said what is wrong
            raise
        except Exception as error:  # whatever a user's module raises
            text = " ".join(str(error).split())[:300]
            raise InputError(
                f"{type(module).__name__}: it was traced, but fails on the example inputs "
                f"({type(error).__name__}: {text}); mend the module or give other inputs"
            ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    feed = {name: value.detach().cpu().numpy() for name, value in example_inputs.items()}
    try:
        with runnable(path) as file:
            session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        names = [output.name for output in session.get_outputs()]
        found = session.run(names, feed)
    except Exception as error:  # onnxruntime's own exception classes share no public base
        # The file lies in a temporary folder.
        text = re.sub(rf"\S*/{re.escape(path.name)}", path.name, " ".join(str(error).split()))[:300]
        raise CheckFailedError(f"{path.name}: ONNX Runtime cannot run the graph: {text}") from None
    worst = 0.0
    for name, value, array in zip(names, returned_tensors(result), found, strict=True):
        kind = str(value.dtype).removeprefix("torch.")
        if array.dtype.name != kind:
            raise CheckFailedError(
                f"output {name!r}: ONNX Runtime gives {array.dtype.name}, expected PyTorch's "
                f"{kind}; nothing was written"
            )
        expected = value.detach().cpu().double().numpy()
        found_error = _difference(name, expected, array)
        largest = float(np.abs(expected).max(initial=0.0))
        if array.dtype == np.float16:
            limit = MAX_HALF_ERROR * largest
        else:
            limit = MAX_ERROR * max(1.0, largest / LARGE)
        if found_error > limit:
            raise CheckFailedError(
                f"output {name!r}: ONNX Runtime differs from PyTorch by {found_error:.3g} on the "
                f"example inputs, expected at most {limit:.3g} where the largest value is "
                f"{largest:.3g}; nothing was written"
            )
        worst = max(worst, found_error)
    return worst


@contextlib.contextmanager
def runnable(path: Path) -> Iterator[Path]:
    """Yield a file that ONNX Runtime runs: the same one, or one that defines its plugin nodes."""
    model = with_definitions(path, finish_body) if mentions_plugins(path) else None
    if model is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        defined = Path(folder) / path.name
        defined.write_bytes(serialize(model))
        yield defined


def _difference(name: str, expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Return the largest difference of two arrays that must be finite and of one shape."""
    if expected.shape != found.shape:
        raise CheckFailedError(
            f"output {name!r}: ONNX Runtime gives the shape {list(found.shape)}, expected "
            f"PyTorch's {list(expected.shape)}; nothing was written"
        )
    for who, values in (("PyTorch", expected), ("ONNX Runtime", found)):
        if not np.isfinite(values).all():
            raise CheckFailedError(
                f"output {name!r}: {who} computes NaN or infinity on the example inputs, expected "
                "finite numbers; mend the weights or give other inputs; nothing was written"
            )
    return float(np.abs(expected - found.astype(np.float64)).max(initial=0.0))
