"""Networks that call torch.fft or a wavelet package themselves, from PyTorch to ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
import pywt
import torch
from fourier_networks import HalfPrecision, networks, noise
from torch import Tensor, nn
from wavelet_modules import hand_written, package_module, pytorch_wavelets

from differseg.errors import CheckFailedError, InputError
from differseg.export import check, export_onnx
from differseg.export.lowering.complex_numbers import real_valued


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Small networks run faster on one thread."""


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[torch.export.ExportedProgram]:
    """The programs that are written in real numbers during the test."""
    seen: list[torch.export.ExportedProgram] = []

    def kept(*arguments: Any) -> torch.export.ExportedProgram:
        seen.append(real_valued(*arguments))
        return seen[-1]

    monkeypatch.setattr("differseg.export.trace.real_valued", kept)
    return seen


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


GRAPHS = {
    "spectral conv, stacked": {"rfft2": 1, "irfft2": 1, "stack": 0, "cat": 0},
    "spectral conv, joined": {"rfft2": 1, "irfft2": 1, "stack": 0, "cat": 0, "split": 0},
    "global filter": {"rfft2": 1, "irfft2": 1, "permute": 3, "cat": 1},
    "fourier layer": {"rfft2": 1, "irfft2": 1, "matmul": 2, "einsum": 0, "slice_scatter": 0},
    "token mixing": {"rfft2": 1, "fft": 0},
    "amplitude exchange": {"rfft2": 2, "irfft2": 1, "atan2": 0, "cos": 0, "sin": 0},
    "two-sided exchange": {"rfft2": 2, "irfft2": 3, "fft": 0, "atan2": 0, "cos": 0, "sin": 0},
    "amplitude and phase convs": {"rfft2": 1, "irfft2": 1, "atan2": 1},
    "adaptive filter": {"rfft2": 1, "irfft2": 1, "stack": 0, "split": 0},
    "high-pass, even": {"rfft2": 1, "fft": 2, "where": 0},
    "shifted masks": {"rfft2": 1, "irfft2": 1, "fft": 2},
    "channel low-pass": {"rfft": 1, "irfft": 1, "permute": 0, "constant_pad_nd": 1},
    "phase only": {"rfft2": 1, "irfft2": 1, "linalg_vector_norm": 1, "div": 1, "select": 0},
}
"""How often an operator may be in the program that is written: the shortest form known."""


TOO_OLD = {"token mixing": {"jetpack5", "trt8.5"}}
"""Targets that a network is not for, whatever its transforms: LayerNormalization is newer."""


def operators(program: torch.export.ExportedProgram) -> Counter[str]:
    """Return how often each operator is in a program, without what nothing uses."""
    program.graph.eliminate_dead_code()
    calls = program.graph.nodes
    return Counter(n.target.__name__.split(".")[0] for n in calls if n.op == "call_function")


@pytest.mark.parametrize("name", networks())
def test_fourier_network_has_standard_operators_only(
    tmp_path: Path, programs: list[torch.export.ExportedProgram], name: str
) -> None:
    module, inputs = networks()[name]
    path = tmp_path / "f.onnx"
    counts = exported(module, inputs, path, dynamic=name.startswith("spectral"))
    assert not {"DFT", "ScatterND", "ScatterElements", "GatherND"} & set(counts)
    found, expected = operators(programs[0]), GRAPHS.get(name, {})
    assert {operator: found[operator] for operator in expected} == expected
    refused = {target for target, verdict in check(path).targets.items() if verdict == "no"}
    assert refused == TOO_OLD.get(name, set())


def test_fourier_network_for_the_plugin_library(tmp_path: Path) -> None:
    module, inputs = networks()["spectral conv, stacked"]
    export_onnx(module, {"x": inputs[0]}, tmp_path / "f.onnx", ops="plugin")
    nodes = onnx.load(tmp_path / "f.onnx").graph.node
    expected = ["DiffersegRfft2", "Reshape", "Conv", "Relu", "Reshape", "DiffersegIrfft2"]
    assert [node.op_type for node in nodes] == expected
    assert nodes[2].name == "conv/Conv"


