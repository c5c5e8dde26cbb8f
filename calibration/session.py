"""A recorded camera session as the device sees it: paired, registered, mapped over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError, SourceError
from differseg.manifest import InputSpec
from differseg.runtime.feed import Feed, ThermalWatch, open_feed
from differseg.runtime.image_files import list_images
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.preprocess import InputPreparer
from differseg.runtime.registration import Registration
from differseg.runtime.session_file import is_recording, load_record
from differseg.runtime.sinks.outputs import source_path
from differseg.runtime.sources import Source, open_source
from differseg.runtime.sources.files import TIMESTAMP_FILE, match_folders

REGISTRATION_FILE = "registration.json"
"""Its presence beside ``rgb/`` and ``thermal/`` says that a folder is a recorded session."""

_TIMEOUT_S = 60.0  # for one pair to be decoded


@dataclass(frozen=True)
class SessionFrame:
    """One pair of a session.

    Attributes:
        name: File stem, or ``frame-000012`` of a video.
        time_s: Capture time of the RGB frame, seconds of media time.
        images: rgb: (H, W, 3) uint8 RGB; thermal: (H, W) uint8 or uint16 in the RGB view.
        arrays: Input name -> array as the graph takes it; empty for a frame that was not asked
            for.
    """

    name: str
    time_s: float
    images: dict[str, npt.NDArray[Any]]
    arrays: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RecordedSession:
    """Recordings of one or two cameras, read as ``differseg run`` reads them.

    Every pair that the device would segment is a frame; the thermal policy is smoothed over all of
    them, whichever are then used.

    Attributes:
        rgb: Video file or image folder.
        thermal: The same of the thermal camera; None without one.
        registration: Homography that brings thermal frames into the RGB view; None where both
            have one view.
        tolerance_ms: Largest difference in capture time within a pair.
        thermal_offset_ms: Known lateness of the thermal time stamps.
    """

    rgb: str | Path
    thermal: str | Path | None = None
    registration: Path | None = None
    tolerance_ms: float = 60.0
    thermal_offset_ms: float = 0.0

    @classmethod
    def in_folder(cls, root: str | Path) -> RecordedSession:
        """Return the session of a folder with ``rgb/``, ``thermal/`` and ``registration.json``."""
        root = Path(root)
        thermal = root / "thermal"
        registration = root / REGISTRATION_FILE
        return cls(
            root / "rgb",
            thermal if thermal.is_dir() else None,
            registration if registration.is_file() else None,
            thermal_offset_ms=load_record(root).thermal_offset_ms if is_recording(root) else 0.0,
        )

    @property
    def description(self) -> str:
        """What is recorded, in words."""
        parts = [str(part) for part in (self.rgb, self.thermal) if part is not None]
        if self.registration is not None:
            parts.append(f"registered by {self.registration}")
        return f"session {', '.join(parts)}"

    def files(self) -> list[Path]:
        """Return every file that decides what the frames are.

        Raises:
            InputError: A source that is not recorded.
        """
        found = [] if self.registration is None else [self.registration]
        for text in (self.rgb, self.thermal):
            if text is None:
                continue
            path = source_path(str(text))
            if path is None or not (path.is_file() or path.is_dir()):
                raise InputError(
                    f"session: {text} is not recorded; give a video file or a folder of images"
                )
            if path.is_dir():
                found += list_images(path).values()
                table = path / TIMESTAMP_FILE
                found += [table] if table.is_file() else []
            else:
                found.append(path)
        return found

    def names(self) -> list[str]:
        """Return the names of the frames in order; reads all of them.

        Raises:
            InputError, SourceError: A recording cannot be used, or the session holds no pair.
        """
        names = [_name(pair) for pair in self._pairs()]
        if not names:
            raise SourceError(
                f"{self.description}: holds no pair of frames within {self.tolerance_ms:g} ms; "
                "are both recordings of one moment?"
            )
        return names

    def frames(
        self,
        inputs: tuple[InputSpec, ...],
        indices: frozenset[int] | None = None,
        drops: Counter[str] | None = None,
    ) -> Iterator[SessionFrame]:
        """Yield the frames in order.

        Args:
            inputs: The network's inputs.
            indices: Prepare and yield these alone; None takes all.
            drops: Counts, at the end, the RGB frames that became no frame, by cause.

        Raises:
            InputError: The inputs are not rgb and thermal, or a frame that cannot be used.
            SourceError: A recording cannot be opened, or breaks off.
        """
        self._check_inputs(inputs)
        warp = None if self.registration is None else Registration.load(self.registration)
        preparers = [InputPreparer(spec, color_order="BGR") for spec in inputs]
        for index, pair in enumerate(self._pairs(drops)):
            images, asked = _images(pair, warp), indices is None or index in indices
            arrays = {
                p.spec.name: p.prepare(images[p.spec.modality], timestamp_s=_thermal_s(pair))
                for p in preparers
                # The mapper remembers every thermal frame, as on the device.
                if asked or p.mapper is not None
            }
            if asked:
                yield _frame(pair, images, arrays)

    def _check_inputs(self, inputs: tuple[InputSpec, ...]) -> None:
        wanted = [spec.modality for spec in inputs]
        given = ["rgb"] if self.thermal is None else ["rgb", "thermal"]
        if sorted(wanted) != sorted(given):
            raise InputError(
                f"{self.description}: gives {' and '.join(given)}, but the network takes "
                f"{' and '.join(wanted)}"
            )

    def _pairs(self, drops: Counter[str] | None = None) -> Iterator[Pair]:
        """Yield the pairs that a run would process, in order."""
        self.files()  # refuses what is not recorded, before a camera is opened
        with ExitStack() as opened:
            feed = self._open(opened)
            feed.start()
            while not feed.ended:
                delivery = feed.take(_TIMEOUT_S)
                if delivery is None:
                    continue
                if delivery.thermal_lost is None:
                    yield delivery.pair
                elif feed.thermal is not None and feed.thermal.error is not None:
                    raise feed.thermal.error
                else:
                    feed.drops["no_thermal_in_tolerance"] += 1  # the thermal recording has ended
            if drops is not None:
                drops.update(feed.drops)

    def _open(self, opened: ExitStack) -> Feed:
        """Open the recordings and return the feed, which closes with the stack."""
        given: list[tuple[str | Path, Literal["rgb", "thermal"]]] = [(self.rgb, "rgb")]
        if self.thermal is not None:
            given.append((self.thermal, "thermal"))
        sources: list[Source] = []
        for text, modality in given:
            sources.append(open_source(str(text), modality))
            opened.callback(sources[-1].close)
        if len(sources) == 2:
            match_folders(*sources)
        pairer = Pairer(self.tolerance_ms, self.thermal_offset_ms, live=False)
        thermal = sources[1] if len(sources) == 2 else None
        # Without a limit in time: a pause of the thermal camera drops frames, it ends nothing.
        watch = ThermalWatch(float("inf"))
        feed = open_feed(sources[0], thermal, pairer if thermal is not None else None, watch)
        opened.callback(feed.close)
        return feed


def is_session(root: str | Path) -> bool:
    """Say whether a folder is a session: it holds ``registration.json``, or --record wrote it."""
    return (Path(root) / REGISTRATION_FILE).is_file() or is_recording(Path(root))


def _images(pair: Pair, warp: Registration | None) -> dict[str, npt.NDArray[Any]]:
    """Return what the device prepares: BGR, and thermal in the RGB view."""
    images = {"rgb": pair.rgb.image}
    if pair.thermal is not None:
        height, width = pair.rgb.image.shape[:2]
        thermal = pair.thermal.image
        images["thermal"] = thermal if warp is None else warp.warp(thermal, (width, height))
    return images


def _thermal_s(pair: Pair) -> float | None:
    return None if pair.thermal is None else pair.thermal.timestamp_s


def _frame(
    pair: Pair, images: dict[str, npt.NDArray[Any]], arrays: dict[str, npt.NDArray[Any]]
) -> SessionFrame:
    own = {
        name: np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image.copy()
        for name, image in images.items()
    }
    return SessionFrame(_name(pair), pair.rgb.timestamp_s, own, arrays)


def _name(pair: Pair) -> str:
    return pair.rgb.name or f"frame-{pair.rgb.index:06d}"
