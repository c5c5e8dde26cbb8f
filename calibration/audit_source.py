"""What an audit looks at: image files, faulty ones too, or the frames of a session."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.calibration.audit_files import AuditFiles
from differseg.calibration.audit_measure import Measures, measure
from differseg.calibration.audit_report import Finding, Level, some
from differseg.calibration.session import RecordedSession
from differseg.errors import DifferSegError, InputError
from differseg.export.parity_data import spread
from differseg.manifest import InputSpec
from differseg.runtime.image_files import read_image
from differseg.runtime.preprocess import prepare_input

_COLOUR = ("rgb", "flow")


@dataclass(frozen=True)
class Item:
    """One sample.

    Attributes:
        name: File stem, or name of the frame.
        views: Modality -> what was measured; lacks what could not be used.
        time_s: Capture time in seconds, of a session; None of a folder.
    """

    name: str
    views: dict[str, Measures]
    time_s: float | None = None


class FileMaterial:
    """The images of a folder or a published data set; what cannot be used becomes a finding.

    Args:
        files: Where they lie.
        inputs: The network's inputs.
        limit: Largest number of samples, spread evenly; None takes all.

    Attributes:
        description: What it is, in words.
        findings: What was wrong with files; complete after ``items``.
    """

    session = False

    def __init__(self, files: AuditFiles, inputs: tuple[InputSpec, ...], limit: int | None) -> None:
        self._files, self._inputs = files, inputs
        self.findings: list[Finding] = list(files.findings)
        self._faults: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        names = sorted(set().union(*files.files.values()))
        self._check_partners(names)
        count = len(names) if limit is None else min(limit, len(names))
        self.names = [names[index] for index in spread(len(names), count)]
        of = f" of {len(names)}" if count < len(names) else ""
        self.description = f"{count}{of} images {files.where}"

    def items(self) -> Iterator[Item]:
        """Yield every sample, with the images that can be used."""
        for name in self.names:
            images: dict[str, npt.NDArray[Any]] = {}
            for path, held in self._files.by_file(name).items():
                images |= self._read(name, path, held)
            views: dict[str, Measures] = {}
            for spec in self._inputs:
                if spec.modality not in images:
                    continue
                view = self._measure(name, spec, images[spec.modality])
                if view is not None:
                    views[spec.modality] = view
            self._check_sizes(name, images)
            yield Item(name, views)
        self.findings += [
            Finding("error", check, what, tuple(where), todo)
            for (check, what, todo), where in self._faults.items()
        ]

    def _check_partners(self, names: list[str]) -> None:
        for modality, files in self._files.files.items():
            alone = [name for name in names if name not in files]
            if files and alone:
                what = f"{len(alone)} of {len(names)} samples have no image in {modality}/"
                todo = "add the partner or move the sample away; partners have equal stems"
                places = tuple(self._elsewhere(name) for name in alone)
                self.findings.append(Finding("error", "pairs", what, places, todo))

    def _elsewhere(self, name: str) -> str:
        held = next(iter(self._files.by_file(name).values()))
        return self._files.place(name, held[0])

    def _read(self, name: str, path: Path, held: list[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the images of a file, RGB where they have colours; none, with a fault, if bad."""
        try:
            return self._files.read(name, held)
        except InputError as error:
            fault = "modality" if _reads_as_another(path, held[0]) else "unreadable"
            text = str(error).split(f"{path}: ", 1)[-1].partition("; ")[0]
            kinds = ", ".join(held)
            todo = f"put {kinds} images there" if fault == "modality" else "replace the file"
            place = path.relative_to(self._files.root).as_posix()
            self._faults[fault, f"{kinds}: {text}", todo].append(place)
            return {}

    def _measure(self, name: str, spec: InputSpec, image: npt.NDArray[Any]) -> Measures | None:
        place = self._files.place(name, spec.modality)
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            what = f"{spec.modality}: values that are NaN or infinite"
            self._faults["nan", what, "replace them by a number, or the file"].append(place)
            return None
        try:
            return measure(place, spec, image, prepare_input(spec, image))
        except InputError as error:
            self._faults["values", str(error), "convert or replace the file"].append(place)
            return None

    def _check_sizes(self, name: str, images: Mapping[str, npt.NDArray[Any]]) -> None:
        if len({image.shape[:2] for image in images.values()}) > 1:
            what = "the images of one sample have different sizes"
            todo = "register them to one view, or add registration.json of a recorded session"
            self._faults["size", what, todo].append(name)


def _reads_as_another(path: Path, modality: str) -> bool:
    """Say whether a file that is no image of a modality is one of another kind."""
    try:
        read_image(path, "depth" if modality in _COLOUR else "rgb")
    except InputError:
        return False
    return True


class SessionMaterial:
    """The frames of a recorded session.

    Args:
        session: The recordings.
        inputs: The network's inputs.
        limit: Largest number of frames, spread evenly; None takes all.

    Attributes:
        description: What it is, in words.
        findings: What went wrong while reading; complete after ``items``.
    """

    session = True

    def __init__(
        self, session: RecordedSession, inputs: tuple[InputSpec, ...], limit: int | None
    ) -> None:
        self._session, self._inputs, self._limit = session, inputs, limit
        self.findings: list[Finding] = []
        self.description = session.description

    def items(self) -> Iterator[Item]:
        """Yield the frames, up to the first that cannot be used."""
        drops: Counter[str] = Counter()
        count = 0
        try:
            for frame in self._session.frames(self._inputs, self._indices(), drops):
                count += 1
                views: dict[str, Measures] = {
                    spec.modality: measure(
                        f"{spec.modality}/{frame.name}",
                        spec,
                        frame.images[spec.modality],
                        frame.arrays[spec.name],
                    )
                    for spec in self._inputs
                }
                yield Item(frame.name, views, frame.time_s)
        except DifferSegError as error:
            todo = "mend the recording; the device would stop there too"
            self.findings.append(Finding("error", "unreadable", str(error), (), todo))
        self._check_drops(drops, count)

    def _indices(self) -> frozenset[int] | None:
        if self._limit is None:
            return None
        total = len(self._session.names())
        return frozenset(spread(total, min(self._limit, total)))

    def _check_drops(self, drops: Counter[str], count: int) -> None:
        lost = sum(drops.values())
        if not lost:
            return
        causes = some(f"{number} {cause.replace('_', ' ')}" for cause, number in drops.items())
        what = f"{lost} RGB frames have no thermal partner ({causes})"
        level: Level = "error" if lost > count and self._limit is None else "warning"
        todo = "look at the time stamps, --tolerance-ms and --thermal-offset-ms"
        self.findings.append(Finding(level, "pairs", what, (), todo))


Material = FileMaterial | SessionMaterial
