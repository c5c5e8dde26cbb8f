"""Synthetic scenes on disk: a picture grid, or a session of both cameras with labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_dataset import write_sample
from differseg.errors import InputError
from differseg.options import option, parse
from differseg.runtime.registration import Registration

_PROG = "python -m differseg.data.synthetic"
_GRID_SCENES = 8
_TILE_WH = (212, 159)


@dataclass(frozen=True)
class SyntheticOptions:
    """Draw synthetic RGB-thermal scenes: a picture grid, or a session of frames with labels."""

    grid: Path | None = option(None, metavar="OUT.png")
    """Write eight scenes (RGB, thermal in a colour map, RGB with the mask) as one picture."""
    session: Path | None = option(None, metavar="DIR")
    """Write rgb/, thermal/ (16 bit, centikelvin), labels/ and registration.json here."""
    time: bool = False
    """Measure on eight scenes how long building one and drawing a frame takes, on one core."""
    seconds: float = 2.0
    """Length of the session."""
    fps: float = 30.0
    """Frames a second."""
    seed: int = 0
    """Scene; the grid shows this seed and the next seven."""
    size: tuple[int, int] = (480, 640)
    """Height and width of the RGB camera."""
    light: Literal["auto", "day", "night"] = "auto"
    """Time of day; auto lets the seed decide, and the grid alternate."""
    view: Literal["raw", "registered"] = "raw"
    """raw: the thermal camera's own size, view and delay; registered: warped to the RGB view."""


def write_session(
    folder: str | Path,
    *,
    seconds: float = 2.0,
    fps: float = 30.0,
    seed: int = 0,
    size_wh: tuple[int, int] = (640, 480),
    night: bool | None = None,
    registered: bool = False,
) -> SyntheticScene:
    """Write the frames of a scene as image folders.

    ``rgb/``, ``thermal/`` and ``labels/`` (0 and 1, in the RGB view) get one PNG a frame with
    equal names; ``registration.json`` maps thermal to RGB pixels, and ``truth.json`` holds the
    frame rate and the delay of the thermal camera.

    Args:
        folder: Where to write; created when missing, and must hold no such session yet.
        seconds: Length, above 0.
        fps: Frame rate in Hz, above 0.
        seed: Scene.
        size_wh: Width and height of the RGB camera.
        night: Day or night; None lets the seed decide.
        registered: Warp thermal to the RGB view and take the delay out, as for training.

    Returns:
        The scene.

    Raises:
        InputError: A length or rate that is not above 0, or a folder that is not free.
    """
    folder = Path(folder)
    if not seconds > 0 or not fps > 0:
        raise InputError(f"session: {seconds} s at {fps} Hz has no frames; both must be above 0")
    if (folder / "rgb").exists():
        raise InputError(f"session: {folder} holds rgb/ already; name another folder")
    scene = SyntheticScene(seed, size_wh, fps, night)
    for index in range(max(1, round(seconds * fps))):
        write_sample(folder, f"{index:06d}", _frames(scene, index / fps, registered))
    if registered:
        registration = Registration.identity(size_wh)
    else:
        registration = Registration(scene.thermal_to_rgb, scene.thermal_size_wh, size_wh)
    registration.save(folder / "registration.json")
    truth = {
        "seed": seed,
        "fps": fps,
        "night": scene.night,
        "ambient_k": round(scene.ambient_k, 2),
        "thermal_offset_s": 0.0 if registered else scene.thermal_offset_s,
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return scene


def _frames(scene: SyntheticScene, t_s: float, registered: bool) -> dict[str, npt.NDArray[Any]]:
    """Return what both cameras show at ``t_s``, and the mask."""
    if registered:
        return scene.sample(t_s)
    return {"rgb": scene.rgb(t_s), "thermal": scene.thermal(t_s), "mask": scene.mask(t_s)}


def write_grid(
    path: str | Path,
    *,
    seed: int = 0,
    size_wh: tuple[int, int] = (640, 480),
    night: bool | None = None,
) -> None:
    """Write eight scenes as one picture, two by row: RGB, thermal, RGB with the mask.

    Args:
        path: A .png or .jpg file.
        seed: First scene.
        size_wh: Width and height of the RGB camera.
        night: Day or night; None alternates.

    Raises:
        InputError: The picture cannot be written there.
    """
    path = Path(path)
    if not path.parent.is_dir() or not cv2.haveImageWriter(str(path)):
        raise InputError(
            f"grid: {path} cannot be written; name a .png or .jpg in an existing folder"
        )
    tiles = []
    for index in range(_GRID_SCENES):
        dark = index % 2 == 1 if night is None else night
        tiles.append(_row(SyntheticScene(seed + index, size_wh, night=dark)))
    rows = [np.hstack(tiles[k : k + 2]) for k in range(0, _GRID_SCENES, 2)]
    quality = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 85]
    if not cv2.imwrite(str(path), np.vstack(rows), quality):
        raise InputError(f"grid: {path} cannot be written; is the disk full or the folder locked?")


def _row(scene: SyntheticScene) -> npt.NDArray[Any]:
    """Return RGB, coloured thermal and overlay of a scene side by side, BGR."""
    sample = scene.sample(1.0)
    bgr = cv2.cvtColor(sample["rgb"], cv2.COLOR_RGB2BGR)
    low, high = np.percentile(sample["thermal"], [1, 99])
    grey = np.clip((sample["thermal"] - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    overlay = bgr.copy()
    marked = sample["mask"] > 0
    overlay[marked] = overlay[marked] // 2 + np.array([20, 40, 127], np.uint8)
    views = [bgr, cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), overlay]
    small = [cv2.resize(view, _TILE_WH, interpolation=cv2.INTER_AREA) for view in views]
    return cv2.copyMakeBorder(np.hstack(small), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0,) * 4)


def measure(size_wh: tuple[int, int] = (640, 480), seed: int = 0) -> dict[str, float]:
    """Return the median processor time in ms on one core: construct, rgb, thermal, sample.

    Args:
        size_wh: Width and height of the RGB camera.
        seed: First of eight scenes.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    spent: dict[str, list[float]] = {"construct": [], "rgb": [], "thermal": [], "sample": []}
    try:
        for index in range(_GRID_SCENES):
            start_s = process_time()
            scene = SyntheticScene(seed + index, size_wh)
            spent["construct"].append(process_time() - start_s)
            for name in ("rgb", "thermal", "sample"):
                for frame in range(12):
                    start_s = process_time()
                    getattr(scene, name)(frame / 7)
                    spent[name].append(process_time() - start_s)
    finally:
        cv2.setNumThreads(threads)
    return {name: float(np.median(times)) * 1e3 for name, times in spent.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(SyntheticOptions, argv, _PROG)
    night = {"auto": None, "day": False, "night": True}[options.light]
    size_wh = options.size[::-1]
    if options.grid is None and options.session is None and not options.time:
        raise InputError(f"{_PROG}: nothing to do; give --grid OUT.png, --session DIR or --time")
    if options.grid is not None:
        write_grid(options.grid, seed=options.seed, size_wh=size_wh, night=night)
        print(f"wrote {options.grid}")
    if options.session is not None:
        write_session(
            options.session,
            seconds=options.seconds,
            fps=options.fps,
            seed=options.seed,
            size_wh=size_wh,
            night=night,
            registered=options.view == "registered",
        )
        print(f"wrote {options.session}")
    if options.time:
        for what, ms in measure(size_wh, options.seed).items():
            print(f"{what:<10} {ms:7.1f} ms")
    return 0
