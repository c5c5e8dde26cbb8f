"""Forms of a model that are files: ONNX in any engine of the runtime, and built engines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError
from differseg.export.lowering.plugin_nodes import mentions_plugins
from differseg.export.parity_form import Arrays, side_of
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest
from differseg.runtime.backends import BackendName, CpuPrecision
from differseg.runtime.backends.options import EngineOptions

_ENGINES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
}


class BackendRunner:
    """A model file as the runtime runs it: its engine, its settings, its manifest.

    Args:
        path: A model file with a manifest.
        options: What runs it.
        file: What is opened in its place; None opens the file itself.

    Raises:
        ModelFileError, ManifestError: The file is missing, broken, or not one that differseg wrote.
        CheckFailedError: An engine that is not signed as asked.
        MissingComponentError: The engine is not installed.
        InputError: The engine has no such precision.
    """

    def __init__(self, path: Path, options: EngineOptions, file: Path | None = None) -> None:
        from differseg.runtime.backends import open_backend
        from differseg.runtime.model_file import check_outputs

        try:
            self._backend = open_backend(
                file or path,
                options.backend,
                options.threads,
                options.cpu_precision,
                engine_key=options.engine_key,
            )
        except DifferSegError as error:  # of the user's file, not of the temporary one
            raise type(error)(str(error).replace(str(file or path), str(path))) from None
        self.manifest: Manifest = self._backend.manifest
        self.inputs = self.manifest.inputs
        check_outputs(path, self.manifest)
        package, place = self._backend.name.split(" ", 1)
        kind = _ENGINES[package] + ("" if place == "CPU" else f" {place}")
        side = side_of(
            self.manifest,
            name=path.name,
            kind=kind,
            source=str(path),
            sha256=sha256_of(path),
            versions={package: _version_of(package)},
        )
        if options.cpu_precision is not None:
            side = replace(side, precision=f"{side.precision}, computed in {options.cpu_precision}")
        self.side = side

    def probability(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the probability (1, 1, H, W), or (1, K, H, W), float32 of one image.

        Of a file that gives masks it is 0 or 1, and NaN where the network gave NaN or infinity.
        """
        from differseg.runtime.network_output import as_probability

        for name, buffer in self._backend.inputs.items():
            np.copyto(buffer, arrays[name], casting="no")
        self._backend.run()
        return as_probability(self.manifest, self._backend.outputs)

    def close(self) -> None:
        """Give the session's memory back."""
        self._backend.close()


class OnnxRunner(BackendRunner):
    """An ONNX file; for plugin nodes it runs their definitions.

    Args:
        path: An .onnx file with a manifest.
        threads: Processor threads; None takes one per usable core.
        backend: What runs it.
        cpu_precision: What OpenVINO computes in; None takes float32.

    Raises:
        DifferSegError: As :class:`BackendRunner`.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        backend: BackendName = "onnxruntime",
        cpu_precision: CpuPrecision | None = None,
    ) -> None:
        options = EngineOptions(backend=backend, threads=threads, cpu_precision=cpu_precision)
        with runnable(path) as file:
            super().__init__(path, options, file)


class BuiltEngineRunner(BackendRunner):
    """An engine with its sidecar, checked before it is loaded.

    Args:
        path: The engine.
        key: Key file of who must have signed it; None takes any that we built.

    Raises:
        DifferSegError: As :class:`BackendRunner`.
    """

    def __init__(self, path: Path, key: Path | None = None) -> None:
        super().__init__(path, EngineOptions(backend="tensorrt", engine_key=key))


@contextlib.contextmanager
def runnable(path: Path) -> Iterator[Path]:
    """Yield the file, or for plugin nodes, which ONNX Runtime has not, one that defines them."""
    if not path.is_file() or path.stat().st_size == 0 or not mentions_plugins(path):
        yield path
        return
    from differseg.export import example_check

    with example_check.runnable(path) as file:
        yield file


def _version_of(package: str) -> str:
    return str(import_module(package).__version__).partition("-")[0]
