"""Sums in float16 that can overflow are found in every spelling, and harmless ones are not."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
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
