"""Before and after: thermal edges and thermal colours laid over the RGB picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.register.shots import Shot
from differseg.runtime.register.structure import stretched_u8
from differseg.runtime.registration import Registration

_PANEL_WIDTH_PX = 640
_MOST_ROWS = 3
_EDGE_BGR = (255, 255, 0)


def blend(
    rgb: npt.NDArray[np.uint8], thermal: npt.NDArray[Any], seen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return the RGB picture in grey, tinted by the thermal one, whose edges are drawn in cyan.

    Args:
        rgb: (H, W, 3) uint8, BGR.
        thermal: (H, W) uint8 or uint16, in the same view.
        seen: (H, W) bool, where the thermal camera sees.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY)
    picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    level = cv2.GaussianBlur(stretched_u8(thermal), (0, 0), 1.2)
    heat = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)
    tinted = cv2.addWeighted(picture, 0.6, heat, 0.4, 0)
    picture[seen] = tinted[seen]
    inside = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    edges = (cv2.Canny(level, 40, 100) > 0) & inside
    picture[edges] = _EDGE_BGR
    return picture


def before_after(shots: list[Shot], registration: Registration) -> npt.NDArray[np.uint8]:
    """Return up to three shots, each stretched onto the RGB view (left) and registered (right).

    Returns:
        (H, W, 3) uint8, BGR.
    """
    thermal_wh, rgb_wh = shots[0].sizes_wh
    plain = Registration.identity(thermal_wh, rgb_wh)
    steps = np.linspace(0, len(shots) - 1, min(_MOST_ROWS, len(shots))).round().astype(int)
    height = round(_PANEL_WIDTH_PX * rgb_wh[1] / rgb_wh[0])
    rows = []
    for shot in (shots[i] for i in steps):
        panels = []
        for name, used in (("before", plain), ("after", registration)):
            warped = used.warp(shot.thermal, rgb_wh)
            full = blend(shot.rgb, warped, used.valid(thermal_wh, rgb_wh))
            panel = np.asarray(
                cv2.resize(full, (_PANEL_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8
            )
            _write(panel, f"{name}: {shot.name}")
            panels.append(panel)
        rows.append(np.hstack(panels))
    return np.vstack(rows)


def _write(panel: npt.NDArray[np.uint8], text: str) -> None:
    shown = text.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    cv2.rectangle(panel, (0, 0), (width + 16, height + below + 12), (0, 0, 0), -1)
    at = (8, height + 8)
    cv2.putText(panel, shown, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
