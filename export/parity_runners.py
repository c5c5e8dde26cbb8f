"""Forms of a model behind one protocol: raw inputs in, probability out."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.engine_sidecar import sidecar_path
from differseg.errors import DifferSegError, InputError, MissingComponentError
from differseg.export.lowering.plugin_nodes import mentions_plugins
from differseg.export.parity_engine import (
    ENGINE_SUFFIXES,
    EngineRunner,
    check_engine_support,
    open_session,
)
from differseg.export.parity_result import Side
from differseg.file_hash import sha256_of
from differseg.manifest import InputSpec, Manifest, ThermalPolicy
from differseg.runtime.backends import BackendName, CpuPrecision
from differseg.runtime.backends.options import EngineOptions

if TYPE_CHECKING:
    from differseg.models.deployment import DeploymentModule

Arrays = Mapping[str, npt.NDArray[Any]]
"""Input name -> array as ``InputSpec`` describes it."""

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth")

_ENGINES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
}


class Runner(Protocol):
    """One form of a model, ready to run.

    Attributes:
        side: What it is, for tables and the report; ``side.threshold`` makes its mask.
        inputs: What it takes.
    """

    side: Side
    inputs: tuple[InputSpec, ...]

    def probability(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the probability (1, 1, H, W), or (1, K, H, W), float32 of one image."""

    def close(self) -> None:
        """Give the memory back."""


