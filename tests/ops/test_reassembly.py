"""Reassembly in PyTorch against the definition, its gradients, and what is built from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reassembly_oracle as oracle
import torch
from maps_under_test import (
    BATCHES_AND_LAYOUTS,
    EVEN_ODD_PRIME_POWER,
    LIMITS,
    random_map,
    real_map,
    relative_error,
)
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.ops.reassembly import hamming_window, normalize_kernels, reassemble
from differseg.ops.reassembly_forms import (
    Window,
    reassembled,
    reassembled_by_shifts,
    reassembled_by_sums,
)

pytestmark = pytest.mark.usefixtures("one_thread")
Options = dict[str, Any]
OPTIONS: list[Options] = [
    {"kernel_size": 5, "scale": 2, "normalize": "hamming"},
    {"kernel_size": 3, "normalize": "softmax", "border": "edge", "dilation": 16},
    {"kernel_size": 3, "groups": 2, "dilation": 64},
    {"kernel_size": 5, "groups": 4, "dilation": 3, "border": "edge", "normalize": "softmax"},
    {"kernel_size": 1, "scale": 4},
    {"kernel_size": 3, "scale": 3, "groups": 2, "border": "edge", "normalize": "hamming"},
    {"kernel_size": 9, "dilation": 2, "normalize": "softmax"},
    {"kernel_size": 7, "border": "edge"},
]
SMALL: list[Options] = [
    {"kernel_size": 3, "scale": 2, "groups": 2, "normalize": "hamming"},
    {"kernel_size": 3, "dilation": 2, "border": "edge", "normalize": "softmax"},
    {"kernel_size": 5, "scale": 1, "dilation": 3, "border": "edge"},
    {"kernel_size": 3, "scale": 3, "dilation": 64},
    {"kernel_size": 1, "scale": 2, "normalize": "softmax"},
]


def _kernels(x: Tensor, options: Options) -> Tensor:
    """Return logits, or kernels that sum to 1 where the operator is not to normalise them."""
    kernel_size, groups = options["kernel_size"], options.get("groups", 1)
    scale = options.get("scale", 1)
    size_hw = scale * x.shape[2], scale * x.shape[3]
    logits = torch.randn(x.shape[0], groups * kernel_size**2, *size_hw, dtype=torch.float64)
    if options.get("normalize", "none") == "none":
        logits = torch.from_numpy(oracle.normalized(logits, kernel_size, groups, "softmax"))
    return logits.to(x.dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize("size_hw", EVEN_ODD_PRIME_POWER)
def test_against_the_definition(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    case = EVEN_ODD_PRIME_POWER.index(size_hw) + 2 * BATCHES_AND_LAYOUTS.index((batch, layout))
    options = OPTIONS[case % len(OPTIONS)]
    channels = 32 if case % 3 == 0 else 8  # enough for the sums of pixels, or too few
    x = random_map(size_hw, batch=batch, channels=channels, dtype=dtype, layout=layout)
    kernels = _kernels(x, options)
    y = reassemble(x, kernels, **options)
    assert y.dtype == dtype
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    assert y.is_contiguous(memory_format=memory)
    error = relative_error(y, oracle.reassemble(x, kernels, **options))
    measured("reassemble", form="torch", dtype=_name(dtype), error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_other_precisions(
    options: Options, dtype: torch.dtype, measured: Callable[..., None]
) -> None:
    x = random_map((11, 9), channels=8, dtype=dtype)
    kernels = _kernels(x, options)
    y = reassemble(x, kernels, **options)
    assert y.dtype == dtype
    error = relative_error(y, oracle.reassemble(x, kernels, **options))
    measured("reassemble", form="torch", dtype=_name(dtype), error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x = real_map(sample_data, dtype)[..., 200:237, 300:345]
    for options in OPTIONS:
        if x.shape[1] % options.get("groups", 1):
            continue
        kernels = _kernels(x, options)
        error = relative_error(
            reassemble(x, kernels, **options), oracle.reassemble(x, kernels, **options)
        )
        measured("reassemble", form="torch", dtype=_name(dtype), error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("options", OPTIONS + SMALL, ids=str)
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 5), (20, 19)])
def test_both_forms_agree(options: Options, size_hw: tuple[int, int]) -> None:
    x = random_map(size_hw, channels=16, mean=0)
    kernels = _kernels(x, options)
    names = ("kernel_size", "scale", "dilation", "groups")
    window = Window(*(options.get(name, 1) for name in names), options.get("border", "zeros"))
    shifts, sums = (
        form(x, kernels, window) for form in (reassembled_by_shifts, reassembled_by_sums)
    )
    assert relative_error(sums, shifts) < 1e-6
    assert relative_error(reassembled(x, kernels, window), shifts) < 1e-6


def test_sums_of_pixels_work_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(5, 2, 1, 2, "edge")
    x = random_map((13, 11), channels=32)
    kernels = _kernels(x, {"kernel_size": 5, "scale": 2, "groups": 2})
    whole = reassembled_by_sums(x, kernels, window)
    monkeypatch.setattr("differseg.ops.reassembly_forms._ITEMS_PER_CHUNK", 3 * 4 * 11 * 25)
    assert torch.equal(reassembled_by_sums(x, kernels, window), whole)


def _peak_bytes(call: Callable[[], object]) -> int:
    """Return the most memory that a call held at a time, beyond what was there before."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def test_no_unfolded_or_upsampled_map_exists() -> None:
    """What is allocated stays within the kernels, the result and the map, and a copy of each."""
    options = {"kernel_size": 5, "scale": 2}
    x = random_map((64, 64), batch=1, channels=64)
    kernels = _kernels(x, options)
    for of in (x, x.double()):  # sums of pixels; shifts
        weights = kernels.to(of.dtype)
        peak = _peak_bytes(lambda of=of, weights=weights: reassemble(of, weights, **options))
        result = 4 * of.nbytes
        assert peak < 2 * (result + weights.nbytes + of.nbytes)


