"""Alarm zones: polygons in the RGB picture that say when enough of a class is in them.

Convention: x to the right, y down.  In pixels, centres are at integers, as in a registration; as
fractions, 0 is the outer edge of the first pixel and 1 that of the last.  A pixel belongs to a
zone when its centre lies in the polygon or on its edge.

All zones together cost one histogram: each pixel has the number of the set of zones that it lies
in, and class and set are counted at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ClassSpec, background_of
from differseg.runtime.zone_file import Zone, ZoneFile, load_zones

_FEW = 16
"""Up to this many zones times classes are counted one by one, more in one histogram."""
_LARGEST_PX = 2**24
"""Frames may have fewer pixels: OpenCV counts in single precision."""


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """A zone was switched.

    Attributes:
        event: ``zone_on`` or ``zone_off``.
        zone: Its name.
        time_s: Capture time of the RGB frame that switched it.
        index: Number of that frame.
        area_px: Pixels of the zone's classes in it.
        lasted_s: ``zone_off``: how long it was on; None for ``zone_on``.
    """

    event: Literal["zone_on", "zone_off"]
    zone: str
    time_s: float
    index: int
    area_px: int
    lasted_s: float | None = None

    def document(self) -> dict[str, Any]:
        """Return the event, ready for ``json.dumps``."""
        lasted_s = None if self.lasted_s is None else round(self.lasted_s, 6)
        return {
            "event": self.event,
            "zone": self.zone,
            "time_s": round(self.time_s, 6),
            "index": self.index,
            "area_px": self.area_px,
            "lasted_s": lasted_s,
        }


@dataclass(frozen=True, slots=True)
class ZoneState:
    """One zone in one frame.

    Attributes:
        on: Whether it is on.
        area_px: Class name -> pixels in the zone, of the zone's classes that are there.
    """

    on: bool
    area_px: dict[str, int]


class ZoneMonitor:
    """Counts the classes in all zones and switches the zones on and off.

    Args:
        zones: From a file, see :func:`differseg.runtime.zone_file.load_zones`.
        classes: Of the model.

    Raises:
        InputError: A zone names a class that the model does not have.
    """

    def __init__(self, zones: ZoneFile, classes: Sequence[ClassSpec]) -> None:
        self._zones, self._units = zones.zones, zones.units
        self._classes = tuple(classes)
        self._bins = max(spec.id for spec in classes) + 1
        self._wanted = [_wanted(zone, classes) for zone in zones.zones]
        self._switches = [_Switch(zone) for zone in zones.zones]
        self._states = {zone.name: ZoneState(False, {}) for zone in zones.zones}
        self._size_hw: tuple[int, ...] = ()
        self._window = (slice(0), slice(0))  # rows and columns around all zones
        self._base: npt.NDArray[Any] = np.empty((0, 0), np.uint8)  # of the window
        self._code: npt.NDArray[Any] = self._base
        self._member = np.empty((0, 0), np.int64)  # (zones, sets)
        self._least_px: list[int] = []
        self._numbers = sorted({spec.id for wanted in self._wanted for spec in wanted})
        self._few = len(self._numbers) * len(zones.zones) <= _FEW
        self._members: list[tuple[tuple[slice, slice], npt.NDArray[np.uint8]]] = []

    @classmethod
    def from_file(cls, path: Path, classes: Sequence[ClassSpec]) -> ZoneMonitor:
        """Return the monitor of a file's zones.

        Raises:
            InputError: The file cannot be used, or names a class that the model does not have.
        """
        return cls(load_zones(path), classes)

    @property
    def states(self) -> Mapping[str, ZoneState]:
        """Zone name -> its state in the last frame that had a mask."""
        return self._states

    def update(
        self, mask: npt.NDArray[np.uint8] | None, time_s: float, index: int
    ) -> list[ZoneEvent]:
        """Take the mask of the next frame.

        Args:
            mask: (H, W) uint8 class ids at the RGB frame's size; None changes nothing.
            time_s: Capture time of the frame.
            index: Its number.

        Returns:
            The zones that it switched, in the order of the file.

        Raises:
            InputError: A zone holds no pixel of a frame of this size, or sticks out of it.
        """
        if mask is None:
            return []
        counts = self.count(mask)  # (zones, classes)
        events, states = [], {}
        for zone, wanted, row, switch, least_px in zip(
            self._zones, self._wanted, counts, self._switches, self._least_px, strict=True
        ):
            areas = {spec.name: int(row[spec.id]) for spec in wanted if row[spec.id]}
            area_px = sum(areas.values())
            event = switch.update(area_px >= least_px, area_px, time_s, index)
            if event is not None:
                events.append(event)
            states[zone.name] = ZoneState(switch.on, areas)
        self._states = states
        return events

    def count(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the pixels of each class in each zone, (zones, class ids) int64.

        Args:
            mask: (H, W) uint8 class ids.

        Raises:
            InputError: A zone holds no pixel of a frame of this size, or sticks out of it.
        """
        if mask.shape != self._size_hw:
            self._prepare(mask.shape)
        if self._few:
            return self._count_few(mask)
        np.add(self._base, mask[self._window], out=self._code)
        bins = self._member.shape[1] * self._bins
        found = cv2.calcHist([self._code], [0], None, [bins], [0, bins])
        return self._member @ found.reshape(-1, self._bins).astype(np.int64)

    def _count_few(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Compare and count the classes that a zone wants; others are 0.

        Ten times as fast as the histogram for four zones and one class.
        """
        counts = np.zeros((len(self._zones), self._bins), np.int64)
        number: Any  # OpenCV takes a number beside an image; its type stubs do not know
        for number in self._numbers:
            cv2.compare(mask, number, cv2.CMP_EQ, self._equal)
            for k, (window, member) in enumerate(self._members):
                found = cv2.bitwise_and(self._equal[window], member, self._hit[window])
                counts[k, number] = cv2.countNonZero(found)
        return counts

    def _prepare(self, size_hw: tuple[int, ...]) -> None:
        """Number the sets of zones that a pixel can lie in, for frames of one size."""
        height, width = size_hw
        if height * width >= _LARGEST_PX:
            raise InputError(f"zones: frames of {width}x{height} are too large to be counted")
        inside = np.stack([self._inside(zone, (height, width)) for zone in self._zones])
        areas_px = inside.sum(axis=(1, 2))
        self._equal, self._hit = np.empty((2, *size_hw), np.uint8)
        self._members.clear()
        for one in inside:
            window = _window_around(one[None])
            self._members.append((window, np.ascontiguousarray(one[window].view(np.uint8))))
        self._window = rows, columns = _window_around(inside)
        inside = inside[:, rows, columns]
        packed = np.packbits(inside, axis=0)
        shape = packed.shape[1:]
        packed = packed.reshape(len(packed), -1)
        sets, number = np.unique(packed, axis=1, return_inverse=True)
        member = np.unpackbits(sets, axis=0, count=len(self._zones))  # (zones, sets)
        total = sets.shape[1] * self._bins
        if total > 2**16:
            raise InputError(
                f"zones: {sets.shape[1]} different overlaps of zones and {self._bins} classes are "
                f"more than can be counted at once ({2**16}); draw fewer zones"
            )
        kind: npt.DTypeLike = np.uint8 if total <= 256 else np.uint16
        self._base = (number.reshape(shape) * self._bins).astype(kind)
        self._code = np.empty_like(self._base)
        self._member = member.astype(np.int64)
        self._least_px = [
            max(zone.least_area_px, int(np.ceil(zone.least_area * area_px)))
            for zone, area_px in zip(self._zones, areas_px, strict=True)
        ]
        self._size_hw = size_hw

    def _inside(self, zone: Zone, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
        height, width = size_hw
        corners = np.array(zone.polygon, np.float64)  # (N, 2)
        if self._units == "fraction":
            corners = corners * (width, height) - 0.5
        where = f"zone '{zone.name}' in frames of {width}x{height}"
        over = (corners < -0.5) | (corners > np.array((width, height)) - 0.5)
        if over.any():
            raise InputError(f"{where}: a corner of the polygon lies outside the picture")
        inside = polygon_mask(corners, size_hw)
        if not inside.any():
            raise InputError(f"{where}: no pixel's centre lies in it; draw it larger")
        return inside


def _window_around(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns around all that is True in (zones, H, W)."""
    rows = np.flatnonzero(inside.any(axis=(0, 2)))
    columns = np.flatnonzero(inside.any(axis=(0, 1)))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


class _Switch:
    """One zone's state, which follows the occupation when that has lasted long enough."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self.on = False
        self._since_s: float | None = None  # of an occupation that differs from the state
        self._on_s = 0.0

    def update(self, occupied: bool, area_px: int, time_s: float, index: int) -> ZoneEvent | None:
        if occupied == self.on:
            self._since_s = None
            return None
        if self._since_s is None or time_s < self._since_s:
            self._since_s = time_s  # also where the clock stepped back
        least_s = self._zone.off_s if self.on else self._zone.on_s
        if time_s - self._since_s < least_s - 1e-9:
            return None
        self._since_s, self.on = None, occupied
        if occupied:
            self._on_s = time_s
            return ZoneEvent("zone_on", self._zone.name, time_s, index, area_px)
        lasted_s = max(0.0, time_s - self._on_s)
        return ZoneEvent("zone_off", self._zone.name, time_s, index, area_px, lasted_s)


def polygon_mask(
    corners: npt.NDArray[np.float64], size_hw: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return (H, W) bool: True where a pixel's centre lies in a polygon or on its edge.

    Args:
        corners: (N, 2) x and y in pixels; where the outline crosses itself, even-odd.
        size_hw: Height and width in pixels.
    """
    height, width = size_hw
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    inside = np.zeros(size_hw, np.bool_)
    edge = np.zeros(size_hw, np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        cross = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)  # (H, W)
        span = ((y0 > y) != (y1 > y)).ravel()  # rows that the side crosses
        # To the left of a side that goes down, and of one that goes up.
        inside[span] ^= (cross[span] < 0) if y1 > y0 else (cross[span] > 0)
        near = np.abs(cross) <= 1e-9 * max(1.0, abs(x1 - x0) + abs(y1 - y0))
        between_x = (x >= min(x0, x1) - 1e-9) & (x <= max(x0, x1) + 1e-9)
        between_y = (y >= min(y0, y1) - 1e-9) & (y <= max(y0, y1) + 1e-9)
        edge |= near & between_x & between_y
    return inside | edge


def _wanted(zone: Zone, classes: Sequence[ClassSpec]) -> list[ClassSpec]:
    """Return the classes that count in a zone.

    Raises:
        InputError: The model does not have one; names the nearest.
    """
    by_name = {spec.name: spec for spec in classes}
    if not zone.classes:
        background = background_of(classes)
        return [spec for spec in classes if spec != background]
    for name in zone.classes:
        if name not in by_name:
            near = get_close_matches(name, by_name, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(by_name)}"
            raise InputError(f"zone '{zone.name}': the model has no class '{name}'; {hint}")
    return [by_name[name] for name in dict.fromkeys(zone.classes)]
