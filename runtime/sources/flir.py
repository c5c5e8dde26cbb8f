"""What is particular to FLIR's Lepton and Boson over USB video (UVC): telemetry rows, TLinear.

With telemetry on, a 16-bit picture has rows that are no picture: PureThermal boards offer a Lepton
as 160x122 beside 160x120 and as 80x63 beside 80x60 (groupgets/purethermal1-uvc-capture, issues 17
and 27), and a Boson gives 640x514 or 320x258 (VideologyInc/flir_boson_kernel_module names the
first).  A Lepton's rows say whether its counts are temperatures: row C, words 48 and 49 (FLIR,
Lepton Engineering Datasheet 500-0659-00-09 Rev. 203, page 27).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_ROWS = {(160, 122): 2, (80, 63): 3, (640, 514): 2, (320, 258): 2}
"""Telemetry rows by width and height of the whole frame."""
_LEPTON_WIDTHS = (80, 160)
_ROW_WORDS = 80
_TLINEAR_WORD, _RESOLUTION_WORD = 2 * _ROW_WORDS + 48, 2 * _ROW_WORDS + 49


@dataclass(frozen=True)
class Telemetry:
    """Rows of a frame that are no picture.

    Attributes:
        rows: How many.
        at_top: They come first; else last, which is a Lepton's default.
    """

    rows: int
    at_top: bool

    def cut(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the picture alone, a view.

        Args:
            image: (H, W) uint16, the whole frame.
        """
        return image[self.rows :] if self.at_top else image[: -self.rows]

    def words(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the telemetry, (N,) uint16.

        Args:
            image: (H, W) uint16, the whole frame.
        """
        return (image[: self.rows] if self.at_top else image[-self.rows :]).reshape(-1)


def may_have_telemetry(size_wh: tuple[int, int] | None) -> bool:
    """Return whether frames of this size are a picture and telemetry rows."""
    return size_wh in _ROWS


def find_telemetry(image: npt.NDArray[Any]) -> Telemetry | None:
    """Return where a 16-bit frame has telemetry rows; None where its size speaks against any.

    Most of their words are reserved and 0, which a picture's counts never are, so they are at the
    end that has more zeros.

    Args:
        image: (H, W) uint16, the whole frame.
    """
    rows = _ROWS.get((image.shape[1], image.shape[0]))
    if rows is None or image.dtype != np.uint16:
        return None
    zeros_top, zeros_bottom = (int((part == 0).sum()) for part in (image[:rows], image[-rows:]))
    return Telemetry(rows, at_top=zeros_top > zeros_bottom)


def counts_note(where: str, image: npt.NDArray[Any] | None, telemetry: Telemetry | None) -> str:
    """Return what is known of the unit of a camera's 16-bit counts.

    Args:
        where: Name of the camera.
        image: (H, W) uint16, a whole frame; None where there was none to look at.
        telemetry: Its telemetry rows.
    """
    unknown = (
        f"{where}: 16-bit counts (Y16); whether they are centikelvin (TLinear) is not known, "
        "because neither driver nor frame says so"
    )
    if image is None or telemetry is None:
        return unknown
    cut = f"{telemetry.rows} telemetry rows are cut off"
    words = telemetry.words(image)
    enabled, fine = (
        (int(words[_TLINEAR_WORD]), int(words[_RESOLUTION_WORD]))
        if image.shape[1] in _LEPTON_WIDTHS
        else (-1, -1)
    )
    if enabled == 1 and fine == 1:
        return f"{where}: the counts are centikelvin (TLinear is on, 0.01 K); {cut}"
    if enabled == 1 and fine == 0:
        return (
            f"{where}: the counts are 0.1 K (TLinear is on, at the coarse resolution); set it to "
            f"0.01 K with the maker's tool for centikelvin; {cut}"
        )
    if enabled == 0:
        return (
            f"{where}: the counts are no temperatures (TLinear is off); switch it on with the "
            f"maker's tool for centikelvin; {cut}"
        )
    return f"{unknown}; {cut}"
