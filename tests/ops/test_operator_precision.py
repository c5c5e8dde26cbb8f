"""Which precision operators compute in."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from differseg.ops.precision import exact, full_float32, rounded


def test_reduced_precision_is_computed_in_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.ones(2, dtype=dtype)
        assert exact(x).dtype == torch.float32
        assert rounded(exact(x), dtype).dtype == dtype
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(2, dtype=dtype)
        assert exact(x) is x
        assert rounded(x, dtype) is x


def test_tensor_float_32_is_off_for_maps_on_a_gpu_and_as_it_was_afterwards() -> None:
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with full_float32(SimpleNamespace(is_cuda=True)):
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
    with full_float32(torch.ones(1)):
        assert convolutions.fp32_precision == before
