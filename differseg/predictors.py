"""One model, ready to judge images, whatever kind of file it came from.

A checkpoint runs through the deployment module that export traces, an ONNX file or an engine
through the runtime's segmenter: each is fed by the code that feeds it on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from differseg.checkpoints import load_named, read_info, shipped_weights
from differseg.errors import InputError
from differseg.manifest import ClassSpec, Manifest, ThermalPolicy
from differseg.models import create_model, list_models
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.inputs import input_specs
from differseg.provenance import TrainingRecord
from differseg.runtime.engine_file import is_engine
from differseg.runtime.preprocess import InputPreparer, map_depth
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.thermal import ThermalMapper
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling_options import Tiles
from differseg.training.precision import choose_device

Images = Mapping[str, npt.NDArray[Any]]
"""Modality to image, as a data set gives it."""


class Predictor(Protocol):
    """A model, ready to judge: images in, probability out.

    Attributes:
        name: Of the network.
        modalities: What it takes.
        size_hw: Height and width that it runs at.
        own_size_hw: Height and width that its configuration was made for.
        classes: What its output tells apart.
        threshold: Probability from which a pixel is foreground, of two classes.
        training: What the file says of its training; None where it says nothing.
        runs_on: Engine and device, for people.
    """

    name: str
    modalities: tuple[str, ...]
    size_hw: tuple[int, int]
    own_size_hw: tuple[int, int]
    classes: tuple[ClassSpec, ...]
    threshold: float
    training: TrainingRecord | None
    runs_on: str

    def probability(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the probability (H, W) or (K, H, W), float32 at the model's size, of a sample."""

    def pictures(self, images: Images) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a person is shown of each modality: (H, W, 3) uint8 or (H, W) in 0..1."""


class TorchPredictor:
    """A checkpoint, run by the deployment module.

    Args:
        model: The network with its weights.
        size_hw: Height and width of its input.
        policy: What mapped thermal images in training.
        device: Where to compute.
        training: What the file says of its training.

    Attributes:
        preparers: What lays out each input, by modality.
        module: What export traces.

    Raises:
        InputError: A size that the network cannot take.
    """

    def __init__(
        self,
        model: SegmentationModel,
        size_hw: tuple[int, int],
        policy: ThermalPolicy,
        device: torch.device,
        training: TrainingRecord | None = None,
    ) -> None:
        spec = model.spec
        if any(side < 1 or side % spec.multiple for side in size_hw):
            raise InputError(
                f"--size {size_hw[0]}x{size_hw[1]}: {spec.name} needs multiples of {spec.multiple}"
            )
        self.name, self.size_hw, self.threshold = spec.name, size_hw, spec.threshold
        self.own_size_hw, self.training, self.classes = spec.size_hw, training, spec.classes
        self.multiple, self.runs_on = spec.multiple, f"PyTorch {torch.__version__} on {device}"
        self._model = model
        self.module, self._device = DeploymentModule(model).to(device), device
        self.preparers = {s.modality: InputPreparer(s) for s in input_specs(spec, size_hw, policy)}
        self.modalities: tuple[str, ...] = tuple(self.preparers)
        self._policy = policy

    def at(self, size_hw: tuple[int, int]) -> TorchPredictor:
        """Return the same network with the same weights at another size.

        Raises:
            InputError: A size that the network cannot take.
        """
        return TorchPredictor(self._model, size_hw, self._policy, self._device, self.training)

    def probability(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the probability (H, W) or (K, H, W), float32 at the model's size, of a sample."""
        return self.of_inputs({n: p.prepare(images[n]) for n, p in self.preparers.items()})

    def of_inputs(self, laid_out: Images) -> npt.NDArray[np.float32]:
        """Return the same of inputs as :attr:`preparers` lay them out."""
        raw = [torch.from_numpy(laid_out[name]).to(self._device) for name in self.preparers]
        with torch.inference_mode():
            maps = np.asarray(self.module(*raw)[0].cpu().numpy(), dtype=np.float32)
        return maps[0] if len(self.classes) == 2 else maps

    def pictures(self, images: Images) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a person is shown of each modality."""
        return _pictures(images, self.modalities, self._policy)


class DeployedPredictor:
    """An ONNX file or a TensorRT engine, run by the runtime.

    Args:
        path: File written by ``differseg export`` or ``differseg build``.
        engine_key: Key that an engine must be signed with; None asks for none.
        tiles: How large images are taken; None takes them whole.

    Raises:
        ModelFileError, ManifestError, MissingComponentError, CheckFailedError: As
            :class:`Segmenter`.
        InputError: As :class:`TiledSegmenter`.
    """

    def __init__(
        self, path: Path, engine_key: Path | None = None, tiles: Tiles | None = None
    ) -> None:
        self._segmenter = (
            Segmenter(path, engine_key=engine_key)
            if tiles is None
            else TiledSegmenter(
                path, engine_key=engine_key, tile_hw=tiles.tile_hw, overlap=tiles.overlap,
                whole_view=tiles.whole_view,
            )
        )  # fmt: skip
        manifest = self._segmenter.manifest
        self.name, self.modalities = manifest.model, self._segmenter.modalities
        self.size_hw, self.threshold = manifest.inputs[0].size_hw, manifest.threshold
        self.own_size_hw, self.classes = _own_size_hw(manifest), manifest.classes
        self.runs_on = self._segmenter.backend.name
        self.training: TrainingRecord | None = None  # such a file names its data in words only
        thermal = manifest.input("thermal")
        self._policy = (thermal and thermal.thermal_policy) or ThermalPolicy()

    def probability(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the probability (H, W) or (K, H, W), float32 at the model's size, of a sample.

        In tiles it is at the image's size, and of more than two classes 1 where each was decided.
        """
        frames = {name: images[name] for name in self.modalities}
        result = self._segmenter(**frames)  # type: ignore[arg-type]
        found = result.probability
        if found is None and isinstance(self._segmenter, TiledSegmenter):
            ids = np.array([spec.id for spec in self.classes], np.uint8)[:, None, None]
            return (result.mask == ids).astype(np.float32)
        if found is None:
            raise InputError(
                f"{self._segmenter.model_file}: it gives masks, decided in the graph; judge the "
                "file of probabilities that it was made from"
            )
        return found.copy()

    def pictures(self, images: Images) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a person is shown of each modality."""
        return _pictures(images, self.modalities, self._policy)


def _own_size_hw(manifest: Manifest) -> tuple[int, int]:
    """Return the size of the network's configuration; the file's own where it does not say."""
    size = manifest.model_config.get("size_hw")
    if isinstance(size, list) and len(size) == 2:
        return int(size[0]), int(size[1])
    return manifest.inputs[0].size_hw


def _pictures(
    images: Images, modalities: Sequence[str], policy: ThermalPolicy
) -> dict[str, npt.NDArray[np.generic]]:
    shown: dict[str, npt.NDArray[np.generic]] = {}
    for name in modalities:
        image = images[name]
        if name == "thermal":
            image = ThermalMapper(policy).map(image)
        elif name == "depth":
            image = map_depth(image)
        shown[name] = image
    return shown


def open_predictor(
    file: Path | None,
    model: str | None = None,
    size_hw: tuple[int, int] | None = None,
    device: str = "auto",
    engine_key: Path | None = None,
    tiles: Tiles | None = None,
) -> Predictor:
    """Open a model file, or the weights that are shipped for a network.

    Args:
        file: Checkpoint, ONNX file or engine, or the name of a network with shipped weights; None
            takes the shipped weights of ``model``.
        model: Name of the network; None takes what the file says.
        size_hw: Height and width for a checkpoint; None takes the network's own.
        device: Where a checkpoint runs: auto, cpu, cuda or cuda:N.
        engine_key: Key that an engine must be signed with; None asks for none.
        tiles: How large images are taken; None takes them whole.

    Raises:
        InputError: Neither file nor model, no shipped weights, or a size that does not fit.
        CheckpointError, ModelFileError, ManifestError: The file cannot be used, or is of another
            network than ``model``.
    """
    names = {info.name for info in list_models()}
    if file is not None and str(file) in names and not file.exists():
        file, model = None, str(file)
    if file is None:
        if model is None:
            raise InputError(
                "evaluate: give a checkpoint, an .onnx file or an engine, or --model NAME"
            )
        file = shipped_weights(model)
        if file is None:
            if model not in names:
                create_model(model)  # says which name was meant
            raise InputError(
                f"--model {model}: no weights are shipped for it; give a checkpoint file"
            )
    if engine_key is not None and not is_engine(file):
        raise InputError(f"--engine-key {engine_key}: {file} is no engine; leave it away")
    if file.suffix == ".onnx" or is_engine(file):
        return _open_deployed(file, model, size_hw, engine_key, tiles)
    network = load_named(file, model)
    info = read_info(file)
    policy = (info and info.thermal_policy) or ThermalPolicy()
    where = torch.device(choose_device(device).value)
    predictor = TorchPredictor(
        network, size_hw or network.spec.size_hw, policy, where, info.training if info else None
    )
    if tiles is None:
        return predictor
    from differseg.tiled_predictor import TiledPredictor

    return TiledPredictor(predictor, tiles)


def _open_deployed(
    file: Path,
    model: str | None,
    size_hw: tuple[int, int] | None,
    engine_key: Path | None,
    tiles: Tiles | None,
) -> DeployedPredictor:
    predictor = DeployedPredictor(file, engine_key, tiles)
    if model is not None and model != predictor.name:
        raise InputError(f"--model {model}: {file} holds '{predictor.name}'; leave --model away")
    if size_hw is not None and size_hw != predictor.size_hw:
        height, width = predictor.size_hw
        raise InputError(
            f"--size {size_hw[0]}x{size_hw[1]}: {file} was exported at {height}x{width}; export it "
            "again at the other size"
        )
    return predictor
