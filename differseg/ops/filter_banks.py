"""Wavelet filter banks: the four filters behind a wavelet's name, or your own.

Haar is built in; every other name comes from PyWavelets when it is asked for.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from differseg.errors import InputError, MissingComponentError

_RECONSTRUCTS = 5e-3  # largest deviation; PyWavelets' coarsest bank, dmey, is off by 2.2e-3


@dataclass(frozen=True)
class FilterBank:
    """The four filters of a two-channel bank, in PyWavelets' order and sign.

    All have the same even number of taps, padded with zeros where a filter is shorter.

    Raises:
        InputError: Lengths that differ or are odd, a tap that is no finite number, or filters that
            do not reconstruct what they decomposed.
    """

    name: str
    """What messages call the bank."""
    decomposition_low: tuple[float, ...]
    """Low-pass filter of the decomposition (``dec_lo``)."""
    decomposition_high: tuple[float, ...]
    """High-pass filter of the decomposition (``dec_hi``)."""
    reconstruction_low: tuple[float, ...]
    """Low-pass filter of the reconstruction (``rec_lo``)."""
    reconstruction_high: tuple[float, ...]
    """High-pass filter of the reconstruction (``rec_hi``)."""

    def __post_init__(self) -> None:
        lengths = [len(taps) for taps in self.filters]
        if len(set(lengths)) != 1 or lengths[0] < 2 or lengths[0] % 2:
            raise InputError(
                f"filter bank '{self.name}': its filters have {lengths} taps, expected one even "
                "number for all; pad the shorter ones with zeros, as PyWavelets does"
            )
        if not all(math.isfinite(tap) for taps in self.filters for tap in taps):
            raise InputError(
                f"filter bank '{self.name}': a tap is not a finite number; correct the filters"
            )
        error = self._reconstruction_error()
        if error > _RECONSTRUCTS:
            raise InputError(
                f"filter bank '{self.name}': decomposition and reconstruction differ from the "
                f"identity by {error:.2g}, expected less than {_RECONSTRUCTS:g}; give the filters "
                "in the order dec_lo, dec_hi, rec_lo, rec_hi of PyWavelets"
            )

    @property
    def filters(self) -> tuple[tuple[float, ...], ...]:
        """The four filters: decomposition low and high, reconstruction low and high."""
        return (
            self.decomposition_low,
            self.decomposition_high,
            self.reconstruction_low,
            self.reconstruction_high,
        )

    @classmethod
    def orthogonal(cls, lowpass: Sequence[float], name: str = "custom") -> FilterBank:
        """Build the bank of an orthogonal wavelet from its decomposition low-pass filter.

        Args:
            lowpass: An even number of taps that sum to sqrt(2) and are orthonormal to their own
                shifts by two, as ``dec_lo`` of PyWavelets.
            name: What messages call the bank.

        Raises:
            InputError: The filter is not such a one.
        """
        low = np.asarray(lowpass, dtype=np.float64)
        if low.ndim != 1 or low.size < 2 or low.size % 2:
            raise InputError(
                f"filter bank '{name}': the low-pass filter has shape {low.shape}, expected an "
                "even number of taps in one row; pad it with a zero"
            )
        shifts = np.correlate(low, low, "full")[low.size - 1 :: 2]  # <low, low shifted by 2k>
        error = max(abs(shifts[0] - 1), *abs(shifts[1:]), abs(low.sum() - math.sqrt(2)))
        if not error < _RECONSTRUCTS:
            raise InputError(
                f"filter bank '{name}': the low-pass filter misses orthonormality by {error:.2g}, "
                f"expected less than {_RECONSTRUCTS:g}: taps that sum to sqrt(2), orthogonal to "
                "their shifts by two; pass all four filters for a biorthogonal bank"
            )
        high = low[::-1] * np.where(np.arange(low.size) % 2, 1.0, -1.0)
        filters = (low, high, low[::-1], high[::-1])
        return cls(name, *(tuple(taps.tolist()) for taps in filters))

    def _reconstruction_error(self) -> float:
        """Return the largest deviation of the bank's transfer from a delay, and of its alias."""
        low, high, back_low, back_high = (np.asarray(taps) for taps in self.filters)
        signs = np.where(np.arange(low.size) % 2, -1.0, 1.0)
        transfer = np.convolve(low, back_low) + np.convolve(high, back_high)
        alias = np.convolve(low * signs, back_low) + np.convolve(high * signs, back_high)
        transfer[low.size - 1] -= 2.0
        return float(max(abs(transfer).max(), abs(alias).max()) / 2)


_HALF = math.sqrt(0.5)
HAAR = FilterBank("haar", (_HALF, _HALF), (-_HALF, _HALF), (_HALF, _HALF), (_HALF, -_HALF))
"""The Haar wavelet: two taps, orthogonal, symmetric; half the sum and difference of neighbours."""


def filter_bank(wavelet: str | FilterBank) -> FilterBank:
    """Return the filter bank of a wavelet.

    Args:
        wavelet: A bank, which is returned, or a name: "haar" (built in), or any discrete wavelet
            of PyWavelets, such as "db2", "sym4", "coif1" or "bior2.2".

    Raises:
        InputError: No such wavelet (nearest names offered).
        MissingComponentError: The name needs PyWavelets, which is not installed.
    """
    if isinstance(wavelet, FilterBank):
        return wavelet
    if not isinstance(wavelet, str):
        raise InputError(
            f"wavelet is {type(wavelet).__name__}, expected a name such as 'haar' or 'db2', or a "
            "differseg.ops.FilterBank; make one of a pywt.Wavelet w with "
            "FilterBank(w.name, *w.filter_bank)"
        )
    if wavelet == "haar":
        return HAAR
    found = _named_bank(wavelet)
    if isinstance(found, FilterBank):
        return found
    installed, text = found
    if installed:
        raise InputError(text)
    raise MissingComponentError(text)


@torch.compiler.assume_constant_result  # torch.compile cannot look into PyWavelets
def _named_bank(name: str) -> FilterBank | tuple[bool, str]:
    """Return the bank, or whether PyWavelets is there and why it gave none.

    An error raised in here would reach the user of ``torch.compile`` as an internal one.
    """
    try:
        return _read_bank(name)
    except ModuleNotFoundError:
        return False, (
            f"wavelet {name!r}: only 'haar' is built in, the others come from PyWavelets, which is "
            "not installed; run pip install 'differseg[export]'"
        )
    except InputError as error:
        return True, str(error)


@functools.cache
def _read_bank(name: str) -> FilterBank:
    import pywt

    known = pywt.wavelist(kind="discrete")
    if name not in known:
        near = ", ".join(repr(item) for item in difflib.get_close_matches(name.lower(), known))
        raise InputError(
            f"wavelet {name!r} is unknown, expected 'haar' or a discrete wavelet of PyWavelets "
            "such as 'db2' or 'bior2.2'; "
            + (f"did you mean {near}?" if near else "see pywt.wavelist(kind='discrete')")
        )
    return FilterBank(name, *(tuple(taps) for taps in pywt.Wavelet(name).filter_bank))
