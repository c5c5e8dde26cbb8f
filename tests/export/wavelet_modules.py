"""Wavelet transforms as people put them into networks: two packages, and the hand-written forms."""

from __future__ import annotations

import importlib.resources
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Of(nn.Module):
    """A function of a tensor and of modules as a module."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, **self.parts)


class SlicedHaar(nn.Module):
    """Haar bands as sums and differences of every other pixel, stacked as channels."""

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x[:, :, 0::2, :] / 2, x[:, :, 1::2, :] / 2
        a, c = even[:, :, :, 0::2], even[:, :, :, 1::2]
        b, d = odd[:, :, :, 0::2], odd[:, :, :, 1::2]
        return torch.cat((a + b + c + d, -a - b + c + d, -a + b - c + d, a - b - c + d), 1)


class SlicedInverseHaar(nn.Module):
    """The way back: every other pixel of an empty map is written to."""

    def forward(self, bands: Tensor) -> Tensor:
        batch, channels, height, width = bands.size()
        low, across, down, both = (band / 2 for band in bands.split(channels // 4, 1))
        x = torch.zeros([batch, channels // 4, 2 * height, 2 * width]).float().to(bands.device)
        x[:, :, 0::2, 0::2] = low - across - down + both
        x[:, :, 1::2, 0::2] = low - across + down - both
        x[:, :, 0::2, 1::2] = low + across - down - both
        x[:, :, 1::2, 1::2] = low + across + down + both
        return x


class UnshuffledHaar(nn.Module):
    """Haar bands by a fixed 1 x 1 convolution of an unshuffled map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        signs = [[1, 1, 1, 1], [-1, -1, 1, 1], [-1, 1, -1, 1], [1, -1, -1, 1]]
        self.bands = nn.Conv2d(4 * channels, 4 * channels, 1, groups=channels, bias=False)
        weight = torch.tensor(signs).repeat(channels, 1)[:, :, None, None] / 2
        self.bands.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.bands(F.pixel_unshuffle(x, 2))


class FixedConvolution(nn.Module):
    """Bands of any wavelet by one strided depthwise convolution, and back by its transpose."""

    def __init__(self, wavelet: str) -> None:
        super().__init__()
        bank = pywt.Wavelet(wavelet)
        for name, low, high in (
            ("forward_filters", bank.dec_lo[::-1], bank.dec_hi[::-1]),
            ("inverse_filters", bank.rec_lo, bank.rec_hi),
        ):
            pair = torch.tensor(low), torch.tensor(high)
            filters = torch.stack([torch.outer(rows, columns) for rows in pair for columns in pair])
            self.register_buffer(name, filters[:, None].float())
        self.reach = bank.dec_len // 2 - 1

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (self.reach,) * 4, mode="reflect") if self.reach else x
        filters = self.forward_filters.repeat(channels, 1, 1, 1)
        bands = F.conv2d(padded, filters, stride=2, groups=channels)
        filters = self.inverse_filters.repeat(channels, 1, 1, 1)
        back = F.conv_transpose2d(F.relu(bands), filters, stride=2, groups=channels)
        return back


def hand_written() -> dict[str, nn.Module]:
    """Return the forms that need no package, for maps of four channels."""
    return {
        "sliced": SlicedHaar(),
        "sliced, inverse": SlicedInverseHaar(),
        "sliced, there and back": nn.Sequential(SlicedHaar(), nn.ReLU(), SlicedInverseHaar()),
        "unshuffled": UnshuffledHaar(4),
        "fixed haar": FixedConvolution("haar"),
        "fixed db2": FixedConvolution("db2"),
    }


def pytorch_wavelets() -> Any:
    """Import the package, or skip; it wants pkg_resources, which setuptools no longer has."""
    lent = importlib.util.find_spec("pkg_resources") is None
    if lent:
        stand_in = types.ModuleType("pkg_resources")

        def resource_stream(package: str, name: str) -> BinaryIO:
            return (importlib.resources.files(package) / name).open("rb")

        stand_in.resource_stream = resource_stream  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stand_in
    try:
        return pytest.importorskip("pytorch_wavelets")
    finally:
        if lent:
            del sys.modules["pkg_resources"]


def package_module(name: str) -> nn.Module:
    """Return a module of pytorch_wavelets or ptwt by a name such as ``dwt db2 symmetric 2``."""
    kind, *words = name.split()
    if kind == "ptwt":
        ptwt = pytest.importorskip("ptwt")
        wavelet, mode, level = words
        return Of(
            lambda x: ptwt.waverec2(ptwt.wavedec2(x, wavelet, level=int(level), mode=mode), wavelet)
        )
    package = pytorch_wavelets()
    if kind == "dtcwt":
        return Of(lambda x, dtcwt: dtcwt(x), dtcwt=package.DTCWTForward(J=int(words[0])))
    wavelet, mode, level = words
    forward = package.DWTForward(J=int(level), wave=wavelet, mode=mode)
    if kind == "dwt":
        return Of(lambda x, dwt: dwt(x), dwt=forward)
    inverse = package.DWTInverse(wave=wavelet, mode=mode)
    return Of(lambda x, dwt, idwt: idwt(dwt(x)), dwt=forward, idwt=inverse)
