"""Gradients of depthwise convolutions with dilation, in bfloat16 on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from differseg.models import create_model
from differseg.training.dilated_depthwise import keep_in_float32
from differseg.training.loop import Recipe, Trainer

LAYOUT = torch.channels_last


def gradient(conv: nn.Conv2d, x: Tensor, reduced: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        y = conv(x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(y, conv.weight, direction.to(y.dtype))[0]


@pytest.mark.parametrize("dilation", [2, 3, 5])
def test_the_gradient_in_bfloat16_is_that_in_float32(dilation: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 24, 3, padding=dilation, dilation=dilation, groups=24)
    conv = conv.to(memory_format=LAYOUT)  # type: ignore[call-overload]
    x = torch.randn(2, 24, 30, 40).to(memory_format=LAYOUT)
    expected = gradient(conv, x, reduced=False)
    assert keep_in_float32(nn.Sequential(conv)) == ["0"]
    torch.testing.assert_close(gradient(conv, x, reduced=True), expected, rtol=1e-5, atol=1e-4)


def test_other_convolutions_stay_as_they_are() -> None:
    others = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8),  # no dilation
        nn.Conv2d(8, 8, 3, dilation=2),  # one group
        nn.Conv2d(1, 1, 3, dilation=2),  # one channel
    )
    assert keep_in_float32(others) == []


def types(model: nn.Module) -> dict[str, torch.dtype]:
    """Return what the dilated depthwise convolutions answer in, under autocast."""
    found = {}
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv2d) and conv.groups > 1 and max(conv.dilation) > 1:
            with torch.autocast("cpu", torch.bfloat16):
                found[name] = conv(torch.zeros(1, conv.in_channels, 16, 16)).dtype
    return found


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.float32), ("fp32", None)])
def test_training_on_a_cpu_keeps_them_in_float32(
    precision: str, expected: torch.dtype | None
) -> None:
    model = create_model("differseg-edge")
    Trainer(model, Recipe(1e-3, 0.0, 0.0, 0, 4), torch.device("cpu"), precision)
    found = types(model)
    assert len(found) == 8
    assert set(found.values()) == {expected or torch.bfloat16}
