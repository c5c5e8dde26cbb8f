"""The kernels' C entry points as calls on PyTorch tensors, for the benchmarks in this folder."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NORMS = ("backward", "ortho", "forward")
MODES = ("zero", "symmetric", "reflect", "periodic", "periodization")
BORDERS = ("zeros", "edge")
NORMALIZATIONS = ("none", "softmax", "hamming")
_DTYPES = {torch.float32: 0, torch.float16: 1}
_GUARD_BYTES = 256


@dataclass(frozen=True)
class Launch:
    """A call with its buffers: ``run`` may be called again and again, and captured."""

    run: Callable[[], None]
    """Launches on the current stream; raises RuntimeError where the launch is refused."""
    out: Tensor
    """What the kernel writes."""
    guard: Tensor
    """Bytes behind ``out`` that it must not write."""

    def poison(self) -> None:
        """Fill the output and its guard, so that what is not written, or is, shows."""
        self.out.fill_(math.nan)
        self.guard.fill_(0x5A)

    def is_guarded(self) -> bool:
        """Return whether the guard is as ``poison`` left it."""
        return bool((self.guard == 0x5A).all())


class Kernels:
    """The functions of ``libdifferseg_kernels.so``; a method prepares a launch of one.

    Tensors are contiguous.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        for name in ("rfft2", "irfft2"):
            getattr(self._library, f"differseg_{name}_workspace").restype = ctypes.c_size_t

    def rfft2(self, x: Tensor, norm: str) -> Launch:
        """Prepare ``(N, C, H, W)`` -> ``(N, C, 2, H, W // 2 + 1)``."""
        batch, channels, height, width = x.shape
        shape = (batch, channels, 2, height, width // 2 + 1)
        return self._transform("rfft2", x, shape, (height, width), norm)

    def irfft2(self, spectrum: Tensor, width: int, norm: str) -> Launch:
        """Prepare ``(N, C, 2, H, width // 2 + 1)`` -> ``(N, C, H, width)``."""
        batch, channels, _, height, _ = spectrum.shape
        shape = (batch, channels, height, width)
        return self._transform("irfft2", spectrum, shape, (height, width), norm)

    def _transform(
        self, name: str, x: Tensor, shape: Sequence[int], size: tuple[int, int], norm: str
    ) -> Launch:
        sizes = x.shape[0] * x.shape[1], *size
        needed = getattr(self._library, f"differseg_{name}_workspace")(_DTYPES[x.dtype], *sizes)
        workspace = torch.empty(needed, dtype=torch.uint8, device=x.device)
        return self._prepare(name, shape, [x], workspace, *sizes, NORMS.index(norm))

    def dwt2(self, x: Tensor, low: Sequence[float], high: Sequence[float], mode: str) -> Launch:
        """Prepare ``(N, C, H, W)`` -> ``(N, C, 4, h, w)``, with decomposition filters."""
        batch, channels, height, width = x.shape
        taps = 2 if mode == "periodization" else len(low)
        bands = [(extent + taps - 1) // 2 for extent in (height, width)]
        sizes = batch * channels, height, width
        bank = _filter(low), len(low), _filter(high), len(high)
        shape = (batch, channels, 4, *bands)
        return self._prepare("dwt2", shape, [x], *sizes, *bank, MODES.index(mode))

    def idwt2(
        self,
        bands: Tensor,
        low: Sequence[float],
        high: Sequence[float],
        mode: str,
        size_hw: tuple[int, int],
    ) -> Launch:
        """Prepare ``(N, C, 4, h, w)`` -> ``(N, C, *size_hw)``, with reconstruction filters."""
        batch, channels, _, *of_bands = bands.shape
        sizes = batch * channels, *of_bands, *size_hw
        bank = _filter(low), len(low), _filter(high), len(high)
        shape = (batch, channels, *size_hw)
        return self._prepare("idwt2", shape, [bands], *sizes, *bank, MODES.index(mode))

    def reassemble(
        self,
        x: Tensor,
        kernels: Tensor,
        *,
        kernel_size: int,
        scale: int = 1,
        dilation: int = 1,
        groups: int = 1,
        border: str = "zeros",
        normalize: str = "none",
    ) -> Launch:
        """Prepare ``(N, C, H, W)`` -> ``(N, C, scale * H, scale * W)``."""
        batch, channels, height, width = x.shape
        attributes = kernel_size, scale, dilation, groups
        choices = BORDERS.index(border), NORMALIZATIONS.index(normalize)
        shape = (batch, channels, scale * height, scale * width)
        return self._prepare("reassemble", shape, [x, kernels], *x.shape, *attributes, *choices)

    def local_similarity(self, x: Tensor, kernel_size: int, dilation: int) -> Launch:
        """Prepare ``(N, C, H, W)`` -> ``(N, kernel_size**2 - 1, H, W)``."""
        shape = (x.shape[0], kernel_size**2 - 1, *x.shape[2:])
        return self._prepare("local_similarity", shape, [x], *x.shape, kernel_size, dilation)

    def _prepare(
        self, name: str, shape: Sequence[int], inputs: Sequence[Tensor], *arguments: object
    ) -> Launch:
        """Bind buffers and arguments; the entry points take dtype, inputs, output, the rest."""
        like = inputs[0]
        assert all(x.is_contiguous() and x.dtype == like.dtype for x in inputs)
        size = math.prod(shape) * like.element_size()
        memory = torch.empty(size + _GUARD_BYTES, dtype=torch.uint8, device=like.device)
        out = memory[:size].view(like.dtype).view(*shape)
        function = getattr(self._library, f"differseg_{name}")
        bound = [_DTYPES[like.dtype], *map(_address, (*inputs, out, *arguments))]

        def run() -> None:
            stream = torch.cuda.current_stream().cuda_stream if like.is_cuda else None
            status = function(*bound, ctypes.c_void_p(stream))
            if status != 0:
                raise RuntimeError(f"differseg_{name} answers CUDA error {status}")

        # The closure keeps the tensors alive whose addresses the call holds.
        run.tensors = (*inputs, *arguments)  # type: ignore[attr-defined]
        return Launch(run, out, memory[size:])


def _address(value: object) -> object:
    return ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else value


def _filter(taps: Sequence[float]) -> ctypes.Array[ctypes.c_float]:
    return (ctypes.c_float * len(taps))(*taps)
