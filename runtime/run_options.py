"""Options of ``differseg run``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from differseg.errors import InputError
from differseg.options import option
from differseg.runtime.backends.options import EngineOptions

AUTO = "auto"


@dataclass(frozen=True)
class RunOptions(EngineOptions):
    """Segment an RGB camera, or an RGB and a thermal camera, live or recorded."""

    model: Path = option(metavar="F.onnx", group="inputs")
    """The model file."""
    rgb: str = option(metavar="SRC")
    """RGB source: device index or path, GStreamer text, address, video, folder, synthetic:"""
    thermal: str | None = option(None, metavar="SRC")
    """Thermal source, for a model that takes thermal."""
    registration: Path | None = option(None, metavar="F.json")
    """How the thermal view lies in the RGB view; differseg register makes the file."""
    out: Path | None = option(None, metavar="DIR", group="outputs")
    """Write DIR/overlay.mp4, DIR/masks/ and DIR/results.jsonl."""
    video: Path | None = option(None, metavar="F.mp4|F.mkv")
    """Write the overlay as a video; .mkv plays when it was cut off."""
    segment_s: float | None = option(None, metavar="S")
    """Write --video in pieces of this length: F-000000.mkv and so on."""
    masks: Path | None = option(None, metavar="DIR")
    """Write PNG masks and results.jsonl."""
    zones: Path | None = option(None, metavar="F.json")
    """Alarm zones; their events go to events.jsonl beside results.jsonl."""
    smooth: int | None = option(None, metavar="N")
    """Steady the masks by a majority of N frames; what changes is shown N // 2 frames late."""
    record: Path | None = option(None, metavar="DIR")
    """Record every frame of both cameras, lossless, in a new folder; session:DIR plays it."""
    record_limit_gb: float | None = option(None, metavar="GB")
    """End the recording at this size."""
    headless: bool = False
    """Show no window."""
    preview: str | None = option(None, metavar="[HOST]:PORT")
    """Web page of the run; :8080 is for this machine alone, 0.0.0.0:8080 prints a token."""
    seconds: float | None = option(None, metavar="S", group="when it ends, and what it drops")
    """End after this much of the RGB stream."""
    frames: int | None = option(None, metavar="N")
    """End after this many results."""
    live: bool = False
    """Play files and folders in real time and drop what is late."""
    deadline_ms: float | None = option(None, metavar="MS")
    """Live: drop frames whose result would be older than this, from capture to mask."""
    tolerance_ms: float = option(60.0, metavar="MS", group="two cameras")
    """Largest difference in capture time within a pair; half a period of a 9 Hz camera is 56."""
    thermal_offset_ms: str | float | None = option(None, metavar="MS|auto")
    """Lateness of the thermal stamps; auto finds it from motion. Left out: 0, or the source's."""
    reuse_thermal: bool = True
    """Let a thermal frame serve several RGB frames (a slow thermal camera)."""
    on_thermal_loss: Literal["stop", "rgb_only", "hold"] = "stop"
    """rgb_only: constant thermal input; hold: show the last result, marked stale."""
    on_rgb_loss: Literal["stop", "wait"] = "stop"
    """stop: end when a live RGB camera is away for 10 s; wait: go on trying."""
    thermal_timeout_ms: float = option(1500.0, metavar="MS")
    """The thermal camera is lost after this long without a pair."""
    watch_registration: bool = True
    """Warn when the thermal view has moved against the RGB view since the start."""
    thermal_unit: Literal["0.01K", "0.1K", "counts"] = option("0.01K", group="the thermal picture")
    """What a count of a 16-bit thermal camera is (0.1K: TLinear at low resolution)."""
    thermal_correction: bool = False
    """Replace dead thermal pixels, and let jumps of a shutter correction through slowly."""
    thermal_stripes: bool = False
    """Take stripes of columns and rows away; for cameras that show them and move."""
    step_down: Path | None = option(None, metavar="F2.onnx", group="as a service")
    """Smaller model of the same classes, for while the board is hot, throttled or late."""
    supervise: bool = False
    """Start the run again when it crashes or hangs, at most 5 times a minute."""
    log: Literal["text", "json"] | None = None
    """Write events to standard error as log lines, instead of notes and a status line."""
    json: bool = False
    """Print the summary as one JSON document on the last line."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        for name in ("seconds", "frames", "thermal_timeout_ms", "deadline_ms", "record_limit_gb"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise InputError(f"--{name.replace('_', '-')}: expected more than 0, got {value}")
        for name, needs in (("segment_s", "video"), ("record_limit_gb", "record")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                raise InputError(
                    f"--{name.replace('_', '-')}: goes with --{needs}, which is not given"
                )
        if self.zones is not None and self.out is None and self.masks is None:
            raise InputError("--zones: the events need a place; add --out DIR or --masks DIR")
        if not 0 <= self.tolerance_ms <= 10_000:
            raise InputError(f"--tolerance-ms: expected 0 to 10000, got {self.tolerance_ms}")
        if self.thermal is None:
            for name in ("thermal_offset_ms", "thermal_correction", "thermal_stripes"):
                if getattr(self, name):
                    raise InputError(
                        f"--{name.replace('_', '-')}: goes with --thermal, which is not given"
                    )
        offset_ms = self.known_offset_ms
        if offset_ms is not None and not abs(offset_ms) <= 10_000:
            raise InputError(
                f"--thermal-offset-ms: expected -10000 to 10000, or {AUTO}, got "
                f"{self.thermal_offset_ms}"
            )

    @property
    def finds_offset(self) -> bool:
        """Whether the thermal offset is to be found while the run goes on."""
        return self.thermal_offset_ms == AUTO

    @property
    def known_offset_ms(self) -> float | None:
        """The thermal offset that was given; None without, NaN where it is no number."""
        if self.thermal_offset_ms is None or self.finds_offset:
            return None
        try:
            return float(self.thermal_offset_ms)
        except ValueError:
            return math.nan
