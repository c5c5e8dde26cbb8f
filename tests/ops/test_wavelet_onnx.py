"""Wavelet operators in ONNX Runtime, every spelling, against PyWavelets in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
import wavelet_oracle as oracle
from maps_under_test import EVEN_ODD_PRIME_POWER, random_map, real_map
from onnx_forms import FORMS, Trial, try_form, try_form_with_any_batch
from operator_networks import Apply
from torch import Tensor

from differseg.export import export_onnx
from differseg.ops.wavelet import MODES, dwt2, idwt2

pytestmark = pytest.mark.usefixtures("one_thread")
BANKS = ["haar", "db2", "bior2.2", "sym5"]


def _trials(x: Tensor, bank: str, mode: str) -> list[Trial]:
    """Return the transform of a map, and its inverse on the oracle's bands."""
    size_hw = (x.shape[2], x.shape[3])
    bands = oracle.dwt2(x, bank, mode).to(x.dtype)
    forward = partial(dwt2, wavelet=bank, mode=mode)
    back = partial(idwt2, wavelet=bank, mode=mode, size_hw=size_hw)
    return [
        Trial("dwt2", forward, (x,), oracle.dwt2(x, bank, mode)),
        Trial("idwt2", back, (bands,), oracle.idwt2(bands, bank, mode, size_hw)),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("batch", "bank"), zip((1, 3, 1, 3), BANKS, strict=True))
def test_portable(
    batch: int, bank: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = [
        trial
        for size_hw in EVEN_ODD_PRIME_POWER
        for mode in MODES
        for trial in _trials(random_map(size_hw, batch=batch, channels=2, dtype=dtype), bank, mode)
    ]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        return [
            trial
            for bank, mode in [("haar", "zero"), ("db2", "symmetric"), ("db2", "periodization")]
            for trial in _trials(random_map((20, 23), batch=batch, dtype=dtype), bank, mode)
        ]

    try_form_with_any_batch(trials, tmp_path, form, measured)


def test_maps_smaller_than_the_filter(tmp_path: Path, measured: Callable[..., None]) -> None:
    modes = [mode for mode in MODES if mode != "reflect"]
    trials = [trial for mode in modes for trial in _trials(random_map((1, 3)), "db4", mode)]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = _trials(real_map(sample_data, dtype), "bior4.4", "symmetric")
    try_form(trials, tmp_path, "portable", measured)


def test_channels_last_input(tmp_path: Path, measured: Callable[..., None]) -> None:
    x = random_map((17, 22), layout="channels_last")
    trial = Trial(
        "dwt2",
        lambda x: dwt2(x.permute(0, 3, 1, 2), "db2", "reflect"),
        (x.permute(0, 2, 3, 1),),
        oracle.dwt2(x, "db2", "reflect"),
    )
    try_form([trial], tmp_path, "portable", measured)


def test_haar_is_one_convolution(tmp_path: Path) -> None:
    module = Apply(lambda x: dwt2(x, "haar", "periodization"))
    export_onnx(module, {"x": random_map((16, 18))}, tmp_path / "f.onnx")
    nodes = onnx.load(tmp_path / "f.onnx").graph.node
    assert [node.op_type for node in nodes] == ["Conv", "Reshape"]
