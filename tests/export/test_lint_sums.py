"""Sums in float16 that can overflow are found in every spelling, and harmless ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from differseg.export import export_onnx
from differseg.export.lint import lint
from differseg.export.targets import TARGETS
from differseg.export.verdict import Verdict
from differseg.ops import irfft2, rfft2

pytestmark = pytest.mark.usefixtures("one_thread")


class Gate(nn.Module):
    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return irfft2(rfft2(x, self.norm) * 0.5, width=x.shape[-1], norm=self.norm)


class Layers(nn.Module):
    """Products of matrices as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(512, 512), nn.Linear(512, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def _sums(module: nn.Module, x: Tensor, folder: Path, ops: str) -> list[Verdict]:
    path = folder / "f.onnx"
    export_onnx(module.to(x.dtype), {"x": x}, path, ops=ops, verify=False)
    verdicts = lint(onnx.load(path), TARGETS["jetpack7"])
    return [verdict for verdict in verdicts if "sums" in verdict.reason]


@pytest.mark.parametrize("size_hw", [(48, 64), (96, 128), (47, 61)])
@pytest.mark.parametrize("ops", ["portable", "function", "plugin"])
def test_a_transform_without_scale(ops: str, size_hw: tuple[int, int], tmp_path: Path) -> None:
    x = torch.rand(1, 2, *size_hw, dtype=torch.float16)
    (verdict,) = _sums(Gate("backward"), x, tmp_path, ops)
    assert verdict.level == "condition"
    points = size_hw[0] * size_hw[1]
    assert f"gain of {points} overflow where the mean of the input passes" in verdict.reason
    assert "norm='ortho'" in verdict.advice


@pytest.mark.parametrize("ops", ["portable", "function", "plugin"])
def test_ortho_and_float32_are_harmless(ops: str, tmp_path: Path) -> None:
    half = torch.rand(1, 2, 96, 128, dtype=torch.float16)
    assert not _sums(Gate("ortho"), half, tmp_path, ops)
    assert not _sums(Gate("backward"), half.float(), tmp_path, ops)


def test_learned_matrices_are_harmless(tmp_path: Path) -> None:
    assert not _sums(Layers(), torch.rand(4, 512, dtype=torch.float16), tmp_path, "portable")


def test_an_unscaled_inverse_overflows_as_well(tmp_path: Path) -> None:
    x = torch.rand(1, 2, 96, 128, dtype=torch.float16)
    assert _sums(Gate("forward"), x, tmp_path, "portable")


class LearnedGate(nn.Module):
    """A factor for each frequency, as spectral gates have it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(shape) * 4)

    def forward(self, x: Tensor) -> Tensor:
        return irfft2(rfft2(x, "ortho") * self.weight, width=x.shape[-1], norm="ortho")


@pytest.mark.parametrize("size_hw", [(47, 61), (96, 128), (240, 320)])
def test_the_way_back_is_not_multiplied_with_the_way_there(
    size_hw: tuple[int, int], tmp_path: Path
) -> None:
    x = torch.rand(1, 1, *size_hw, dtype=torch.float16)
    gate = LearnedGate((1, 1, 2, size_hw[0], size_hw[1] // 2 + 1))
    assert not _sums(gate.to(x.dtype), x, tmp_path, "portable")
    assert not _sums(Gate("ortho"), x, tmp_path, "portable")


HIGH, WIDE = 96, 128
ROWS = np.cos(2 * np.pi * np.outer(np.arange(WIDE), np.arange(65)) / WIDE).astype(np.float16)
COLUMNS = np.cos(2 * np.pi * np.outer(np.arange(HIGH), np.arange(HIGH)) / HIGH).astype(np.float16)
ACROSS, DOWN = ("MatMul", ["x", "rows"], "a", {}), ("MatMul", ["columns", "a"], "y", {})
WRITTEN = {
    "two products": ([ACROSS, DOWN], 12288),
    "einsum": (
        [("Einsum", ["x", "rows"], "a", {"equation": "nchw,wk->nchk"}),
         ("Einsum", ["columns", "a"], "y", {"equation": "jh,nchk->ncjk"})], 12288,
    ),
    "matrix cast from float32": (
        [("Cast", ["rows32"], "r", {"to": TensorProto.FLOAT16}),
         ("MatMul", ["x", "r"], "a", {}), DOWN], 12288,
    ),
    "matrix transposed twice": (
        [("Transpose", ["rows"], "t", {}), ("Transpose", ["t"], "r", {"perm": [1, 0]}),
         ("Identity", ["r"], "s", {}), ("MatMul", ["x", "s"], "a", {}), DOWN], 12288,
    ),
    "a gate between the axes": (
        [ACROSS, ("Mul", ["a", "one"], "b", {}), ("MatMul", ["columns", "b"], "y", {})], 12288,
    ),
    "divided afterwards": ([ACROSS, DOWN, ("Div", ["y", "points"], "z", {})], 12288),
    "divided before": (
        [("Div", ["x", "points"], "d", {}), ("MatMul", ["d", "rows"], "a", {}), DOWN], None,
    ),
    "multiplied before": (
        [("Mul", ["x", "inverse"], "d", {}), ("MatMul", ["d", "rows"], "a", {}), DOWN], None,
    ),
    "sum": ([("ReduceSum", ["x", "axes"], "y", {"keepdims": 1})], 12288),
    "sum of one axis": ([("ReduceSum", ["x", "axis"], "y", {"keepdims": 1})], None),
    "sum of everything": ([("ReduceSum", ["x"], "y", {"keepdims": 1})], 49152),
    "general product": ([("Gemm", ["flat", "tall"], "y", {"transB": 1})], 4096),
    "transform": (
        [("DFT", ["complex"], "a", {"axis": 1}), ("DFT", ["a"], "y", {"axis": 2})], 12288,
    ),
    "transform there and back": (
        [("DFT", ["complex"], "a", {"axis": 1}), ("DFT", ["a"], "b", {"axis": 1, "inverse": 1}),
         ("DFT", ["b"], "y", {"axis": 2})], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "gain"), WRITTEN.values(), ids=list(WRITTEN))
def test_every_spelling(
    nodes: list[tuple[str, list[str], str, dict[str, object]]], gain: int | None
) -> None:
    constants = {
        "rows": ROWS, "columns": COLUMNS, "rows32": ROWS.astype(np.float32),
        "one": np.float16(1), "points": np.float16(HIGH * WIDE),
        "inverse": np.float16(1 / HIGH / WIDE), "axes": np.array([2, 3]), "axis": np.array([3]),
        "tall": np.ones((3, 4096), np.float16),
    }  # fmt: skip
    inputs = {"x": [1, 4, HIGH, WIDE], "flat": [2, 4096], "complex": [1, HIGH, WIDE, 2]}
    half = TensorProto.FLOAT16
    graph = helper.make_graph(
        [helper.make_node(op, names, [out], **more) for op, names, out, more in nodes],
        "sums",
        [helper.make_tensor_value_info(name, half, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1][2], half, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    verdicts = [v for v in lint(model, TARGETS["trt11.4"]) if "float16 sums" in v.reason]
    assert [v.level for v in verdicts] == ["condition"] * (gain is not None)
    assert all(f"a gain of {gain} " in v.reason for v in verdicts)
