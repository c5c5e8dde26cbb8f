"""Sizes of wavelet bands, and how a map goes on beyond its border; numbers only, no tensors."""

from __future__ import annotations

from collections.abc import Iterable


def coefficients(extent: int, taps: int, mode: str) -> int:
    """Return how many coefficients an axis of ``extent`` samples has."""
    return (extent + 1) // 2 if mode == "periodization" else (extent + taps - 1) // 2


def margins(extent: int, taps: int, mode: str) -> tuple[int, int]:
    """Return how many samples the filters reach beyond the start and the end of an axis."""
    reach = taps // 2 - 1 if mode == "periodization" else taps - 2
    return reach, reach + extent % 2


def sources(positions: Iterable[int], extent: int, mode: str) -> list[int]:
    """Return the sample that stands at each position, outside the map too ("zero" has none)."""
    if mode == "periodization":
        even = extent + extent % 2
        return [min(position % even, extent - 1) for position in positions]
    period = {"symmetric": 2 * extent, "reflect": 2 * extent - 2, "periodic": extent}[mode]
    mirror = {"symmetric": period - 1, "reflect": period, "periodic": 0}[mode]
    wrapped = (position % period for position in positions)
    return [at if at < extent else mirror - at for at in wrapped]
