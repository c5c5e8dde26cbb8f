"""A small network with a Fourier transform in typed forms, and ways to damage those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from small_network import SIZE_HW, samples_of
from torch import nn

from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.modelfile import manifest_of
from differseg.manifest import METADATA_KEY, WeightsRecord
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec
from differseg.ops import irfft2, rfft2


class HighPass(nn.Module):
    """A plane without its lowest frequencies, by a Fourier transform and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = rfft2(x, norm="backward")
        kept = torch.ones(spectrum.shape[-2:])
        kept[:2, :2] = 0
        return irfft2(spectrum * kept, width=x.shape[-1], norm="backward")


class Block(nn.Module):
    """Convolution, batch normalisation, activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


class FourierNet(SegmentationModel):
    """Two blocks, a high pass and a head."""

    def __init__(self) -> None:
        super().__init__(
            ModelSpec("fourier", "test", "rgbt", MODALITIES["rgbt"], BINARY_CLASSES, SIZE_HW)
        )
        self.first = Block(4, 8)
        self.second = Block(8, 8)
        self.high = HighPass()
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, rgb: torch.Tensor, thermal: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.second(self.first(torch.cat([rgb, thermal], dim=1)))
        return {"logits": self.head(x + self.high(x))}


def fourier_module() -> DeploymentModule:
    torch.manual_seed(3)
    net = FourierNet()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.normal_(part.running_mean, std=0.3)
    with torch.no_grad():
        net.head.weight *= 4
    return DeploymentModule(net)


def export_fourier(module: DeploymentModule, path: Path) -> Path:
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    example = module.raw_inputs_example(SIZE_HW)
    export_onnx(module, example, path, manifest=manifest, strip="model.", verify=False)
    return path


def changed(
    source: Path, path: Path, edit: Callable[[onnx.ModelProto], None], precision: str = ""
) -> Path:
    """Copy a file with an edited graph, and another precision in its manifest."""
    model = onnx.load(str(source))
    edit(model)
    return _saved(model, source, path, precision)


def _saved(model: onnx.ModelProto, source: Path, path: Path, precision: str) -> Path:
    manifest = manifest_of(onnx.load(str(source)))
    assert manifest is not None
    if precision:
        manifest = replace(manifest, precision=precision)
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=manifest.to_json())
    onnx.save(model, str(path))
    return path


def half(source: Path, path: Path) -> Path:
    """All of the graph in fp16, its inputs and outputs as they were."""
    model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    return _saved(model, source, path, "fp16")


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> Any:
        return next(self._feeds, None)


def quantised(module: DeploymentModule, source: Path, path: Path, ops: list[str]) -> Path:
    """Q/DQ around these operators, symmetric, int8, as TensorRT takes it."""
    samples = samples_of(module, None, 2)
    quantize_static(
        str(source),
        str(path),
        _Reader(sample.arrays for sample in samples),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=ops,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )
    return _saved(onnx.load(str(path)), source, path, "int8")


def scaled(model: onnx.ModelProto, name: str, factor: float) -> None:
    """Multiply one constant."""
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))


def with_huge_factor(model: onnx.ModelProto, after: str) -> None:
    """Multiply a node's result by 3e5 and divide it again: equal in fp32, beyond fp16.

    The second of the nodes ``planted/Mul``, ``planted/Mul_1`` ... is the one that overflows.
    """
    node = next(n for n in model.graph.node if n.name == after)
    place = list(model.graph.node).index(node) + 1
    result = node.output[0]
    node.output[0] = value = f"{result}.start"
    for step, factor in enumerate((300.0, 1000.0, 1e-3, 1 / 300)):
        model.graph.initializer.append(
            numpy_helper.from_array(np.float32(factor), f"planted.{step}")
        )
        made = result if step == 3 else f"{result}.{step}"
        name = f"planted/Mul_{step}" if step else "planted/Mul"
        planted = helper.make_node("Mul", [value, f"planted.{step}"], [made], name)
        model.graph.node.insert(place + step, planted)
        value = made
