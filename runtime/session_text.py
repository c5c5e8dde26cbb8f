"""What a recorded session says of its run, to programs and to people."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from differseg import __version__
from differseg.manifest import Manifest
from differseg.runtime.run_options import RunOptions
from differseg.runtime.session_file import CameraRecord, SessionRecord
from differseg.runtime.sources.base import Source
from differseg.runtime.sources.cameras import without_password
from differseg.schema import to_plain

if TYPE_CHECKING:
    from differseg.runtime.registration import Registration

_REPLAYED = (
    "tolerance_ms",
    "reuse_thermal",
    "thermal_unit",
    "thermal_correction",
    "thermal_stripes",
    "smooth",
)
"""Options that decide the masks, beside registration and offset, which the session brings."""


def session_record(
    sources: Sequence[Source],
    *,
    options: Mapping[str, Any],
    manifest: Manifest | None,
    thermal_offset_ms: float,
) -> SessionRecord:
    """Return what is to be said of a run that is about to be recorded.

    Args:
        sources: Open; ``rgb`` and, where there is one, ``thermal``.
        options: Of the run; passwords and queries of addresses are taken out.
        manifest: Of the model.
        thermal_offset_ms: Lateness of the thermal stamps that the run reckons with.
    """
    cameras: dict[str, CameraRecord] = {
        source.modality: CameraRecord(
            without_password(source.description),
            source.clock,
            source.live,
            None if source.fps is None else float(source.fps),
            tuple(without_password(note) for note in source.notes),
        )
        for source in sources
    }
    return SessionRecord(
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cameras=cameras,
        thermal_offset_ms=float(thermal_offset_ms),
        options={name: _harmless(value) for name, value in options.items()},
        model=None if manifest is None else to_plain(manifest),
        versions={
            "differseg": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "system": platform.platform(),
        },
    )


def readme_text(record: SessionRecord, registration: Registration | None) -> str:
    """Return ``README.txt``: what lies there and how to play it again."""
    names = list(record.cameras)
    command = ["differseg", "run", "--model", str(record.options.get("model", "F.onnx"))]
    for name in names:
        command += [f"--{name}", "session:."]
    for name in _REPLAYED:
        usual = RunOptions.__dataclass_fields__[name].default
        value, option = record.options.get(name, usual), name.replace("_", "-")
        if value == usual:
            continue
        if isinstance(value, bool):
            command += [f"--{option}" if value else f"--no-{option}"]
        else:
            command += [f"--{option}", str(value)]
    lines = [
        "A camera session recorded by differseg " + record.versions.get("differseg", ""),
        "",
        f"started {record.started} (UTC)",
        *(f"{name}: {camera.description}" for name, camera in record.cameras.items()),
        "",
        "Play it again, in this folder (with the path of the model as it is here):",
        "  " + shlex.join(command),
        "",
        "rgb/*.png            8-bit colour, lossless",
    ]
    if "thermal" in names:
        lines.append("thermal/*.png        8- or 16-bit grey as the camera gave it, lossless")
    lines.append("*/timestamps.csv     name, capture time and arrival in s, number at the source")
    if registration is not None:
        lines.append("registration.json    homography from thermal to rgb pixels")
    lines += [
        "session.json         cameras, options, the model's manifest, versions, counts at the end",
        "",
        'A session that was cut off (no "end" in session.json) is good up to the last line of',
        "the tables; images that no table names are left out.",
        "In a report of a fault, pack this folder: the pictures of both cameras are in it, so look",
        "at what they show before it leaves your hands.",
    ]
    return "\n".join(lines) + "\n"


def _harmless(value: Any) -> Any:
    """Return a value of an option as JSON holds it, without passwords."""
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    return without_password(str(value) if isinstance(value, Path) else f"{value}")