@pytest.mark.parametrize("size_hw", [(16, 16), (64, 64)])
@pytest.mark.parametrize("dilation", [1, 8, 64])
def test_a_far_border_is_not_filled(size_hw: tuple[int, int], dilation: int) -> None:
    """Pixels repeated beyond the border take no more than the map, however far the taps reach."""
    options = {"kernel_size": 3, "dilation": dilation, "border": "edge"}
    x = random_map(size_hw, batch=1, channels=64)
    kernels = _kernels(x, options)
    forward = _peak_bytes(lambda: reassemble(x, kernels, **options))
    assert forward < 4 * x.nbytes
    leaves = [leaf.clone().requires_grad_() for leaf in (x, kernels)]
    both = _peak_bytes(lambda: reassemble(*leaves, **options).square().sum().backward())
    assert both < 8 * x.nbytes


def test_gradients_of_both_ways_to_repeat_the_border() -> None:
    for size_hw, dilation in (((8, 7), 1), ((5, 6), 2), ((5, 6), 4), ((3, 4), 64)):
        options = {"kernel_size": 3, "dilation": dilation, "border": "edge", "groups": 2}
        x = torch.randn(1, 4, *size_hw, dtype=torch.float64)
        kernels = _kernels(x, options).requires_grad_()
        call = lambda a, b, options=options: reassemble(a, b, **options)  # noqa: E731
        assert torch.autograd.gradcheck(call, (x.requires_grad_(), kernels))


def test_kernels_on_another_device_are_refused() -> None:
    x = torch.randn(1, 2, 3, 4)
    with pytest.raises(InputError, match=r"kernels are torch\.float32 on meta, expected"):
        reassemble(x, torch.randn(1, 9, 3, 4, device="meta"), kernel_size=3)


def test_normalizer_is_softmax_times_window() -> None:
    for kernel_size, groups in ((3, 1), (5, 2), (1, 3)):
        logits = torch.randn(2, groups * kernel_size**2, 4, 5)
        for window, normalize in (("none", "softmax"), ("hamming", "hamming")):
            kernels = normalize_kernels(
                logits, kernel_size=kernel_size, groups=groups, window=window
            )
            expected = oracle.normalized(logits, kernel_size, groups, normalize)
            assert relative_error(kernels, expected) < 1e-6
            sums = kernels.unflatten(1, (groups, -1)).sum(2)
            assert torch.allclose(sums, torch.ones(()), atol=1e-6)
    half = normalize_kernels(torch.full((1, 9, 2, 2), 300.0).half(), kernel_size=3)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), torch.full((), 1 / 9), rtol=1e-3)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_hamming_window_is_that_of_numpy(kernel_size: int) -> None:
    side = np.hamming(kernel_size)
    assert relative_error(hamming_window(kernel_size), np.outer(side, side)) < 1e-12


