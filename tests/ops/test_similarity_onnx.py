"""Local similarity in ONNX Runtime, every spelling, against its definition in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import similarity_oracle as oracle
import torch
from maps_under_test import random_map, real_map
from onnx_forms import FORMS, Trial, session_of, try_form, try_form_with_any_batch
from operator_networks import Apply
from torch import Tensor

from differseg.export import export_onnx, rtx
from differseg.ops.similarity import local_similarity

pytestmark = pytest.mark.usefixtures("one_thread")
TRIALS = [((16, 15), 3, 2), ((13, 32), 3, 1), ((18, 31), 5, 3), ((12, 14), 7, 1), ((9, 20), 5, 5)]
"""Height and width, kernel size, dilation; the last reach beyond the map."""


def _trial(x: Tensor, kernel_size: int, dilation: int) -> Trial:
    call = partial(local_similarity, kernel_size=kernel_size, dilation=dilation)
    expected = torch.from_numpy(oracle.local_similarity(x, kernel_size, dilation))
    return Trial("local_similarity", call, (x,), expected)


def _run(x: Tensor, path: Path, **options: int) -> np.ndarray:
    """Export, run in ONNX Runtime."""
    export_onnx(Apply(partial(local_similarity, **options)), {"x": x}, path, verify=False)
    result: np.ndarray = session_of(path).run(None, {"x": x.numpy()})[0]
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_portable(
    batch: int, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    trials = [
        _trial(random_map(size, batch=batch, channels=6, mean=mean, dtype=dtype), taps, dilation)
        for mean, (size, taps, dilation) in zip((0, 10, 0, 10, 0), TRIALS, strict=True)
    ]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        return [
            _trial(random_map((12, 13), batch=batch, mean=0, dtype=dtype), 3, dilation)
            for dilation in (1, 2, 12)
        ]

    try_form_with_any_batch(trials, tmp_path, form, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    x = real_map(sample_data, dtype)[..., 200:247, 300:341]
    try_form([_trial(x, 3, 2)], tmp_path, "portable", measured)


def test_many_large_values_do_not_overflow_half_precision(
    tmp_path: Path, measured: Callable[..., None]
) -> None:
    x = random_map((10, 12), channels=256, mean=10, dtype=torch.float16)
    large = 200 * random_map((10, 12), channels=256, mean=1, dtype=torch.float16)
    try_form([_trial(x, 3, 2), _trial(large, 3, 2)], tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_zero_pixels_have_similarity_zero(dtype: torch.dtype, tmp_path: Path) -> None:
    x = random_map((8, 9), mean=0, dtype=dtype)
    x[..., 3:5, 2:7] = 0
    y = _run(x, tmp_path / "f.onnx", kernel_size=3, dilation=1)
    assert np.isfinite(y).all()
    assert (y[..., 3:5, 2:7] == 0).all()


def test_neighbours_that_all_lie_outside(tmp_path: Path) -> None:
    y = _run(random_map((5, 6)), tmp_path / "f.onnx", kernel_size=3, dilation=64)
    assert y.shape == (2, 8, 5, 6)
    assert (y == 0).all()


def test_no_tensor_is_larger_than_the_map_and_half_the_sums_are_made(tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    export_onnx(Apply(local_similarity), {"x": torch.ones(1, 64, 40, 48)}, path, verify=False)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
    shapes = [
        [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in model.graph.value_info
    ]
    assert max(math.prod(shape) for shape in shapes) <= 64 * 40 * 48
    sums = [node for node in model.graph.node if node.op_type == "ReduceSum"]
    assert len(sums) == 1 + 4  # the norms, and one for every two opposite neighbours


@pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 2), (5, 1)])
def test_nvidia_builds_it(
    kernel_size: int, dilation: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    call = partial(local_similarity, kernel_size=kernel_size, dilation=dilation)
    x = random_map((24, 31), batch=1, channels=16, dtype=dtype)
    export_onnx(Apply(call), {"x": x}, tmp_path / "f.onnx", verify=False)
    report = rtx.build(tmp_path / "f.onnx", threads=1)
    assert report.passed, report.reason or report.errors