class Several(nn.Module):
    def forward(self, *maps: Tensor) -> list[Tensor]:
        return [torch.fft.fft2(x).abs() for x in maps]


def test_a_module_that_takes_any_number_of_maps(tmp_path: Path) -> None:
    exported(Several(), (noise(2, 3, 8, 8), noise(2, 3, 7, 8)), tmp_path / "f.onnx", dynamic=True)


def test_half_precision_around_a_transform_in_float32(tmp_path: Path) -> None:
    x = noise(1, 4, 8, 8).half()
    result = export_onnx(HalfPrecision().half(), {"x": x}, tmp_path / "f.onnx", verify=False)
    graph = onnx.load(result.path).graph
    half = onnx.TensorProto.FLOAT16
    assert graph.output[0].type.tensor_type.elem_type == half


def test_a_transform_in_half_precision_is_refused_with_what_to_write(tmp_path: Path) -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft2(x).abs()

    x = noise(1, 4, 8, 8).half()
    with pytest.raises(InputError, match=r"x\.float\(\) before it and cast back after"):
        export_onnx(Half(), {"x": x}, tmp_path / "f.onnx")


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
    "dwt haar zero 1": (4, True),
    "dwt db2 symmetric 2": (22, True),
    "both haar zero 1": (8, True),
    "both db2 periodization 1": (22, True),
    "both db2 per 1": (22, True),
    "both bior2.2 periodic 2": (32, True),
    "dwt bior4.4 periodization 2": (100, False),
    "dtcwt 1": (80, False),
    "ptwt db2 periodic 2": (38, False),
}
"""Transform, wavelet, border and levels: most nodes, and whether it is traced as our operators."""


@pytest.mark.parametrize("name", PACKAGES)
def test_wavelet_package(
    tmp_path: Path, programs: list[torch.export.ExportedProgram], name: str
) -> None:
    module, inputs = package_module(name), (noise(2, 4, 16, 24),)
    most, ours = PACKAGES[name]
    dynamic = not name.startswith("ptwt")  # which computes with the batch it was traced with
    counts = exported(module, inputs, tmp_path / "w.onnx", dynamic=dynamic)
    assert counts.total() <= most, counts
    assert not {"ScatterND", "ScatterElements", "GatherND"} & set(counts)
    export_onnx(module, {"x": inputs[0]}, tmp_path / "p.onnx", ops="plugin")
    nodes = onnx.load(tmp_path / "p.onnx").graph.node
    kinds = Counter(node.op_type for node in nodes if node.domain)
    levels = int(name.split()[-1]) if ours else 0
    back = levels if name.startswith("both") else 0
    assert kinds == {
        k: n for k, n in {"DiffersegDwt2": levels, "DiffersegIdwt2": back}.items() if n
    }


def test_a_package_transform_is_given_back_as_it_was(tmp_path: Path) -> None:
    module = package_module("both haar zero 1")
    parts = [dict(part.__dict__) for part in module.modules()]
    export_onnx(module, {"x": noise(1, 2, 8, 8)}, tmp_path / "w.onnx")
    assert [set(part.__dict__) for part in module.modules()] == [set(part) for part in parts]


def test_other_filters_for_rows_than_for_columns_stay_the_package_s_own(tmp_path: Path) -> None:
    package = pytorch_wavelets()
    haar, db2 = pywt.Wavelet("haar"), pywt.Wavelet("db2")
    wave = (db2.dec_lo, db2.dec_hi, [0.0, *haar.dec_lo, 0.0], [0.0, *haar.dec_hi, 0.0])
    module = package.DWTForward(J=1, wave=wave, mode="symmetric")
    result = export_onnx(module, {"x": noise(1, 2, 8, 8)}, tmp_path / "w.onnx", ops="plugin")
    assert not [node for node in onnx.load(result.path).graph.node if node.domain]


def test_maps_of_another_type_than_the_filters_are_left_to_the_package(tmp_path: Path) -> None:
    module, half = package_module("both haar zero 1"), {"x": noise(1, 2, 8, 8).half()}
    with pytest.raises(CheckFailedError, match="inconsistent type"):
        export_onnx(module, half, tmp_path / "w.onnx", ops="plugin", verify=False)
