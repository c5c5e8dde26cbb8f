"""Samplers and saliency in ONNX Runtime, every spelling, against the definitions in float64.

GridSample takes places relative to the map's size in float32, which loses up to 1e-7 of the size
in pixels; on maps of some tens of pixels that is far below the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sampling_oracle as oracle
import torch
from maps_under_test import random_map, real_map
from onnx_forms import FORMS, Trial, try_form, try_form_with_any_batch
from torch import Tensor

from differseg.ops import (
    gaussian_lowpass,
    invert_displacement,
    normalized_saliency,
    saliency_displacement,
    sample_offsets,
    warp,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES_HW = [(16, 15), (13, 32), (18, 31)]
"""Even, odd, prime and power-of-two extents, as small as the oracle's loops want them."""


def _trial(operator: str, call: Callable[..., Tensor], *inputs: Tensor) -> Trial:
    """Pair a call with the oracle of the same name and keywords."""
    function = getattr(oracle, operator)
    keywords = call.keywords if isinstance(call, partial) else {}
    return Trial(operator, call, inputs, torch.from_numpy(function(*inputs, **keywords)))


def _trials(x: Tensor) -> list[Trial]:
    """Return a trial of every sampler on a map ``(N, 4, H, W)`` and what is learned from it."""
    batch, _, height, width = x.shape
    positions = (
        torch.rand(batch, 2, 9, 11) * torch.tensor([width + 3, height + 3]).view(2, 1, 1) - 2
    )
    offsets = torch.randn(batch, 2 * 2 * 4, height, width).to(x.dtype)
    saliency = normalized_saliency(torch.randn(batch, 1, height, width)).to(x.dtype)
    field = gaussian_lowpass(torch.randn(batch, 2, height, width) * 3, 2.0)
    return [
        _trial("warp", warp, x, positions),
        _trial("sample_offsets", partial(sample_offsets, scale=2, groups=2), x, offsets),
        _trial(
            "saliency_displacement", partial(saliency_displacement, radius=5, fwhm=3.0), saliency
        ),
        _trial("invert_displacement", partial(invert_displacement, iterations=10), field),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_portable(
    batch: int, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    maps = (random_map(size, batch=batch, channels=4, dtype=dtype) for size in SIZES_HW)
    trials = [trial for x in maps for trial in _trials(x)]
    try_form(trials, tmp_path, "portable", measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forms_with_a_batch_that_varies(
    form: str, dtype: torch.dtype, tmp_path: Path, measured: Callable[..., None]
) -> None:
    def trials(batch: int) -> list[Trial]:
        return _trials(random_map((14, 17), batch=batch, channels=4, dtype=dtype))

    try_form_with_any_batch(trials, tmp_path, form, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_photograph(
    dtype: torch.dtype, sample_data: Path, tmp_path: Path, measured: Callable[..., None]
) -> None:
    photograph = real_map(sample_data, dtype)[..., 200:231, 300:328]
    x = torch.cat([photograph, photograph[:, :1]], 1)
    try_form(_trials(x), tmp_path, "portable", measured)


@pytest.mark.parametrize(("scale", "groups"), [(1, 1), (3, 4), (4, 2)])
def test_scales_and_groups(
    scale: int, groups: int, tmp_path: Path, measured: Callable[..., None]
) -> None:
    x = random_map((9, 10), channels=4)
    offsets = torch.randn(x.shape[0], 2 * groups * scale**2, 9, 10)
    call = partial(sample_offsets, scale=scale, groups=groups)
    try_form([_trial("sample_offsets", call, x, offsets)], tmp_path, "portable", measured)
