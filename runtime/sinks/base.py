"""What a sink takes, and what every sink promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError

if TYPE_CHECKING:
    from differseg.runtime.supervision import Condition
    from differseg.runtime.zones import ZoneEvent, ZoneState

Status = Literal["ok", "rgb_only", "hold", "no_result", "nan_output"]
"""``ok``: a mask of this frame (and of its thermal partner, where the model takes thermal).
``rgb_only``: the thermal input was a constant.  ``hold``: the last mask, of an older frame, is
shown again.  ``no_result``: no mask yet.  ``nan_output``: the network gave NaN."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One processed RGB frame.

    Attributes:
        index: Number of the RGB frame at its source.
        name: Stem of its file, for image folders.
        rgb_time_s: Its capture time in seconds.
        status: Whether the mask belongs to this frame, see :data:`Status`.
        mask: (H, W) uint8 class ids at the RGB frame's size; None unless ``ok`` or ``rgb_only``.
        picture: (H, W, 3) uint8 BGR, painted; None where no sink wants pictures.
        area_fraction: Class name -> part of the pixels, 0..1, without the background.
        thermal_index: Number of the thermal frame at its source; None without one.
        thermal_time_s: Its capture time in seconds, as stamped.
        skew_ms: Thermal minus RGB capture time after the known offset.
        thermal_reused: An earlier result used the same thermal frame.
        age_ms: From capture to mask; None for recordings.
        stage_ms: Milliseconds of each stage.
        note: Why the status is not ``ok``.
        cameras: Condition of each camera when the frames were paired, see
            :data:`differseg.runtime.supervision.Condition`; empty for recordings.
        zones: Zone name -> its state; where a frame has no mask, that of the last one that had.
        zone_events: Zones that this frame switched.
        board_events: Throttling of the board and changes of the model since the last result, see
            :mod:`differseg.runtime.power`.
    """

    index: int
    name: str | None
    rgb_time_s: float
    status: Status
    mask: npt.NDArray[np.uint8] | None = None
    picture: npt.NDArray[np.uint8] | None = None
    area_fraction: dict[str, float] = field(default_factory=dict)
    thermal_index: int | None = None
    thermal_time_s: float | None = None
    skew_ms: float | None = None
    thermal_reused: bool = False
    age_ms: float | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    cameras: Mapping[str, Condition] = field(default_factory=dict)
    zones: Mapping[str, ZoneState] = field(default_factory=dict)
    zone_events: Sequence[ZoneEvent] = ()
    board_events: Sequence[Mapping[str, Any]] = ()

    @property
    def area_px(self) -> dict[str, int]:
        """Class name -> pixels of the mask, without the background; empty without a mask."""
        if self.mask is None:
            return {}
        return {name: round(part * self.mask.size) for name, part in self.area_fraction.items()}

    def document(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for ``json.dumps``."""

        def rounded(value: float | None, digits: int) -> float | None:
            return None if value is None else round(value, digits)

        return {
            "index": self.index,
            "name": self.name,
            "status": self.status,
            "rgb_time_s": rounded(self.rgb_time_s, 6),
            "thermal_time_s": rounded(self.thermal_time_s, 6),
            "thermal_index": self.thermal_index,
            "thermal_reused": self.thermal_reused,
            "skew_ms": rounded(self.skew_ms, 3),
            "age_ms": rounded(self.age_ms, 3),
            "cameras": dict(self.cameras),
            "area_fraction": {k: round(v, 6) for k, v in self.area_fraction.items()},
            "area_px": self.area_px,
            "zones": {k: {"on": v.on, "area_px": v.area_px} for k, v in self.zones.items()},
            "board": list(self.board_events),
            "stage_ms": {k: round(v, 3) for k, v in self.stage_ms.items()},
            "note": self.note,
        }


class Sink(Protocol):
    """Somewhere that results go.

    Attributes:
        wants_picture: Whether ``FrameResult.picture`` must be painted.
        files: What was written so far, one path per file or folder.
    """

    wants_picture: bool
    files: list[str]

    def write(self, result: FrameResult) -> None:
        """Take one result; its arrays do not change afterwards.

        Raises:
            InputError: It cannot be written; one line.
        """

    def close(self) -> None:
        """Finish the files; harmless when called twice."""


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        InputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be made ({error.strerror})") from None
