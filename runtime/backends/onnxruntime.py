"""ONNX Runtime on the processor, with buffers that are bound once.

The package of the same name is imported by ``differseg.runtime.model_file``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, ModelFileError
from differseg.runtime.model_file import import_onnxruntime, open_session


class OnnxRuntimeBackend:
    """One ONNX Runtime session on the processor; see :class:`differseg.runtime.backends.Backend`.

    Args:
        model_file: An .onnx file with a manifest and fixed sizes.
        threads: Threads of one run; None takes one per core that this process may use.
        automatic: Whether the engine was chosen for the user (for ``reason``).

    Raises:
        ModelFileError, ManifestError, MissingComponentError: As
            :func:`differseg.runtime.model_file.open_session`.
    """

    def __init__(
        self,
        model_file: str | Path,
        *,
        threads: int | None = None,
        automatic: bool = False,
    ) -> None:
        onnxruntime = import_onnxruntime()
        self.threads = threads or _usable_cores()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would log, its exceptions say too
        # Spinning workers take the core that capture threads need: on 2 busy cores the edge
        # network's median was up to 2 times slower with them, and never clearly faster.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session, self.manifest = open_session(model_file, options, ["CPUExecutionProvider"])
        self.name = "onnxruntime CPU"
        self.reason = "; ".join(
            (
                "an ONNX file, which this release runs on the processor"
                if automatic
                else "asked for",
                f"{self.threads} threads, " + ("asked for" if threads else "one per usable core"),
                "idle threads sleep, so that capture can run",
            )
        )
        self.inputs: dict[str, npt.NDArray[Any]] = {}
        self.outputs: dict[str, npt.NDArray[Any]] = {}
        self._binding = self._session.io_binding()
        self._bind(Path(model_file))

    def _bind(self, path: Path) -> None:
        """Allocate one buffer per input and output and give their addresses to the session."""
        for spec in self.manifest.inputs:
            buffer = np.zeros(_static(path, spec.name, spec.shape), spec.dtype)
            self.inputs[spec.name] = buffer
            self._binding.bind_input(
                spec.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data
            )
        for output in self.manifest.outputs:
            buffer = np.zeros(_static(path, output.name, output.shape), output.dtype)
            self.outputs[output.name] = buffer
            self._binding.bind_output(
                output.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data
            )

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``.

        Raises:
            DifferSegError: ONNX Runtime failed (out of memory, for instance), or it is closed.
        """
        if self._session is None:
            raise DifferSegError("onnxruntime: the model is closed; open it again")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # its exceptions share no base but Exception
            text = " ".join(str(error).split())
            raise DifferSegError(f"onnxruntime: the run failed: {text:.300}") from None

    def close(self) -> None:
        """Give the session's memory back; safe to call twice."""
        self._binding = None
        self._session = None


def _usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _static(path: Path, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape, refusing a dynamic one: its buffers could not be allocated once."""
    if min(shape) < 1 or shape[0] != 1:
        raise ModelFileError(
            f"model {path}: '{name}' has shape {list(shape)}; the runtime takes batch 1 "
            "and fixed sizes, export it with --size HxW"
        )
    return shape
