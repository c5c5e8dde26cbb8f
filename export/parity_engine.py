"""A TensorRT engine in a comparison, by Polygraphy's ``TrtRunner``.

An engine is code: it is run as it is, so compare only engines that you built.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError, MissingComponentError, ModelFileError
from differseg.file_hash import sha256_of

if TYPE_CHECKING:
    from differseg.export.divergence_run import Infer
    from differseg.export.parity_form import Runner

ENGINE_SUFFIXES = (".engine", ".plan")
"""Endings of engine files."""

_NEEDED = ("polygraphy", "tensorrt")


class EngineSession(Protocol):
    """What is asked of Polygraphy's runner once it is active."""

    def infer(self, feed_dict: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        """Return outputs, and the tensors that the engine was built to show, by name."""

    def deactivate(self) -> None:
        """Give the memory back."""


def check_engine_support(form: str | Path) -> None:
    """Refuse an engine where it could not run.

    Raises:
        MissingComponentError: TensorRT's Python package, or Polygraphy, is not installed.
    """
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingComponentError(
                f"parity: {form}: TensorRT engines cannot be compared without the Python package "
                f"'{name}', which is not installed; compare on the device (JetPack brings "
                "'tensorrt'; pip install 'differseg[layers]'), or give the .onnx file that it is of"
            )


def open_session(path: Path) -> EngineSession:
    """Load an engine and get it ready to run.

    Raises:
        ModelFileError: It was built for another TensorRT or GPU, or is no engine.
    """
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    from polygraphy.exception import PolygraphyException

    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(path))))
    try:
        with quiet_polygraphy():
            runner.activate()
    except PolygraphyException as error:
        text = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"parity: {path}: TensorRT cannot load the engine ({text}); build it on this device"
        ) from None
    session: EngineSession = runner
    return session


@contextlib.contextmanager
def quiet_polygraphy() -> Iterator[None]:
    """Keep Polygraphy's log, and its advice on colours, off the standard output."""
    from polygraphy.logger import G_LOGGER

    colors, G_LOGGER.colors = G_LOGGER.colors, False
    try:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
            yield
    finally:
        G_LOGGER.colors = colors


class EngineRunner:
    """An engine as a form of the network that the other side is.

    An engine file does not say what it takes and gives: inputs, classes and threshold are those of
    the other side, whose graph it was built from.

    Args:
        path: The engine.
        partner: The other side.
        session: What runs it.
    """

    def __init__(self, path: Path, partner: Runner, session: EngineSession) -> None:
        self.inputs = partner.inputs
        self._session = session
        self.side = replace(
            partner.side,
            name=path.name,
            kind="TensorRT",
            source=str(path),
            sha256=sha256_of(path),
            precision="as built",
            versions=_versions(),
        )

    def outputs(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return copies of everything that the engine shows, by name."""
        feed = OrderedDict((spec.name, arrays[spec.name]) for spec in self.inputs)
        return {name: np.array(value) for name, value in self._session.infer(feed).items()}

    def tensors(self, arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
        """Return the names of what it shows."""
        return list(self.outputs(arrays))

    def probability(self, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Return the probability (1, 1, H, W), or (1, K, H, W), float32 of one image."""
        found = self.outputs(arrays)
        name = "probability" if "probability" in found else next(iter(found))
        if name != "probability" and len(found) > 1:
            raise InputError(
                f"parity: {self.side.name}: expected an output 'probability', got "
                f"{', '.join(found)}; build the engine from a file that differseg exported"
            )
        return found[name].astype(np.float32)

    def close(self) -> None:
        """Give the engine's memory back."""
        self._session.deactivate()


class EngineLayers:
    """The tensors that an engine shows, for :mod:`differseg.export.divergence_run`."""

    def __init__(self, runner: EngineRunner) -> None:
        self._runner = runner

    @contextlib.contextmanager
    def opened(self, names: Sequence[str]) -> Iterator[Infer]:
        """An engine gives all that it shows in every run; these are handed on."""

        def infer(feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
            found = {**feed, **self._runner.outputs(feed)}
            return {name: found[name] for name in names}

        yield infer


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _NEEDED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