def test_frequency_pair() -> None:
    """FreqFusion: of a constant the low-pass keeps everything but at the border, the high-pass
    nothing; together they are the map.
    """
    x = torch.full((1, 3, 12, 14), 7.0)
    logits = torch.randn(1, 9, 12, 14)
    low = reassemble(x, logits, kernel_size=3, normalize="hamming")
    high = x - low
    assert torch.allclose(low[..., 1:-1, 1:-1], x[..., 1:-1, 1:-1])
    assert high[..., 1:-1, 1:-1].abs().max() < 1e-5
    assert (low[..., 0, :] < 7.0).all(), "taps outside count as zero and are not renormalised"
    sharpened = x + x - low
    assert torch.allclose(sharpened, x + high)


def test_local_relations() -> None:
    """Spatial frequency modulation: 3x3 relations at growing dilations over a repeated border."""
    f = random_map((12, 10), channels=4, mean=0, dtype=torch.float64)
    expected = f
    for dilation in (1, 2, 4, 8, 16, 32, 64):
        logits = torch.randn(2, 9, 12, 10, dtype=torch.float64)
        f = reassemble(
            f, logits, kernel_size=3, dilation=dilation, border="edge", normalize="softmax"
        )
        padded = nn.functional.pad(expected, (dilation,) * 4, mode="replicate")
        taps = nn.functional.unfold(padded, 3, dilation=dilation).view(2, 4, 9, 12, 10)
        expected = (taps * logits.softmax(1)[:, None]).sum(2)
        assert relative_error(f, expected) < 1e-13


