"""A recorded session played again: the same pixels, stamps and frame numbers."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from differseg.errors import InputError, SourceError
from differseg.runtime.session_file import (
    REGISTRATION_FILE,
    TABLE_FILE,
    FrameRow,
    SessionRecord,
    is_recording,
    load_record,
    read_table,
)
from differseg.runtime.sources.base import Frame, Modality, Source
from differseg.runtime.sources.files import PacedSource

if TYPE_CHECKING:
    from differseg.runtime.registration import Registration

_PREFIX = "session:"


class SessionSource(Source):
    """One camera of a recorded session.

    Every image is checked against its table's CRC-32, so what is played is what was recorded.

    Args:
        folder: The session's.
        modality: ``rgb`` or ``thermal``.

    Attributes:
        folder: The session's.
        record: What ``session.json`` says; valid after ``open``.
    """

    live = False
    clock = "media"

    def __init__(self, folder: Path, modality: Modality) -> None:
        super().__init__(modality)
        self.folder = folder
        self.record: SessionRecord | None = None
        self._rows: list[FrameRow] = []
        self._next: int | None = None
        self.description = f"session {folder} ({modality})"

    @property
    def thermal_offset_ms(self) -> float:
        """Lateness of the thermal stamps that the recorded run reckoned with; after ``open``."""
        return 0.0 if self.record is None else self.record.thermal_offset_ms

    def open(self) -> None:
        """Read the record and the table."""
        self.record = load_record(self.folder)
        if self.modality not in self.record.cameras:
            had = " and ".join(self.record.cameras)
            raise SourceError(f"{self.folder}: the session holds {had}, not {self.modality}")
        self._rows, torn = read_table(self.folder / self.modality / TABLE_FILE)
        if not self._rows:
            raise SourceError(f"{self.folder}: the session holds no {self.modality} frames")
        self.fps, self.size_wh = self.record.cameras[self.modality].fps, None
        self._next = 0
        self.notes = []
        if self.record.end is None or torn:
            self.notes.append(
                f"{self.description}: the recording was cut off; it plays up to frame "
                f"{len(self._rows)}, the end of its last chunk"
            )
        elif lost := self.record.end.dropped.get(self.modality):
            self.notes.append(f"{self.description}: the recorder lost {lost} frames")

    def read(self) -> Frame | None:
        """Return the next frame as it was recorded.

        Raises:
            SourceError: Its file is missing or not the one that was written.
        """
        if self._next is None:
            raise SourceError(f"{self.description}: read before open")
        if self._next >= len(self._rows):
            return None
        frame = self.load(self._rows[self._next])
        self._next += 1
        self.size_wh = (frame.image.shape[1], frame.image.shape[0])
        return frame

    @property
    def rows(self) -> list[FrameRow]:
        """Every frame of the table, in the order they came; after ``open``."""
        return list(self._rows)

    def load(self, row: FrameRow) -> Frame:
        """Return one frame as it was recorded.

        Raises:
            SourceError: Its file is missing or not the one that was written.
        """
        path = self.folder / self.modality / f"{row.name}.png"
        try:
            png = path.read_bytes()
        except OSError as error:
            raise SourceError(
                f"{path}: cannot be read ({error.strerror}), but {TABLE_FILE} names it"
            ) from None
        if len(png) != row.bytes or zlib.crc32(png) != row.crc32:
            raise SourceError(f"{path}: is not the file that was recorded (damaged or edited)")
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise SourceError(f"{path}: cannot be decoded by OpenCV {cv2.__version__}")
        return Frame(image, row.timestamp_s, row.index, row.source_name)

    def close(self) -> None:
        """Forget the table."""
        self._next, self._rows = None, []


def session_source(text: str, modality: Modality) -> SessionSource | None:
    """Return the source of ``session:DIR``, of a session's folder, or of one camera in it.

    Args:
        text: Of ``--rgb`` or ``--thermal``.
        modality: Which of the two.

    Returns:
        None where the text means something else.

    Raises:
        InputError: The folder of the session's other camera.
        SourceError: ``session:`` and a folder that holds none.
    """
    if text.startswith(_PREFIX):
        folder = Path(text[len(_PREFIX) :]).expanduser()
        if not is_recording(folder):
            raise SourceError(
                f"--{modality} {text}: {folder} holds no session.json; name the folder that "
                "--record wrote"
            )
        return SessionSource(folder, modality)
    folder = Path(text).expanduser()
    if is_recording(folder):
        return SessionSource(folder, modality)
    if folder.name not in ("rgb", "thermal") or not is_recording(folder.parent):
        return None
    if folder.name != modality:
        raise InputError(f"--{modality} {text}: is the {folder.name} camera of a session")
    return SessionSource(folder.parent, modality)


def one_session(rgb: Source, thermal: Source) -> SessionSource | None:
    """Return the session that two open sources play, or None where they are of no common one."""
    a, b = (s.inner if isinstance(s, PacedSource) else s for s in (rgb, thermal))
    if not isinstance(a, SessionSource) or not isinstance(b, SessionSource):
        return None
    return a if a.folder.resolve() == b.folder.resolve() else None


def session_registration(session: SessionSource) -> Registration | None:
    """Return the registration of the run that was recorded; None where it had none.

    Raises:
        InputError: Its file is damaged.
    """
    from differseg.runtime.registration import Registration

    path = session.folder / REGISTRATION_FILE
    return Registration.load(path) if path.is_file() else None
