"""What the page knows besides the pictures, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from differseg.manifest import ClassSpec, background_of
from differseg.runtime.colour_maps import COLOUR_MAPS, colour_table
from differseg.runtime.metrics import CameraReport, RunReport
from differseg.runtime.preview.history import StageHistory


def setup_document(model: str, classes: Sequence[ClassSpec]) -> dict[str, Any]:
    """Return what does not change during a run.

    Args:
        model: Name of the network.
        classes: Of the mask's ids; the background is marked and not painted.
    """
    background = background_of(classes)
    return {
        "model": model,
        "classes": [
            {
                "id": spec.id,
                "name": spec.name,
                "color_rgb": list(spec.color_rgb),
                "painted": spec is not background,
            }
            for spec in classes
        ],
        "palettes": _palettes(),
    }


def state_document(
    report: RunReport,
    history: StageHistory,
    *,
    viewers: int,
    encode_ms: float | None,
    board: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a run at one moment.

    Args:
        report: From :meth:`RunMetrics.report`.
        history: Of the stages.
        viewers: Streams that are open.
        encode_ms: How long the last encoding took.
        board: The machine's state; None where nobody watches it.
    """
    last = report.last
    trouble = report.trouble()
    return {
        "healthy": trouble is None,
        "trouble": trouble,
        "degraded": report.degraded(),
        "running_s": round(report.running_s, 1),
        "restarts": report.restarts,
        "frames": report.frames,
        "fps": _rounded(report.fps, 2),
        "silent_s": round(report.silent_s, 2),
        "statuses": dict(report.statuses),
        "board": None if board is None else dict(board),
        "last": None if last is None else last.document(),
        "cameras": [_camera(camera) for camera in report.cameras],
        "history": history.document(),
        "viewers": viewers,
        "encode_ms": _rounded(encode_ms, 2),
    }


def _camera(camera: CameraReport) -> dict[str, Any]:
    return {
        "name": camera.name,
        "source": camera.source,
        "state": camera.state,
        "reason": camera.reason,
        "fps": _rounded(camera.fps, 2),
        "silent_s": round(camera.silent_s, 2),
        "captured": camera.captured,
        "missed": camera.missed,
        "attempts": camera.attempts,
        "returns": camera.returns,
        "drops": dict(camera.drops),
        "faults": dict(camera.faults),
    }


def _palettes() -> dict[str, str]:
    """Return, by name, 256 RGB triples in base64; for display only."""
    return {
        name.replace("-", " ").capitalize(): base64.b64encode(
            colour_table(name)[:, 0, ::-1].tobytes()
        ).decode()
        for name in COLOUR_MAPS
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
