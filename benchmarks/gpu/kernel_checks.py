"""Every kernel against the PyTorch operator in float64, on random and adversarial inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from kernel_library import MODES, NORMALIZATIONS, NORMS, Kernels, Launch
from torch import Tensor

import differseg.ops  # noqa: F401 (registers the operators)

LIMITS = {torch.float32: 1e-5, torch.float16: 5e-3}
"""Largest error, ``max |y - reference| / max |reference|``."""

_ROOT = math.sqrt(3)
DAUBECHIES_2 = tuple(n / (4 * math.sqrt(2)) for n in (1 - _ROOT, 3 - _ROOT, 3 + _ROOT, 1 + _ROOT))
HAAR = (math.sqrt(0.5), math.sqrt(0.5))
FILTERS = {
    "2 taps": HAAR,
    "4 taps": DAUBECHIES_2,
    "6 taps": (0.04, -0.1, 0.7, 0.6, 0.2, -0.03),
    "8 taps": (0.23, 0.71, 0.63, -0.03, -0.19, 0.03, 0.03, -0.01),
    "10 taps": (0.0, 0.04, -0.02, -0.11, 0.38, 0.85, 0.38, -0.11, -0.02, 0.04),
    "40 taps": tuple(math.sin(1 + i) / (1 + abs(i - 20)) for i in range(40)),
}
"""Low-pass filters; any numbers are a filter to the kernels."""

QUICK_SIZES = [(1, 1), (5, 8), (12, 20), (13, 17)]
SIZES = [*QUICK_SIZES, (1, 64), (31, 64), (45, 48), (60, 80), (127, 251), (240, 320), (480, 640)]
LONG_LINES = [(1, 4093), (4096, 3), (3, 4099), (2049, 2), (5600, 1), (2, 6250), (8192, 1)]
# More long lines than there are blocks for them: a block does another with the same buffers.
LONG_LINES.append((260, 5632))
MOST_WEIGHTS = 2e7
"""Kernel weights of one reassembly; larger cases are left out, float64 has to hold them too."""


@dataclass(frozen=True)
class Case:
    """One call of one kernel and what it must give."""

    operator: str
    text: str
    launch: Launch
    expected: Tensor
    """float64."""


def high_pass(low: tuple[float, ...]) -> tuple[float, ...]:
    """Return the mirror filter of a low-pass one."""
    return tuple((-1) ** (i + 1) * tap for i, tap in enumerate(reversed(low)))


def _random(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(*shape, device=device).to(dtype)


def _mean_10(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return (torch.randn(*shape, device=device) + 10).to(dtype)


def _huge_mean(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    scale = 1e30 if dtype == torch.float32 else 1e3
    return (scale * (1 + 1e-2 * torch.randn(*shape, device=device))).to(dtype)


def _denormal(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    scale = 5e-39 if dtype == torch.float32 else 1e-6
    return (scale * torch.randn(*shape, device=device, dtype=torch.float64)).to(dtype)


def _zeros(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.zeros(*shape, dtype=dtype, device=device)


INPUTS: dict[str, Callable[..., Tensor]] = {
    "random": _random,
    "mean 10": _mean_10,
    "huge mean": _huge_mean,
    "denormal": _denormal,
    "zeros": _zeros,
}


def fourier_cases(
    kernels: Kernels,
    make: Callable[..., Tensor],
    batch: int,
    size: tuple[int, int],
    norm: str,
    norm_of_inverse: str,
) -> Iterator[Case]:
    """Both transforms, the inverse of a spectrum that belongs to no real map."""
    height, width = size
    x = make(batch, 2, height, width)
    transformed = torch.fft.rfft2(x.double(), norm=norm)
    expected = torch.stack((transformed.real, transformed.imag), 2)
    yield Case("rfft2", norm, kernels.rfft2(x, norm), expected)
    spectrum = make(batch, 2, 2, height, width // 2 + 1)
    joined = torch.complex(*spectrum.double().unbind(2))
    expected = torch.fft.irfft2(joined, s=size, norm=norm_of_inverse)
    launch = kernels.irfft2(spectrum, width, norm_of_inverse)
    yield Case("irfft2", norm_of_inverse, launch, expected)


def wavelet_cases(
    kernels: Kernels,
    make: Callable[..., Tensor],
    batch: int,
    size: tuple[int, int],
    taps: str,
    mode: str,
) -> Iterator[Case]:
    """Decomposition, and reconstruction of bands that belong to no map."""
    # The operators take the filters in float32, as the kernels do.
    low = torch.tensor(FILTERS[taps]).tolist()
    high = torch.tensor(high_pass(FILTERS[taps])).tolist()
    x = make(batch, 2, *size)
    expected = torch.ops.differseg.dwt2(x.double(), low, high, mode)
    yield Case("dwt2", f"{taps}, {mode}", kernels.dwt2(x, low, high, mode), expected)
    bands = make(*expected.shape)
    # Details have no mean; together with the average's it might cancel and leave only rounding.
    bands[:, :, 1:] -= bands[:, :, 1:].float().mean((0, 1, 3, 4), keepdim=True).to(bands.dtype)
    launch = kernels.idwt2(bands, low, high, mode, size)
    expected = torch.ops.differseg.idwt2(bands.double(), low, high, mode, *size)
    yield Case("idwt2", f"{taps}, {mode}", launch, expected)


def reassembly_case(
    kernels: Kernels,
    make: Callable[..., Tensor],
    batch: int,
    size: tuple[int, int],
    **attributes: int | str,
) -> Case:
    """Reassembly of two channels a group with random logits."""
    groups, scale = int(attributes["groups"]), int(attributes["scale"])
    x = make(batch, 2 * groups, *size)
    taps = groups * int(attributes["kernel_size"]) ** 2
    logits = torch.randn(batch, taps, scale * size[0], scale * size[1], device=x.device)
    logits = logits.to(x.dtype)
    expected = torch.ops.differseg.reassemble(x.double(), logits.double(), **attributes)
    text = ", ".join(f"{name} {value}" for name, value in attributes.items())
    return Case("reassemble", text, kernels.reassemble(x, logits, **attributes), expected)  # type: ignore[arg-type]


def similarity_case(
    kernels: Kernels,
    make: Callable[..., Tensor],
    batch: int,
    size: tuple[int, int],
    kernel_size: int,
    dilation: int,
) -> Case:
    """Similarity over eleven channels, which four slices share unevenly."""
    x = make(batch, 11, *size)
    expected = torch.ops.differseg.local_similarity(x.double(), kernel_size, dilation)
    launch = kernels.local_similarity(x, kernel_size, dilation)
    return Case("local_similarity", f"k {kernel_size}, d {dilation}", launch, expected)


def cases(
    kernels: Kernels, dtype: torch.dtype, kind: str, *, device: str, quick: bool
) -> Iterator[Case]:
    """Walk the cases of one dtype and one kind of input."""
    make = partial(INPUTS[kind], dtype=dtype, device=device)
    sizes = QUICK_SIZES if quick or kind not in ("random", "mean 10") else SIZES
    # In float16, sums of many large numbers have no place: there the mean is taken either way.
    is_narrow = dtype == torch.float16 and kind in ("mean 10", "huge mean")
    norms = [("forward", "backward")] if is_narrow else [(norm, norm) for norm in NORMS]
    for turn, size in enumerate(sizes):
        batch = 16 if size == (1, 1) else (1, 3)[turn % 2]
        for both in norms:
            yield from fourier_cases(kernels, make, batch, size, *both)
        for number, taps in enumerate(FILTERS):
            for mode in MODES if quick else (MODES[(turn + number) % 5], "periodization"):
                if mode != "reflect" or 1 not in size:
                    yield from wavelet_cases(kernels, make, batch, size, taps, mode)
        yield from _window_cases(kernels, make, batch, size, kind, turn)
    if not quick and kind == "random" and dtype == torch.float32:
        for size in LONG_LINES:
            yield from fourier_cases(kernels, make, 1, size, "ortho", "ortho")


def _window_cases(
    kernels: Kernels,
    make: Callable[..., Tensor],
    batch: int,
    size: tuple[int, int],
    kind: str,
    turn: int,
) -> Iterator[Case]:
    for kernel_size in (1, 3, 5, 7, 9):
        for scale in (1, 2, 3, 4):
            for dilation in (1, 3):
                turn += 1
                if batch * (kernel_size * scale) ** 2 * math.prod(size) > MOST_WEIGHTS:
                    continue
                yield reassembly_case(
                    kernels, make, batch, size, kernel_size=kernel_size, scale=scale,
                    dilation=dilation, groups=1 + turn % 2, border=("zeros", "edge")[turn % 2],
                    normalize=NORMALIZATIONS[turn % 3],
                )  # fmt: skip
    if kind in ("random", "mean 10", "zeros"):  # squares of the others leave float32's range
        for kernel_size in (3, 5, 7, 9):
            for dilation in (1, 2, 64):
                yield similarity_case(kernels, make, batch, size, kernel_size, dilation)


def error_of(case: Case) -> float:
    """Run a case on poisoned buffers, twice, and return its error.

    Infinite where something was left unwritten, written beyond the end, or differs between runs,
    and where what is expected is no finite number: that would be a mistake of the check.
    """
    case.launch.poison()
    case.launch.run()
    first = case.launch.out.clone()
    case.launch.run()
    if not (case.launch.is_guarded() and torch.equal(first, case.launch.out)):
        return math.inf  # NaN differs from itself as well
    difference = (first.double() - case.expected).abs().max().item()
    difference -= 2 * torch.finfo(first.dtype).smallest_normal * torch.finfo(first.dtype).eps
    largest = case.expected.abs().max().item()
    if not (math.isfinite(difference) and math.isfinite(largest)):
        return math.inf
    return max(0.0, difference) / largest if largest > 0 else max(0.0, difference)


def capture_error(case: Case) -> float:
    """Capture a case into a CUDA graph, and return the error of its replay."""
    case.launch.run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case.launch.run()
    case.launch.poison()
    graph.replay()
    torch.cuda.synchronize()
    difference = (case.launch.out.double() - case.expected).abs().max()
    error = float(difference / case.expected.abs().max())
    return error if math.isfinite(error) else math.inf
