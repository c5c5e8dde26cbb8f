"""The two forms of a comparison, opened: files, built engines, and networks in PyTorch."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from differseg.engine_sidecar import sidecar_path
from differseg.errors import InputError, MissingComponentError
from differseg.export.parity_backends import BackendRunner, BuiltEngineRunner, OnnxRunner
from differseg.export.parity_engine import (
    ENGINE_SUFFIXES,
    EngineRunner,
    check_engine_support,
    open_session,
)
from differseg.export.parity_form import Arrays, Runner, side_of
from differseg.export.parity_result import Side
from differseg.manifest import InputSpec, Manifest, ThermalPolicy
from differseg.runtime.backends.options import EngineOptions

if TYPE_CHECKING:
    from differseg.models.deployment import DeploymentModule

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth")


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
    side = side_of(
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

    side = side_of(
        exported,
        name=f"{module.spec.name} (PyTorch)",
        kind="PyTorch",
        source=exported.weights.source,
        sha256=exported.weights.sha256,
        versions={"torch": str(torch.__version__)},
    )
    return replace(side, threshold=module.spec.threshold, precision="fp32")


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
