"""FreqFusion: join a fine and a coarse level of features, each filtered where it needs to be.

Source: "Frequency-aware Feature Fusion for Dense Image Prediction", arXiv 2408.12879 (TPAMI 2024).

Convention:
    The fine map is exactly twice as high and wide as the coarse one.  Kernels and their borders
    are those of :func:`differseg.ops.reassemble` (taps outside the map count as zero), the
    sampler's places those of :func:`differseg.ops.sample_offsets`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg import ops
from differseg.errors import InputError

NEIGHBOURS = 8
"""Similarities per pixel that steer the sampler: with the pixels two rows and columns around."""
DIRECTIONS = ("sim", "sim_concat")
_CHANNELS_PER_NORM_GROUP = 8
_GENERATOR_STD = 0.001


class FreqFusion(nn.Module):
    """Sharpen the fine level, and smooth, upsample and straighten the coarse one.

    Every pixel has its own low-pass kernels, generated from both levels: with them the coarse
    level is upsampled without blocks, and the fine level gets more of what they take away.  The
    sampler then moves the coarse level's pixels towards more similar ones.

    Args:
        hr_channels: Width of the fine level.
        lr_channels: Width of the coarse level; with a sampler a multiple of ``sampler_groups``.
        compressed_channels: Width in which kernels and offsets are generated; a multiple of 8 for
            a sampler with normalisation.
        lowpass_kernel: Taps along a side of the upsampling kernels; odd.
        highpass_kernel: Taps along a side of the sharpening kernels; odd.
        hamming: Put kernels under a Hamming window.
        hr_residual: Give the fine level plus its high-pass; False gives the high-pass alone.
        sampler: Whether the upsampled level is sampled at generated offsets.
        sampler_groups: Groups of channels with offsets of their own.
        sampler_norm: Normalise the sampler's inputs.
        direction: What the sampler's convolutions read, see :class:`LocalSimilaritySampler`.

    Shapes: fine ``(N, hr_channels, 2h, 2w)`` and coarse ``(N, lr_channels, h, w)`` float to
    ``(N, hr_channels, 2h, 2w)`` and ``(N, lr_channels, 2h, 2w)``.

    Raises:
        InputError: Widths that groups do not divide, or an unknown direction.
    """

    def __init__(
        self,
        hr_channels: int,
        lr_channels: int,
        *,
        compressed_channels: int = 64,
        lowpass_kernel: int = 5,
        highpass_kernel: int = 3,
        hamming: bool = True,
        hr_residual: bool = True,
        sampler: bool = True,
        sampler_groups: int = 4,
        sampler_norm: bool = True,
        direction: str = "sim_concat",
    ) -> None:
        super().__init__()
        self.lowpass_kernel = lowpass_kernel
        self.highpass_kernel = highpass_kernel
        self.normalize = "hamming" if hamming else "softmax"
        self.hr_residual = hr_residual
        self.hr_channel_compressor = nn.Conv2d(hr_channels, compressed_channels, 1)
        self.lr_channel_compressor = nn.Conv2d(lr_channels, compressed_channels, 1)
        self.low_pass = self._generator(compressed_channels, lowpass_kernel**2)
        self.high_pass = self._generator(compressed_channels, highpass_kernel**2)
        self.sampler: LocalSimilaritySampler | None = None
        if sampler:
            _check_divides("sampler_groups", sampler_groups, "lr_channels", lr_channels)
            self.sampler = LocalSimilaritySampler(
                compressed_channels, groups=sampler_groups, norm=sampler_norm, direction=direction
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the authors do: Xavier everywhere, kernels that are nearly uniform."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for generator in (self.low_pass, self.high_pass):
            if isinstance(generator, nn.Conv2d):
                nn.init.normal_(generator.weight, std=_GENERATOR_STD)

    def forward(self, hr: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fine level sharpened and the coarse one at the fine one's size.

        Raises:
            InputError: The fine level is not exactly twice as large as the coarse one.
        """
        _check_sizes(hr, lr)
        fine = self.hr_channel_compressor(hr)  # (N, Cc, 2h, 2w)
        coarse = self.lr_channel_compressor(lr)  # (N, Cc, h, w)
        high, low, fine = self._fine_logits(fine)  # (N, 9, 2h, 2w), (N, 25, 2h, 2w)
        low = low + self._upsample(self.low_pass(coarse), low)  # (N, 25, 2h, 2w)
        high = high + self._upsample(self.high_pass(coarse), low)  # (N, 9, 2h, 2w)
        lr = self._upsample(lr, low)  # (N, Cl, 2h, 2w)
        sharp = hr - self._smooth(hr, high)  # (N, Ch, 2h, 2w)
        if self.hr_residual:
            sharp = hr + sharp
        if self.sampler is not None:
            lr = self.sampler(fine, coarse, lr)
        return sharp, lr

    def _generator(self, channels: int, taps: int) -> nn.Module:
        """Return the layer from compressed features to the logits of kernels."""
        return nn.Conv2d(channels, taps, 3, padding=1)

    def _fine_logits(self, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fine level's share of both kernels' logits, and the level itself, sharpened.

        Args:
            fine: Compressed fine level, (N, Cc, H, W).
        """
        high = self.high_pass(fine)  # (N, 9, H, W)
        fine = self._sharpened(fine, high)
        return high, self.low_pass(fine), fine

    def _sharpened(self, x: Tensor, logits: Tensor) -> Tensor:
        return 2 * x - self._smooth(x, logits)

    def _smooth(self, x: Tensor, logits: Tensor) -> Tensor:
        """Filter (N, C, H, W) by the high-pass' complement, from logits of that size."""
        return ops.reassemble(
            x, logits.to(x.dtype), kernel_size=self.highpass_kernel, normalize=self.normalize
        )

    def _upsample(self, x: Tensor, logits: Tensor) -> Tensor:
        """Filter (N, C, h, w) to (N, C, 2h, 2w), from logits of that size."""
        return ops.reassemble(
            x,
            logits.to(x.dtype),
            kernel_size=self.lowpass_kernel,
            scale=2,
            normalize=self.normalize,
        )


class LocalSimilaritySampler(nn.Module):
    """Sample an upsampled level at offsets that local similarity drives.

    Where a pixel looks unlike its neighbours, its sampling place moves towards the more consistent
    side.  FreqFusion's offset generator, arXiv 2408.12879.

    Args:
        channels: Width of both guides; a multiple of 8 with ``norm``.
        groups: Groups of channels of the sampled map with offsets of their own.
        norm: Normalise both guides by group normalisation, 8 channels a group.
        direction: "sim": offsets are read from the similarities and their scales from the guides
            (the authors' SegNeXt); "sim_concat": both from both (all their other networks).

    Shapes: guides ``(N, channels, 2h, 2w)`` and ``(N, channels, h, w)``, and a map
    ``(N, C, 2h, 2w)`` with C a multiple of ``groups``, to ``(N, C, 2h, 2w)``.

    Raises:
        InputError: An unknown direction, or widths that groups do not divide.
    """

    def __init__(
        self, channels: int, *, groups: int = 4, norm: bool = True, direction: str = "sim_concat"
    ) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            known = ", ".join(map(repr, DIRECTIONS))
            raise InputError(
                f"LocalSimilaritySampler: direction: expected one of {known}; got {direction!r}"
            )
        self.groups = groups
        self.concatenate = direction == "sim_concat"
        both = channels + NEIGHBOURS
        reads_offset, reads_scale = (both, both) if self.concatenate else (NEIGHBOURS, channels)
        # Channels: (coordinate, group, sub-row, sub-column) at the coarse size, where a pixel
        # stands for four; (coordinate, group) at the fine one.
        self.offset = nn.Conv2d(reads_offset, 8 * groups, 3, padding=1)
        self.direct_scale = nn.Conv2d(reads_scale, 8 * groups, 3, padding=1)
        self.hr_offset = nn.Conv2d(reads_offset, 2 * groups, 3, padding=1)
        self.hr_direct_scale = nn.Conv2d(reads_scale, 2 * groups, 3, padding=1)
        self.norm_hr, self.norm_lr = (_group_norm(channels, norm) for _ in range(2))

    def forward(self, fine: Tensor, coarse: Tensor, x: Tensor) -> Tensor:
        """Sample ``x`` (N, C, 2h, 2w), guided by both levels.

        The authors compute offsets at the coarse size, in its pixels and from its pixels' centres.
        The same places are here offsets from the fine map's own pixels: the sub-pixels' centres
        cancel, and one coarse pixel is two fine ones.
        """
        hr_offset, hr_scale = self._read(self.norm_hr(fine), self.hr_offset, self.hr_direct_scale)
        lr_offset, lr_scale = self._read(self.norm_lr(coarse), self.offset, self.direct_scale)
        offset = hr_offset + F.pixel_shuffle(lr_offset, 2)  # (N, 2G, 2h, 2w)
        scale = torch.sigmoid(hr_scale + F.pixel_shuffle(lr_scale, 2))  # (N, 2G, 2h, 2w)
        return ops.sample_offsets(x, 2 * offset * scale, scale=1, groups=self.groups)

    def _read(self, guide: Tensor, offset: nn.Module, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """Return offsets and the logits of their scales from a normalised guide."""
        similarity = ops.local_similarity(guide, kernel_size=3, dilation=2)  # (N, 8, H, W)
        if self.concatenate:
            guide = similarity = torch.cat([guide, similarity], dim=1)  # (N, Cc+8, H, W)
        return offset(similarity), scale(guide)


def _group_norm(channels: int, norm: bool) -> nn.Module:
    if not norm:
        return nn.Identity()
    _check_divides("8", _CHANNELS_PER_NORM_GROUP, "compressed_channels", channels)
    return nn.GroupNorm(channels // _CHANNELS_PER_NORM_GROUP, channels)


def _check_divides(what: str, groups: int, whose: str, channels: int) -> None:
    if groups < 1 or channels % groups:
        raise InputError(
            f"FreqFusion: {whose} is {channels}, expected a multiple of {groups} ({what}); "
            "change one of them"
        )


def _check_sizes(hr: Tensor, lr: Tensor) -> None:
    """Compare both sizes where they are plain integers (not while shapes are traced)."""
    for fine, coarse in zip(hr.shape[2:], lr.shape[2:], strict=True):
        known = isinstance(fine, int) and isinstance(coarse, int)
        if known and fine != 2 * coarse:
            raise InputError(
                f"FreqFusion: the fine level is {tuple(hr.shape)}, expected exactly twice the "
                f"height and width of the coarse one, {tuple(lr.shape)}; use image sides that all "
                "strides divide"
            )
