"""PyTorch operators that are written otherwise than PyTorch's exporter writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fourier_networks import noise
from torch import Tensor, nn

from differseg.export import export_onnx


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def exported(function: Callable[..., Tensor], path: Path, *, dynamic: bool) -> Counter[str]:
    export_onnx(Of(function), {"x": noise(3, 4, 8, 8)}, path, dynamic_batch=dynamic)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_atan2_is_exact_on_the_axes(tmp_path: Path) -> None:
    values = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 3e30, 2.5, -7.0, 1e-3])
    endless = torch.cat((values, torch.tensor([torch.inf, -torch.inf])))
    grid = torch.stack(torch.meshgrid(values, endless, indexing="ij"))
    module = Of(lambda x: torch.atan2(x[0], x[1]))
    export_onnx(module, {"x": grid}, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": grid.numpy()})[0]
    expected = np.arctan2(*grid.double().numpy())
    assert np.abs(found - expected).max() <= 3e-7
    assert found[0, 3] == found[0, 1] == np.float32(np.pi), "a zero above the negative axis"
    assert found[1, 3] == found[1, 1] == -np.float32(np.pi), "a zero below it"


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_one_node_in_onnx_runtime(approximate: str, tmp_path: Path) -> None:
    module = Of(lambda x: nn.functional.gelu(x, approximate=approximate) + 1)
    x = torch.linspace(-9, 9, 4001).view(1, -1)
    export_onnx(module, {"x": x}, tmp_path / "g.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "g.onnx"), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": x.numpy()})[0]
    expected = module(x.double()).numpy()
    assert np.abs(found - expected).max() <= 1e-6
    if approximate == "none":
        operators = [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]
        assert operators == ["Gelu", "Add"]


def several(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 2:5, -3:] = 1
    y[:, 1] = x[:, 0] * 2
    y[:, :, :, -1] = 0
    y[:1] = 3
    return y


def strided(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :, 1::3] = x[:, :, ::3]
    y[:, :, :, ::2] += 1
    y[:, :, -6:-1:2] *= 2
    return y


def woven(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, ::2, ::2] = x[:, :, 1::2, 1::2]
    y[:, :, ::2, ::2] *= 2
    return y[:, :, ::2, 1::2] + y[:, :, ::2, ::2] + y[:, :, 1::2, ::2]


def filled(x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 4, 8, 16)
    y[..., ::2] = x
    y[..., 1::2] = -x
    return y


def copied(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., 1:3].copy_(x[..., :1])
    y[:, :, 0] = torch.ones(8)
    return y


def empty(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 6:2] = 0
    y[:, :, 9:20] = 1
    y[:, :, -2:-5] = 2
    return y


WRITTEN = {
    "several": several,
    "strided": strided,
    "woven": woven,
    "filled": filled,
    "copied": copied,
    "empty": empty,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_written_slices_are_joined_not_scattered(tmp_path: Path, name: str) -> None:
    counts = exported(WRITTEN[name], tmp_path / "s.onnx", dynamic=name != "copied")
    assert not {"ScatterND", "ScatterElements", "Transpose"} & set(counts), counts


def test_four_quarters_become_one_depth_to_space(tmp_path: Path) -> None:
    def quarters(x: Tensor) -> Tensor:
        y = torch.zeros(x.shape[0], 1, 16, 16)
        y[:, :, 0::2, 0::2], y[:, :, 1::2, 0::2] = x[:, :1], x[:, 1:2]
        y[:, :, 0::2, 1::2], y[:, :, 1::2, 1::2] = x[:, 2:3], x[:, 3:]
        return y

    counts = exported(quarters, tmp_path / "q.onnx", dynamic=True)
    assert counts["DepthToSpace"] == counts["Concat"] == 1
    assert counts.total() == 2 + counts["Slice"]


def test_an_index_along_one_axis_is_one_gather(tmp_path: Path) -> None:
    index = torch.tensor([2, 0, -1])
    assert exported(lambda x: x[:, :, index], tmp_path / "i.onnx", dynamic=False) == {"Gather": 1}
    assert exported(lambda x: x[:, index], tmp_path / "i.onnx", dynamic=True) == {"Gather": 1}
    counts = exported(lambda x: x[:, :, index[:, None], index], tmp_path / "i.onnx", dynamic=False)
    assert counts["Gather"] == 0, "two indices are another matter"


def test_frequencies_are_constants(tmp_path: Path) -> None:
    def scaled(x: Tensor) -> Tensor:
        rows = torch.fft.fftfreq(8, d=0.5, dtype=torch.float64)[:, None].float()
        return x * torch.fft.fftfreq(8) + x * rows

    assert exported(scaled, tmp_path / "f.onnx", dynamic=True) == {"Mul": 2, "Add": 1}

    def filtered(x: Tensor) -> Tensor:
        return (torch.fft.rfft2(x) * torch.fft.rfftfreq(8)).abs()

    assert exported(filtered, tmp_path / "r.onnx", dynamic=True)["Mul"] == 1


MATRICES = noise(8, 8, 8)
EQUATIONS = {
    "ellipsis": (lambda x: torch.einsum("...bi,bio->...bo", x, MATRICES[:, :, :3]), {"Einsum": 1}),
    "capitals": (lambda x: torch.einsum("NCHW,CHK", x, MATRICES[:4, :, :5]), {"Einsum": 1}),
    "broadcast": (
        lambda x: torch.einsum("...ij,...jk->...ik", x, MATRICES[:1, :, :5]),
        {"Einsum": 1},
    ),
    "broadcast batch": (
        lambda x: torch.einsum("nchw,ncwk->nhk", x, MATRICES[None, :4, :, :2]),
        None,
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_every_axis_of_an_einsum_is_named(tmp_path: Path, name: str) -> None:
    function, expected = EQUATIONS[name]
    counts = exported(function, tmp_path / "e.onnx", dynamic=True)
    assert expected is None or counts == expected
    for node in onnx.load(tmp_path / "e.onnx").graph.node:
        if node.op_type == "Einsum":
            equation = onnx.helper.get_node_attr_value(node, "equation").decode()
            assert "." not in equation
            assert equation == equation.lower()
