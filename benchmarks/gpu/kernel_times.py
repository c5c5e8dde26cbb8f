"""Times of the kernels beside a copy of as many bytes, the PyTorch form and torch.fft.

A candidate is captured into a CUDA graph that runs it once on each of several sets of buffers,
together larger than three L2 caches, so that every run finds its inputs in device memory. The
graphs of one case are replayed in turn; a figure is the median of many replays.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from kernel_checks import FILTERS, high_pass
from kernel_library import Kernels, Launch
from torch import Tensor

Run = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """What is timed of one operator: ``prepare`` makes a set of buffers and the runs on it."""

    operator: str
    text: str
    dtype: torch.dtype
    prepare: Callable[[], tuple[list[Tensor], Launch, dict[str, Run]]]


@dataclass
class Times:
    """Medians of one contest, microseconds a run."""

    operator: str
    text: str
    dtype: str
    bytes_moved: int
    """Inputs and output, each once."""
    kernel_us: float = math.nan
    copy_us: float = math.nan
    others_us: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def contests(
    kernels: Kernels, size: tuple[int, int], channels: int, *, device: str = "cuda"
) -> Iterator[Contest]:
    """Walk the operators at one size; that of reassembly's output where it enlarges."""
    for dtype in (torch.float32, torch.float16):
        make = partial(_noise, dtype=dtype, device=device)
        shape = (1, channels, *size)
        yield Contest("rfft2", "ortho", dtype, partial(_rfft2, kernels, make, shape))
        yield Contest("irfft2", "ortho", dtype, partial(_irfft2, kernels, make, shape))
        for taps in ("2 taps", "4 taps", "10 taps"):
            for mode in ("periodization", "symmetric")[: 1 + (taps == "4 taps")]:
                text = f"{taps}, {mode}"
                prepare = partial(_dwt2, kernels, make, shape, taps, mode)
                yield Contest("dwt2", text, dtype, prepare)
                prepare = partial(_idwt2, kernels, make, shape, taps, mode)
                yield Contest("idwt2", text, dtype, prepare)
        for kernel_size, scale, dilation, border, normalize in [
            (3, 1, 1, "edge", "softmax"),
            (3, 1, 4, "edge", "softmax"),
            (5, 1, 1, "zeros", "hamming"),
            (3, 2, 1, "zeros", "hamming"),
            (5, 2, 1, "zeros", "hamming"),
        ]:
            attributes: dict[str, int | str] = {
                "kernel_size": kernel_size, "scale": scale, "dilation": dilation, "groups": 1,
                "border": border, "normalize": normalize,
            }  # fmt: skip
            small = (1, channels, size[0] // scale, size[1] // scale)
            prepare = partial(_reassemble, kernels, make, small, attributes)
            text = f"k {kernel_size}, s {scale}, d {dilation}"
            yield Contest("reassemble", text, dtype, prepare)
        for kernel_size in (3, 5):
            prepare = partial(_similarity, kernels, make, shape, kernel_size)
            yield Contest("local_similarity", f"k {kernel_size}, d 2", dtype, prepare)


def _noise(*shape: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.randn(*shape, device=device).to(dtype)


Prepared = tuple[list[Tensor], Launch, dict[str, Run]]


def _rfft2(kernels: Kernels, make: Callable[..., Tensor], shape: tuple[int, ...]) -> Prepared:
    x = make(*shape)
    others: dict[str, Run] = {"PyTorch": lambda: torch.ops.differseg.rfft2(x, "ortho")}
    if x.dtype == torch.float32:
        others["torch.fft"] = lambda: torch.fft.rfft2(x, norm="ortho")
    return [x], kernels.rfft2(x, "ortho"), others


def _irfft2(kernels: Kernels, make: Callable[..., Tensor], shape: tuple[int, ...]) -> Prepared:
    height, width = shape[2:]
    x = make(*shape[:2], 2, height, width // 2 + 1)
    others: dict[str, Run] = {"PyTorch": lambda: torch.ops.differseg.irfft2(x, width, "ortho")}
    if x.dtype == torch.float32:
        joined = torch.complex(*x.unbind(2))
        others["torch.fft"] = lambda: torch.fft.irfft2(joined, s=(height, width), norm="ortho")
    return [x], kernels.irfft2(x, width, "ortho"), others


def _bank(taps: str) -> tuple[list[float], list[float]]:
    return list(FILTERS[taps]), list(high_pass(FILTERS[taps]))


def _dwt2(
    kernels: Kernels, make: Callable[..., Tensor], shape: tuple[int, ...], taps: str, mode: str
) -> Prepared:
    x, bank = make(*shape), _bank(taps)
    others: dict[str, Run] = {"PyTorch": lambda: torch.ops.differseg.dwt2(x, *bank, mode)}
    return [x], kernels.dwt2(x, *bank, mode), others


def _idwt2(
    kernels: Kernels, make: Callable[..., Tensor], shape: tuple[int, ...], taps: str, mode: str
) -> Prepared:
    bank, size = _bank(taps), (shape[2], shape[3])
    like = torch.ops.differseg.dwt2(make(*shape), *bank, mode)
    bands = make(*like.shape)
    others: dict[str, Run] = {
        "PyTorch": lambda: torch.ops.differseg.idwt2(bands, *bank, mode, *size)
    }
    return [bands], kernels.idwt2(bands, *bank, mode, size), others


def _reassemble(
    kernels: Kernels,
    make: Callable[..., Tensor],
    shape: tuple[int, ...],
    attributes: dict[str, int | str],
) -> Prepared:
    x, scale = make(*shape), int(attributes["scale"])
    logits = make(1, int(attributes["kernel_size"]) ** 2, scale * shape[2], scale * shape[3])
    others: dict[str, Run] = {
        "PyTorch": lambda: torch.ops.differseg.reassemble(x, logits, **attributes)
    }
    return [x, logits], kernels.reassemble(x, logits, **attributes), others  # type: ignore[arg-type]


def _similarity(
    kernels: Kernels, make: Callable[..., Tensor], shape: tuple[int, ...], kernel_size: int
) -> Prepared:
    x = make(*shape)
    others: dict[str, Run] = {
        "PyTorch": lambda: torch.ops.differseg.local_similarity(x, kernel_size, 2)
    }
    return [x], kernels.local_similarity(x, kernel_size, 2), others


def _cache_bytes() -> int:
    """Return the size of the L2 cache, or a large one where PyTorch does not tell."""
    return getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20)


def _captured(runs: list[Run]) -> Run:
    """Capture the runs into one graph.

    Raises:
        RuntimeError: Something in them is not allowed under capture.
    """
    for run in runs[:1] * 2:  # plans, workspaces and lazily loaded modules
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return graph.replay


def _one_by_one(runs: list[Run]) -> Run:
    def run_all() -> None:
        for run in runs:
            run()

    return run_all


def _microseconds(run: Run) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e3


def measure(contest: Contest, replays: int) -> Times:
    """Time the kernel, a copy of as many bytes and the other forms, in turn."""
    tensors, launch, _ = first = contest.prepare()
    moved = sum(x.numel() * x.element_size() for x in (*tensors, launch.out))
    times = Times(contest.operator, contest.text, str(contest.dtype)[6:], moved)
    count = max(2, math.ceil(3 * _cache_bytes() / moved))
    sets = [first, *(contest.prepare() for _ in range(count - 1))]
    halves = [launch.out.new_empty(2, moved // 2, dtype=torch.uint8) for _ in sets]
    candidates: dict[str, list[Run]] = {
        "kernel": [one[1].run for one in sets],
        "copy": [partial(half[0].copy_, half[1]) for half in halves],
        **{name: [one[2][name] for one in sets] for name in first[2]},
    }
    graphs: dict[str, Run] = {}
    for name, runs in candidates.items():
        try:
            graphs[name] = _captured(runs)
        except RuntimeError as error:
            if name in ("kernel", "copy"):
                raise
            times.notes.append(f"{name} ran without a graph: {str(error).splitlines()[0]}")
            graphs[name] = _one_by_one(runs)
    found: dict[str, list[float]] = {name: [] for name in graphs}
    for turn in range(replays + 3):
        for name, graph in graphs.items():
            lasted = _microseconds(graph) / count
            if turn >= 3:
                found[name].append(lasted)
    medians = {name: statistics.median(values) for name, values in found.items()}
    times.kernel_us, times.copy_us = medians.pop("kernel"), medians.pop("copy")
    times.others_us = medians
    return times
