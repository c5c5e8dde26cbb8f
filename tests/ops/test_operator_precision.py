"""Which precision operators compute in, and that no setting of the process or caller changes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from operator_networks import SINGLE
from torch import Tensor

from differseg.ops import precision
from differseg.ops.gaussian import gaussian_highpass, gaussian_lowpass
from differseg.ops.precision import convolution, exact, rounded
from differseg.ops.pyramid import laplacian_pyramid, reconstruct_pyramid
from differseg.ops.saliency import saliency_displacement
from differseg.ops.sampling import displacement_to_positions, warp
from differseg.ops.spectrum import amplitude, from_amplitude_phase, phase
from differseg.ops.wavelet import dwt2, idwt2

pytestmark = pytest.mark.usefixtures("one_thread")
Call = Callable[..., Tensor]

OTHERS: dict[str, tuple[Call, list[tuple[int, ...]]]] = {
    "long filters": (
        lambda x: idwt2(dwt2(x, "sym6", "reflect"), "sym6", "reflect"), [(1, 4, 24, 30)]
    ),
    "learned sigma": (
        lambda x, sigma: gaussian_lowpass(x, 1 + sigma.square(), 7), [(1, 4, 24, 30), (4,)]
    ),
    "highpass": (lambda x: gaussian_highpass(x, 1.0, border="edge"), [(1, 4, 24, 30)]),
    "pyramid": (lambda x: reconstruct_pyramid(laplacian_pyramid(x, 2)), [(1, 4, 24, 30)]),
    "saliency warp": (
        lambda x: warp(x, displacement_to_positions(saliency_displacement(x[:, :1].square()))),
        [(1, 4, 24, 30)],
    ),
    "polar": (lambda z: from_amplitude_phase(amplitude(z), phase(z)), [(1, 4, 2, 24, 16)]),
}  # fmt: skip
"""What is made of operators, or runs in their second form."""

CALLS: dict[str, Callable[[], tuple[Call, list[Tensor]]]] = {
    **{
        name: lambda case=case: (
            case.module(torch.float32),
            list(case.inputs(torch.float32, mean=10.0).values()),
        )
        for name, case in SINGLE.items()
    },
    **{
        name: lambda call=call, shapes=shapes: (call, [torch.randn(shape) for shape in shapes])
        for name, (call, shapes) in OTHERS.items()
    },
}


def _result_and_gradients(call: Call, inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = [leaf.clone().requires_grad_() for leaf in inputs]
    y = call(*leaves)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), leaves)]


def test_reduced_precision_is_computed_in_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.ones(2, dtype=dtype)
        assert exact(x).dtype == torch.float32
        assert rounded(exact(x), dtype).dtype == dtype
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(2, dtype=dtype)
        assert exact(x) is x
        assert rounded(x, dtype) is x


@pytest.mark.parametrize("reduced", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_autocast_changes_nothing(name: str, reduced: torch.dtype) -> None:
    call, inputs = CALLS[name]()
    expected = _result_and_gradients(call, inputs)
    with torch.autocast("cpu", dtype=reduced):
        got = _result_and_gradients(call, inputs)
    for y, reference in zip(got, expected, strict=True):
        assert y.dtype == reference.dtype
        assert torch.equal(y, reference)


def test_convolutions_run_outside_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU autocast reaches the convolution below the ones of ``torch.nn.functional`` too."""
    seen = []
    inner = precision._convolution

    def recorded(*arguments: object) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return inner(*arguments)

    monkeypatch.setattr(precision, "_convolution", recorded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = convolution(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
        assert torch.is_autocast_enabled("cpu")
    assert y.dtype == torch.float32
    convolution(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    assert seen == [False, False]


@pytest.mark.parametrize("name", CALLS)
def test_no_convolution_may_round_to_tensor_float_32(name: str) -> None:
    call, inputs = CALLS[name]()
    before = torch.backends.cudnn.conv.fp32_precision
    with torch.profiler.profile(record_shapes=True) as profile:
        _result_and_gradients(call, inputs)
    assert torch.backends.cudnn.conv.fp32_precision == before
    events = profile.profiler.kineto_results.events()
    allowed = [
        event.concrete_inputs()[12] for event in events if event.name() == "aten::_convolution"
    ]
    assert not any(allowed)
    of_convolutions = ("dwt2", "idwt2", "gaussian", "saliency_displacement", *OTHERS)
    assert bool(allowed) == (name in of_convolutions and name != "polar")
    called = {event.name() for event in events}
    assert not called & {"aten::convolution", "aten::conv2d", "aten::conv_transpose2d"}