class TorchRunner:
    """A network in PyTorch, by the very module that export traces.

    Args:
        module: Takes the raw inputs positionally, in the order of ``inputs``.
        side: What it is.
        inputs: What it takes.
    """

    def __init__(self, module: DeploymentModule, side: Side, inputs: tuple[InputSpec, ...]) -> None:
        self.side, self.inputs = side, inputs
        self.module = module

    def probability(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the probability (1, 1, H, W), or (1, K, H, W), float32 of one image."""
        import torch

        # The module may stand on a GPU; its buffers say where its inputs belong.
        device = next(iter(self.module.state_dict().values())).device
        tensors = [torch.from_numpy(arrays[spec.name]).to(device) for spec in self.inputs]
        with torch.inference_mode():
            output = self.module(*tensors)
        return np.asarray(output.float().cpu().numpy())

    def close(self) -> None:
        """Nothing to give back: the module is the caller's."""


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
        side = _side(
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


def open_pair(
    a: str | Path,
    b: str | Path,
    engine: EngineOptions | None = None,
    engine_key: Path | None = None,
) -> tuple[Runner, Runner]:
    """Open the two forms of a comparison.

    A checkpoint has no size of its own, so it runs at the other side's; one that does not say
    which network it holds is taken for the other side's network, and strict loading tells.

    Args:
        a: Checkpoint (.safetensors, .pt, .pth), .onnx file, engine (.engine, .plan), or a model
            with shipped weights.
        b: Likewise; one of the two is no engine.
        engine: What runs b, an .onnx file; None takes ONNX Runtime on the processor, which runs a.
        engine_key: Key file of who must have signed the engines; None takes any that we built.

    Raises:
        InputError: A name that is none of these, two forms that do not take the same inputs or
            do not give the same classes, or an engine for what is no .onnx file.
        ModelFileError, ManifestError, CheckpointError: A file that cannot be used.
        MissingComponentError: A checkpoint without PyTorch, a file without ONNX Runtime, or an
            engine without TensorRT.
    """
    forms = (a, b)
    for form in forms:
        _check_form(form)
    if engine_key is not None and not any(_is_engine(form) for form in forms):
        raise InputError("parity: --engine-key: neither side is an engine; leave it out")
    if engine is not None and not _is_onnx(b):
        raise InputError(
            f"parity: {b}: --backend, --threads and --cpu-precision are for an .onnx file as B; "
            "give one, or leave them out"
        )
    files = [
        _open_file(Path(form), chosen, engine_key)
        for form, chosen in zip(forms, (None, engine), strict=True)
    ]
    manifest = next((runner.manifest for runner in files if runner is not None), None)
    opened: list[Runner | None] = [
        file if file is not None or _is_engine(form) else _open_torch(form, manifest)
        for form, file in zip(forms, files, strict=True)
    ]
    first, second = (
        runner or _open_engine(form, opened[1 - place])
        for place, (form, runner) in enumerate(zip(forms, opened, strict=True))
    )
    _check_same_inputs(first, second)
    _check_same_classes(first.side, second.side)
    return first, second


def _open_file(path: Path, engine: EngineOptions | None, key: Path | None) -> BackendRunner | None:
    """Open what describes itself: an .onnx file, or an engine with its sidecar."""
    if _is_engine(path) and sidecar_path(path).is_file():
        return BuiltEngineRunner(path, key)
    if not _is_onnx(path):
        return None
    if engine is None:
        return OnnxRunner(path)
    return OnnxRunner(path, engine.threads, engine.backend, engine.cpu_precision)


def _version_of(package: str) -> str:
    return str(import_module(package).__version__).partition("-")[0]


def _is_onnx(form: str | Path) -> bool:
    return Path(form).suffix.lower() == ".onnx"


def _is_engine(form: str | Path) -> bool:
    return Path(form).suffix.lower() in ENGINE_SUFFIXES


def _open_engine(form: str | Path, partner: Runner | None) -> EngineRunner:
    if partner is None:
        raise InputError(
            f"parity: {form}: two engines say nothing of their inputs and classes; compare each "
            "with the .onnx file that it was built from"
        )
    return EngineRunner(Path(form), partner, open_session(Path(form)))


def _check_form(form: str | Path) -> None:
    """Refuse what is neither a file that can be compared nor a model with shipped weights."""
    from differseg.models.registry import list_models

    suffix = Path(form).suffix.lower()
    if _is_engine(form) and not sidecar_path(form).is_file():
        check_engine_support(form)
    if suffix in (".onnx", *CHECKPOINT_SUFFIXES, *ENGINE_SUFFIXES):
        if not Path(form).is_file():
            raise InputError(f"parity: {form}: there is no such file")
        return
    models = {info.name: info for info in list_models()}
    if str(form) in models:
        if models[str(form)].shipped_weights is None:
            shipped = ", ".join(name for name, info in models.items() if info.shipped_weights)
            raise InputError(
                f"parity: no weights are shipped for '{form}' (only for {shipped or 'none'}); "
                "give a checkpoint file"
            )
        return
    near = difflib.get_close_matches(str(form), models, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"parity: '{form}' is neither a .onnx file, nor a checkpoint (.safetensors, .pt, .pth), "
        f"nor the name of a model with shipped weights{hint}"
    )


def _open_torch(form: str | Path, partner: Manifest | None) -> TorchRunner:
    try:
        import torch

        from differseg.checkpoints import read_info
        from differseg.export.manifest_builder import build_manifest
        from differseg.export.network_source import load_network
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"parity: {form} is a network in PyTorch, which needs the package '{error.name}'; "
            "install it with: pip install 'differseg[export]', or compare two .onnx files"
        ) from None
    path = Path(form)
    is_file = path.suffix.lower() in CHECKPOINT_SUFFIXES
    name, settings = None if is_file else str(form), None
    if is_file and partner is not None and read_info(path) is None:
        name, settings = partner.model, partner.model_config
    network = load_network(name, path if is_file else None, settings)
    manifest = build_manifest(
        network.spec,
        network.spec.size_hw if partner is None else partner.inputs[0].size_hw,
        weights=network.weights,
        thermal_policy=network.thermal_policy or _thermal_policy(partner),
    )
    side = _side(
        manifest,
        name=path.name,
        kind="PyTorch",
        source=str(form) if is_file else network.weights.source,
        sha256=network.weights.sha256,
        versions={"torch": str(torch.__version__)},
    )
    return TorchRunner(network.module, side, manifest.inputs)


def _thermal_policy(manifest: Manifest | None) -> ThermalPolicy | None:
    spec = None if manifest is None else manifest.input("thermal")
    return None if spec is None else spec.thermal_policy


def module_side(module: DeploymentModule, exported: Manifest) -> Side:
    """Describe the network in PyTorch that a file was made from."""
    import torch

    side = _side(
        exported,
        name=f"{module.spec.name} (PyTorch)",
        kind="PyTorch",
        source=exported.weights.source,
        sha256=exported.weights.sha256,
        versions={"torch": str(torch.__version__)},
    )
    return replace(side, threshold=module.spec.threshold, precision="fp32")


def _side(
    manifest: Manifest,
    *,
    name: str,
    kind: str,
    source: str,
    sha256: str | None,
    versions: dict[str, str],
) -> Side:
    weights = manifest.weights
    trained_on = f", trained on {weights.trained_on}" if weights.trained_on else ""
    return Side(
        name=name,
        kind=kind,
        model=manifest.model,
        threshold=manifest.threshold,
        source=source,
        sha256=sha256,
        precision=manifest.precision,
        weights=weights.source + trained_on,
        versions=versions,
        classes=manifest.classes,
    )


def _check_same_inputs(a: Runner, b: Runner) -> None:
    modalities = [[spec.modality for spec in runner.inputs] for runner in (a, b)]
    if modalities[0] != modalities[1]:
        takes = [" and ".join(names) for names in modalities]
        raise InputError(
            f"parity: {a.side.name} takes {takes[0]}, {b.side.name} takes {takes[1]}; compare "
            "two forms of one network"
        )
    sizes = ["x".join(map(str, runner.inputs[0].size_hw)) for runner in (a, b)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"parity: {a.side.name} is {sizes[0]}, {b.side.name} is {sizes[1]} (height x width); "
            "export both at one size, with --size HxW"
        )


def _check_same_classes(a: Side, b: Side) -> None:
    """Refuse other numbers of classes, or of more than two other ids: places mean other things."""
    counts = len(a.classes), len(b.classes)
    ids = [[spec.id for spec in side.classes] for side in (a, b)]
    if counts[0] != counts[1] or (counts[0] > 2 and ids[0] != ids[1]):
        named = [", ".join(spec.name for spec in side.classes[:4]) for side in (a, b)]
        raise InputError(
            f"parity: {a.name} has {counts[0]} classes ({named[0]} ...), {b.name} has {counts[1]} "
            f"({named[1]} ...) or other ids; compare two forms of one network"
        )
