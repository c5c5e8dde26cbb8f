"""Fourier operators in ONNX Runtime, every spelling, against torch.fft in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import fourier_oracle as oracle
import onnx
import pytest
import torch
from maps_under_test import EVEN_ODD_PRIME_POWER, random_map, real_map
from onnx_forms import FORMS, Calls, Trial, try_form, try_form_with_any_batch
from torch import Tensor, nn

from differseg.export import export_onnx, rtx
from differseg.export.lowering.fourier_plan import irfft2_plan, rfft2_plan
from differseg.ops.fourier import NORMS, fft, irfft, irfft2, rfft, rfft2

pytestmark = pytest.mark.usefixtures("one_thread")
_PRODUCTS_AND_MOVES = {"MatMul", "Gather", "Reshape", "Transpose", "Mul"}
SINGLE_POINTS = [(1, 6), (5, 1), (1, 1)]


def _two_dimensional(x: Tensor, norm: str) -> list[Trial]:
    """Return the transform of a map, and its inverse on the oracle's spectrum."""
    width = x.shape[-1]
    spectrum = oracle.rfft2(x, norm).to(x.dtype)
    back = oracle.irfft2(spectrum, width, norm)
    return [
        Trial("rfft2", partial(rfft2, norm=norm), (x,), oracle.rfft2(x, norm)),
        Trial("irfft2", partial(irfft2, width=width, norm=norm), (spectrum,), back),
    ]


def _one_dimensional(x: Tensor, norm: str) -> list[Trial]:
    """Return the transforms along either axis, the inverse ones on the oracle's spectra."""
    trials = []
    both = torch.stack((x, x.flip(-1)), 2)
    for axis in (-1, -2):
        length = x.shape[axis]
        lines = oracle.rfft(x, axis, norm).to(x.dtype)
        back = partial(irfft, axis=axis, length=length, norm=norm)
        trials += [
            Trial("rfft", partial(rfft, axis=axis, norm=norm), (x,), oracle.rfft(x, axis, norm)),
            Trial("irfft", back, (lines,), oracle.irfft(lines, axis, length, norm)),
        ]
        for inverse in (False, True):
            call = partial(fft, axis=axis, inverse=inverse, norm=norm)
            trials.append(Trial("fft", call, (both,), oracle.fft(both, axis, inverse, norm)))
    return trials


def _trials(x: Tensor, norm: str = "ortho") -> list[Trial]:
    return _two_dimensional(x, norm) + _one_dimensional(x, norm)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_portable(
    batch: int, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = [
        trial
        for size_hw in EVEN_ODD_PRIME_POWER + SINGLE_POINTS
        for trial in _trials(random_map(size_hw, batch=batch, channels=2, dtype=dtype))
    ]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("size_hw", [(96, 128), (240, 320)])
def test_feature_maps_in_stages(
    size_hw: tuple[int, int], dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = _trials(random_map(size_hw, batch=1, channels=4, dtype=dtype))
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("norm", NORMS)
def test_norms(norm: str, tmp_path: Path, measured: Callable[..., None]) -> None:
    trials = [t for size_hw in [(24, 25), (60, 64)] for t in _trials(random_map(size_hw), norm)]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        maps = [random_map(size, batch=batch, dtype=dtype) for size in [(20, 23), (48, 60)]]
        return [trial for x in maps for trial in _trials(x)]

    try_form_with_any_batch(trials, tmp_path, form, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = _two_dimensional(real_map(sample_data, dtype), "ortho")
    try_form(trials, tmp_path, "portable", measured)


def test_channels_last_input(tmp_path: Path, measured: Callable[..., None]) -> None:
    x = random_map((17, 22), layout="channels_last")
    given = x.permute(0, 2, 3, 1)
    call = lambda x: rfft2(x.permute(0, 3, 1, 2))  # noqa: E731
    trial = Trial("rfft2", call, (given,), oracle.rfft2(x, "ortho"))
    try_form([trial], tmp_path, "portable", measured)


def test_spectra_that_belong_to_no_real_map(tmp_path: Path, measured: Callable[..., None]) -> None:
    trials = []
    for height, width in [(12, 14), (24, 15), (240, 320)]:
        spectrum = torch.randn(1, 2, 2, height, width // 2 + 1)
        expected = oracle.irfft2(spectrum, width, "ortho")
        trials.append(Trial("irfft2", partial(irfft2, width=width), (spectrum,), expected))
    try_form(trials, tmp_path, "portable", measured)


class GatedPair(nn.Module):
    """A spectrum, a weight for each channel and bin, and back."""

    def __init__(self, channels: int, size_hw: tuple[int, int]) -> None:
        super().__init__()
        height, width = size_hw
        self.gate = nn.Parameter(torch.randn(1, channels, 1, height, width // 2 + 1))

    def forward(self, x: Tensor) -> Tensor:
        return irfft2(rfft2(x) * self.gate, width=x.shape[-1])


def _export_pair(
    channels: int, size_hw: tuple[int, int], dtype: torch.dtype, path: Path
) -> tuple[onnx.GraphProto, set[str]]:
    """Export a gated pair; returns its graph and the values of the export's decisions."""
    module, x = GatedPair(channels, size_hw).to(dtype), torch.randn(1, channels, *size_hw)
    result = export_onnx(module, {"x": x.to(dtype)}, path, verify=False)
    return onnx.load(path).graph, {decision.value for decision in result.decisions}


@pytest.mark.parametrize(("channels", "size_hw"), [(64, (96, 128)), (32, (240, 320))])
def test_a_gated_pair_is_products_and_moves_of_the_map(
    channels: int, size_hw: tuple[int, int], tmp_path: Path
) -> None:
    graph, choices = _export_pair(channels, size_hw, torch.float32, tmp_path / "f.onnx")
    assert {node.op_type for node in graph.node} <= _PRODUCTS_AND_MOVES
    constants = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    assert all(set(node.input) - set(constants) for node in graph.node)  # nothing left to fold
    plans = rfft2_plan(channels, size_hw, "ortho"), irfft2_plan(channels, size_hw, "ortho")
    assert {plan.choice for plan in plans} <= choices
    squares = [dims for name, dims in constants.items() if len(dims) == 2]
    assert max(max(dims) for dims in squares) <= 130


@pytest.mark.skipif(not rtx.is_available(), reason=f"NVIDIA's parser: {rtx.INSTALL_HINT}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("channels", "size_hw"), [(8, (96, 128)), (4, (240, 320))])
def test_gated_pairs_build(
    channels: int, size_hw: tuple[int, int], dtype: torch.dtype, tmp_path: Path
) -> None:
    _export_pair(channels, size_hw, dtype, tmp_path / "f.onnx")
    report = rtx.build(tmp_path / "f.onnx", threads=1)
    assert report.passed, report.reason


@pytest.mark.skipif(not rtx.is_available(), reason=f"NVIDIA's parser: {rtx.INSTALL_HINT}")
def test_one_dimensional_stages_build(tmp_path: Path) -> None:
    trials = _one_dimensional(random_map((120, 160), batch=1, channels=2), "ortho")
    inputs = {f"x{i}": trial.inputs[0] for i, trial in enumerate(trials)}
    export_onnx(Calls(trials), inputs, tmp_path / "f.onnx", verify=False)
    report = rtx.build(tmp_path / "f.onnx", threads=1)
    assert report.passed, report.reason
