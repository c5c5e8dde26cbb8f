"""A network of two convolutions, its file, and ways to damage them, for the parity tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from torch import nn

from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.modelfile import manifest_of
from differseg.export.parity_data import Samples, load_samples
from differseg.export.parity_result import ParityResult
from differseg.manifest import METADATA_KEY, Manifest, WeightsRecord
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec

SIZE_HW = (64, 96)
IMAGES = 3


class SmallNet(SegmentationModel):
    """Two convolutions over both modalities: exports in seconds."""

    def __init__(self, task: str = "rgbt") -> None:
        modalities = MODALITIES[task]
        super().__init__(ModelSpec("small", "test", task, modalities, BINARY_CLASSES, SIZE_HW))
        channels = sum(modality.channels for modality in modalities)
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.relu(self.first(torch.cat(inputs, dim=1)))
        return {"logits": self.last(hidden)}


def small_module(task: str = "rgbt") -> DeploymentModule:
    torch.manual_seed(8)
    net = SmallNet(task)
    with torch.no_grad():
        net.last.weight *= 4  # a decided network: probabilities from nearly 0 to nearly 1
    return DeploymentModule(net)


def export_small(module: DeploymentModule, path: Path) -> Path:
    example = module.raw_inputs_example(SIZE_HW)
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    export_onnx(module, example, path, manifest=manifest, strip="model.", verify=False)
    return path


def edited(
    model_file: Path,
    path: Path,
    edit: Callable[[dict[str, np.ndarray]], None] | None = None,
    manifest: Callable[[Manifest], Manifest] | None = None,
) -> Path:
    """Copy an ONNX file with other constants or another manifest."""
    model = onnx.load(str(model_file))
    if edit is not None:
        tensors = {t.name: onnx.numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        edit(tensors)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(onnx.numpy_helper.from_array(tensors[tensor.name], tensor.name))
    if manifest is not None:
        found = manifest_of(model)
        assert found is not None
        entry = next(e for e in model.metadata_props if e.key == METADATA_KEY)
        entry.value = manifest(found).to_json()
    onnx.save(model, str(path))
    return path


def failed(result: ParityResult) -> set[str]:
    return {check.what for check in result.checks if not check.passed}


def samples_of(module: DeploymentModule, folder: Path | None, limit: int | None = None) -> Samples:
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    return load_samples(manifest.inputs, folder, limit)


def write_pair(root: Path, stems: tuple[str, str], thermal: np.ndarray) -> None:
    for name, stem, image in (
        ("rgb", stems[0], np.zeros((64, 96, 3), np.uint8)),
        ("thermal", stems[1], thermal),
    ):
        (root / name).mkdir()
        cv2.imwrite(str(root / name / f"{stem}.png"), image)