@pytest.mark.parametrize("options", SMALL, ids=str)
def test_gradients(options: Options) -> None:
    for size_hw in ((3, 4), (1, 2)):
        x = torch.randn(2, 4, *size_hw, dtype=torch.float64)
        kernels = _kernels(x, options).requires_grad_()
        x.requires_grad_()
        assert torch.autograd.gradcheck(lambda a, b: reassemble(a, b, **options), (x, kernels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradients_in_lower_precision(dtype: torch.dtype, memory: torch.memory_format) -> None:
    options = {"kernel_size": 5, "scale": 2, "groups": 2, "normalize": "hamming"}
    x = random_map((12, 11), channels=32, mean=0, dtype=dtype)
    kernels = _kernels(x, options)
    weights = torch.randn(2, 32, 24, 22).to(dtype)
    grads = []
    for precision in (dtype, torch.float64):
        leaves = [
            leaf.to(precision).contiguous(memory_format=memory).detach().requires_grad_()
            for leaf in (x, kernels)
        ]
        (reassemble(*leaves, **options) * weights.to(precision)).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for y, reference in zip(*grads, strict=True):
        assert y.dtype == dtype
        assert relative_error(y, reference) < LIMITS[dtype]


def test_gradient_of_a_gradient_is_refused() -> None:
    x = torch.randn(1, 2, 3, 4, requires_grad=True)
    y = reassemble(x, torch.randn(1, 9, 3, 4, requires_grad=True), kernel_size=3)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="reassemble_map_gradient"):
        grad.sum().backward()


@pytest.mark.parametrize("options", SMALL, ids=str)
def test_registered_operator_is_well_formed(options: Options) -> None:
    defaults = {"scale": 1, "dilation": 1, "groups": 1, "border": "zeros", "normalize": "none"}
    attributes = list({"kernel_size": 3, **defaults, **options}.values())
    for memory in (torch.contiguous_format, torch.channels_last):
        x = random_map((5, 6), channels=32, mean=0)
        kernels = _kernels(x, options)
        x, kernels = (a.contiguous(memory_format=memory).requires_grad_() for a in (x, kernels))
        torch.library.opcheck(torch.ops.differseg.reassemble.default, (x, kernels, *attributes))


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Conv2d(16, 25, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        upsampled = nn.functional.interpolate(self.logits(x), scale_factor=2)
        kernels = normalize_kernels(upsampled, kernel_size=5, window="hamming")
        low = reassemble(x, kernels, kernel_size=5, scale=2)
        return low - reassemble(
            low, upsampled[:, :9], kernel_size=3, dilation=2, border="edge", normalize="softmax"
        )


def test_compile_and_export() -> None:
    x = random_map((6, 7), channels=16, mean=0)
    model = _Pair()
    grads = []
    for call in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        model.zero_grad()
        call(leaf).square().sum().backward()
        grads.append((leaf.grad, model.logits.weight.grad.clone()))
    for eager, compiled in zip(*grads, strict=True):
        assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-5)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.reassemble.default") == 2
    other = random_map((6, 7), batch=5, channels=16)
    assert torch.allclose(program.module()(other), model(other), atol=1e-5)


def _call(x: Tensor, shape: tuple[int, ...] = (2, 9, 6, 7), **options: Any) -> Tensor:
    return reassemble(x, x.new_zeros(shape), **{"kernel_size": 3, **options})


REFUSED = [
    (lambda x: _call(x[0]), "reassemble: x has 3 axes, shape (4, 6, 7), expected (N, C, H, W); "),
    (lambda x: _call(x.int()), "reassemble: x has torch.int32, expected torch.float32"),
    (lambda x: _call(x, (9, 6, 7)), "reassemble: kernels has 3 axes"),
    (lambda x: reassemble(x, x.new_zeros(2, 9, 6, 7).half(), kernel_size=3), "kernels.to(x)"),
    (lambda x: _call(x, (2, 25, 6, 7)), "kernels have shape (2, 25, 6, 7), expected (N, groups"),
    (lambda x: _call(x, (2, 9, 6, 7), groups=2), "= (2, 18, 6, 7) for x (2, 4, 6, 7); "),
    (lambda x: _call(x, (2, 9, 11, 14), scale=2), "(2, 9, 11, 14), expected (N, groups"),
    (lambda x: _call(x, (1, 9, 6, 7)), "= (2, 9, 6, 7) for x"),
    (lambda x: _call(x, groups=3), "groups is 3, expected a divisor of the 4 channels of x"),
    (lambda x: _call(x, groups=5), "groups is 5, expected a whole number from 1 to 4"),
    (lambda x: _call(x, kernel_size=4), "kernel_size is 4, expected an odd number from 1 to 9"),
    (lambda x: _call(x, kernel_size=11), "kernel_size is 11, expected a whole number from 1 to 9"),
    (lambda x: _call(x, kernel_size=3.0), "kernel_size is 3.0, expected a whole number"),
    (lambda x: _call(x, scale=5), "scale is 5, expected a whole number from 1 to 4; "),
    (lambda x: _call(x, scale=True), "scale is True, expected a whole number from 1 to 4; "),
    (lambda x: _call(x, dilation=0), "dilation is 0, expected a whole number from 1 to 64; "),
    (lambda x: _call(x, dilation=65), "dilation is 65, expected a whole number from 1 to 64; "),
    (lambda x: _call(x, border="edges"), "expected one of 'zeros', 'edge'; did you mean 'edge'?"),
    (lambda x: _call(x, normalize="sigmoid"), "one of 'none', 'softmax', 'hamming'; "),
    (lambda x: normalize_kernels(x, kernel_size=3), "logits have 4 channels, expected groups * k"),
    (lambda x: normalize_kernels(x, kernel_size=1, groups=4, window="hann"), "window is 'hann'"),
    (lambda x: x + hamming_window(2).sum(), "hamming_window: kernel_size is 2, expected an odd"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[Tensor], Tensor], text: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 4, 6, 7)
    for attempt in (lambda: call(x), lambda: torch.export.export(Wrong(), (x,))):
        with pytest.raises(InputError) as caught:
            attempt()
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_refused_by_torch_compile_too() -> None:
    compiled = torch.compile(lambda x: _call(x, scale=9), backend="aot_eager")
    with pytest.raises(InputError, match="scale is 9"):
        compiled(torch.randn(2, 4, 6, 7))
