"""The file that draws alarm zones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from differseg.errors import InputError, ManifestError
from differseg.schema import from_plain, parse_json


@dataclass(frozen=True)
class Zone:
    """One zone of the file.

    Attributes:
        name: Of the zone, in events and result lines.
        polygon: At least three corners (x, y); sides may not end where they began.
        classes: Names of the classes that count; empty for all but the background.
        least_area_px: Pixels from which the zone is occupied.
        least_area: The same as a part of the zone, 0..1; the larger of the two holds.
        on_s: Time for which it must be occupied before it is on.
        off_s: Time for which it must be free before it is off.
    """

    name: str
    polygon: tuple[tuple[float, float], ...]
    classes: tuple[str, ...] = ()
    least_area_px: int = 1
    least_area: float = 0.0
    on_s: float = 0.0
    off_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ManifestError: One is out of range.
        """
        if not self.name:
            raise ManifestError("name: expected a name, got an empty one")
        if len(set(self.polygon)) < 3:
            raise ManifestError("polygon: expected three corners or more, at different places")
        if self.least_area_px < 1:
            raise ManifestError(f"least_area_px: expected 1 or more, got {self.least_area_px}")
        if not 0 <= self.least_area <= 1:
            raise ManifestError(f"least_area: expected 0 to 1, got {self.least_area:g}")
        for name in ("on_s", "off_s"):
            if not 0 <= getattr(self, name) <= 86400:
                raise ManifestError(f"{name}: expected 0 to 86400, got {getattr(self, name):g}")


@dataclass(frozen=True)
class ZoneFile:
    """The file as JSON.

    Attributes:
        zones: Their names differ.
        units: Of the corners: ``px`` of the RGB frame, or ``fraction`` of its sides.
    """

    zones: tuple[Zone, ...]
    units: Literal["px", "fraction"]
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        """Check that the names differ and that fractions are fractions.

        Raises:
            ManifestError: They do not, or are not.
        """
        names = [zone.name for zone in self.zones]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ManifestError(
                f"zones: two are called '{twice[0]}'" if twice else "zones: there are none"
            )
        for zone in self.zones if self.units == "fraction" else ():
            if any(not 0 <= value <= 1 for corner in zone.polygon for value in corner):
                raise ManifestError(
                    f"zone '{zone.name}': polygon: a corner is outside 0..1; pixels are given "
                    'with "units": "px"'
                )


def load_zones(path: Path) -> ZoneFile:
    """Read a file of zones.

    Raises:
        InputError: It cannot be read, or a field is wrong; names the field.
    """
    try:
        return from_plain(ZoneFile, parse_json(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(f"zones {path}: cannot be read ({reason})") from None
    except ManifestError as error:
        raise InputError(f"zones {path}: {error}") from None
