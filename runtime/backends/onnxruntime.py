"""ONNX Runtime on the processor or an NVIDIA GPU, with buffers that are allocated once.

The package of the same name is imported by ``differseg.runtime.model_file``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from differseg.errors import DifferSegError
from differseg.runtime.backends.providers import Provider, open_session
from differseg.runtime.backends.resources import buffers, usable_cores
from differseg.runtime.model_file import read_manifest


class OnnxRuntimeBackend:
    """One ONNX Runtime session; see :class:`differseg.runtime.backends.Backend`.

    On the processor the session reads and writes the buffers themselves.  For a GPU, binding an
    input copies it to the device there and then (``IOBinding::BindInput`` in ONNX Runtime's
    ``core/session/IOBinding.cc``), so a buffer that is bound once would show its first content for
    ever: inputs are bound anew at every run.  Outputs are copied into their buffers by the run.

    Args:
        model_file: An .onnx file with a manifest and fixed sizes.
        threads: Threads of one run; None takes one per core that this process may use.
        provider: Where it runs.
        why: Why this engine was chosen, for ``reason``.

    Raises:
        ModelFileError, ManifestError: The file cannot be used; the text says why.
        MissingComponentError: ONNX Runtime, or the provider, is not installed or does not start.
    """

    def __init__(
        self,
        model_file: str | Path,
        *,
        threads: int | None = None,
        provider: Provider = "CPU",
        why: str = "asked for",
    ) -> None:
        path = Path(model_file)
        self.manifest = read_manifest(path)
        self.threads = threads or usable_cores()
        self._session, note = open_session(path, self.manifest, provider, self.threads)
        self.name = f"onnxruntime {provider}"
        self.reason = "; ".join(
            (
                why,
                f"{self.threads} threads, " + ("asked for" if threads else "one per usable core"),
                note,
            )
        )
        self.inputs: dict[str, npt.NDArray[Any]] = buffers(self.manifest.inputs)
        self.outputs: dict[str, npt.NDArray[Any]] = buffers(self.manifest.outputs)
        self._binding = self._session.io_binding()
        self._copied = provider != "CPU"
        self._bind(self._binding.bind_input, self.inputs)
        self._bind(self._binding.bind_output, self.outputs)

    @staticmethod
    def _bind(bind: Any, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Give the addresses of buffers to the session."""
        for name, array in arrays.items():
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``.

        Raises:
            DifferSegError: ONNX Runtime failed (out of memory, for instance), or it is closed.
        """
        if self._session is None:
            raise DifferSegError("onnxruntime: the model is closed; open it again")
        try:
            if self._copied:
                self._bind(self._binding.bind_input, self.inputs)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # its exceptions share no base but Exception
            text = " ".join(str(error).split())
            raise DifferSegError(f"onnxruntime: the run failed: {text:.300}") from None

    def close(self) -> None:
        """Give the session's memory back; safe to call twice."""
        self._binding = None
        self._session = None
