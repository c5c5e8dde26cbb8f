"""Gaussian low-pass in ONNX Runtime, every spelling, against a literal float64 loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import gaussian_oracle as oracle
import onnx
import pytest
import torch
from maps_under_test import random_map, real_map
from onnx_forms import FORMS, Trial, try_form, try_form_with_any_batch
from operator_networks import Apply
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export import export_onnx
from differseg.ops.gaussian import BORDERS, gaussian_lowpass

pytestmark = pytest.mark.usefixtures("one_thread")
KERNELS = [(0.8, 5), (1.5, 9)]
"""Sigma and taps: one pass over the map, and one along each axis."""


SIZES_HW = [(16, 15), (13, 32), (18, 31)]
"""Even, odd, prime and power-of-two extents, as small as the oracle's loops want them."""


def _trials(x: Tensor) -> list[Trial]:
    return [
        Trial(
            "gaussian",
            partial(gaussian_lowpass, sigma=sigma, kernel_size=taps, border=border),
            (x,),
            torch.from_numpy(oracle.lowpass(x, sigma, taps, border)),
        )
        for sigma, taps in KERNELS
        for border in BORDERS
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_portable(
    batch: int, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    maps = (random_map(size_hw, batch=batch, channels=2, dtype=dtype) for size_hw in SIZES_HW)
    trials = [trial for x in maps for trial in _trials(x)]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        return _trials(random_map((20, 23), batch=batch, dtype=dtype))

    try_form_with_any_batch(trials, tmp_path, form, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    try_form(_trials(real_map(sample_data, dtype)[..., :31, :28]), tmp_path, "portable", measured)


class Learned(nn.Module):
    """A width of its own for each of five channels."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.tensor([0.5, 0.8, 1.0, 1.2, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return gaussian_lowpass(x, self.sigma, 7)


@pytest.mark.parametrize("form", FORMS)
def test_learned_widths(form: str, tmp_path: Path, measured: Callable[..., None]) -> None:
    module, x = Learned(), random_map((20, 23))
    expected = torch.from_numpy(oracle.lowpass(x, module.sigma.tolist(), 7, "reflect"))
    try_form([Trial("gaussian", module, (x,), expected)], tmp_path, form, measured)


def test_functions_of_different_widths_are_different(tmp_path: Path) -> None:
    twice = Apply(lambda x: gaussian_lowpass(gaussian_lowpass(x, 1.0, 5), 2.0, 5))
    export_onnx(twice, {"x": random_map((20, 23))}, tmp_path / "f.onnx", ops="function")
    model = onnx.load(tmp_path / "f.onnx")
    names = [node.op_type for node in model.graph.node]
    assert names == ["DiffersegGaussian", "DiffersegGaussian_5x20x23"]
    assert [function.name for function in model.functions] == names


def test_a_width_computed_from_the_input_is_refused(tmp_path: Path) -> None:
    module = Apply(lambda x: gaussian_lowpass(x, x.mean((0, 2, 3)).abs() + 0.5, 5))
    with pytest.raises(InputError, match=r"operand 1 is computed from the inputs, .*; make it a"):
        export_onnx(module, {"x": random_map((20, 23))}, tmp_path / "f.onnx")
    assert not (tmp_path / "f.onnx").exists()
