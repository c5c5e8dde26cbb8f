"""Networks that call torch.fft or a wavelet package themselves, from PyTorch to ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from fourier_networks import HalfPrecision, networks, noise
from torch import Tensor, nn
from wavelet_modules import hand_written, package_module

from differseg.export import export_onnx


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Small networks run faster on one thread."""


def exported(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, *, dynamic: bool = False
) -> Counter[str]:
    """Export, with ONNX Runtime's results compared; returns how often each operator is there."""
    names = {f"x{index}": value for index, value in enumerate(inputs)}
    result = export_onnx(module, names, path, dynamic_batch=dynamic)
    assert result.max_error is not None
    assert result.max_error <= 1e-5
    model = onnx.load(path)
    assert {entry.domain for entry in model.opset_import} == {""}
    assert not model.functions
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", networks())
def test_fourier_network_has_standard_operators_only(tmp_path: Path, name: str) -> None:
    module, inputs = networks()[name]
    counts = exported(module, inputs, tmp_path / "f.onnx", dynamic=name.startswith("spectral"))
    assert not {"DFT", "ScatterND", "ScatterElements", "GatherND"} & set(counts)


def test_fourier_network_for_the_plugin_library(tmp_path: Path) -> None:
    module, inputs = networks()["spectral conv, stacked"]
    export_onnx(module, {"x": inputs[0]}, tmp_path / "f.onnx", ops="plugin")
    nodes = onnx.load(tmp_path / "f.onnx").graph.node
    expected = ["DiffersegRfft2", "Reshape", "Conv", "Relu", "Reshape", "DiffersegIrfft2"]
    assert [node.op_type for node in nodes] == expected
    assert nodes[2].name == "conv/Conv"


def test_half_precision_around_a_transform_in_float32(tmp_path: Path) -> None:
    x = noise(1, 4, 8, 8).half()
    result = export_onnx(HalfPrecision().half(), {"x": x}, tmp_path / "f.onnx", verify=False)
    graph = onnx.load(result.path).graph
    half = onnx.TensorProto.FLOAT16
    assert graph.output[0].type.tensor_type.elem_type == half


NODES = {
    "sliced": 22,
    "sliced, inverse": 20,
    "sliced, there and back": 42,
    "unshuffled": 4,
    "fixed haar": 3,
    "fixed db2": 4,
}
"""Nodes of each hand-written form."""


@pytest.mark.parametrize("name", NODES)
def test_hand_written_wavelet(tmp_path: Path, name: str) -> None:
    counts = exported(
        hand_written()[name], (noise(2, 4, 16, 24),), tmp_path / "w.onnx", dynamic=True
    )
    assert counts.total() <= NODES[name], counts


PACKAGES = {
    "dwt haar zero 1": 5,
    "dwt db2 symmetric 2": 14,
    "dwt bior2.2 reflect 1": 7,
    "dwt db2 periodic 1": 7,
    "both haar zero 1": 20,
    "both db2 periodization 1": 65,
    "both bior2.2 symmetric 2": 44,
    "dtcwt 1": 80,
    "ptwt haar zero 1": 20,
    "ptwt db2 periodic 2": 38,
}
"""Transform, wavelet, border and levels: nodes."""


@pytest.mark.parametrize("name", PACKAGES)
def test_wavelet_package(tmp_path: Path, name: str) -> None:
    module = package_module(name)
    dynamic = not name.startswith("ptwt")  # which computes with the batch it was traced with
    counts = exported(module, (noise(2, 4, 16, 24),), tmp_path / "w.onnx", dynamic=dynamic)
    assert counts.total() <= PACKAGES[name], counts
    assert not {"ScatterND", "ScatterElements", "GatherND"} & set(counts)
