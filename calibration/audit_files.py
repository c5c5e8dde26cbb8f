"""Where the images of an audit lie: a folder, faulty ones too, or a published data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from differseg.calibration.audit_report import Finding
from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import open_dataset, parse_data
from differseg.data.folder import Planes, decode_camera
from differseg.data.labels import NO_LABELS
from differseg.errors import InputError
from differseg.manifest import InputSpec
from differseg.runtime.image_files import list_images


@dataclass(frozen=True)
class AuditFiles:
    """Files of samples.

    Attributes:
        root: The folder they lie in.
        files: Modality to the file of each sample that has one; a file may hold several.
        read: From the name of a sample and modalities that one file holds to arrays.
        where: What they are, behind a number of images.
        findings: What is wrong with the folder as such.
    """

    root: Path
    files: Mapping[str, Mapping[str, Path]]
    read: Callable[[str, Sequence[str]], Planes]
    where: str
    findings: tuple[Finding, ...] = ()

    def by_file(self, name: str) -> dict[Path, list[str]]:
        """Return the files of a sample, and the modalities that each holds."""
        held: dict[Path, list[str]] = {}
        for modality, files in self.files.items():
            if name in files:
                held.setdefault(files[name], []).append(modality)
        return held

    def place(self, name: str, modality: str) -> str:
        """Say where an image lies: its path below the folder, and which part of the file."""
        path = self.files[modality][name]
        shared = len(self.by_file(name)[path]) > 1
        return f"{path.relative_to(self.root).as_posix()}{f' ({modality})' if shared else ''}"


def files_of(data: str, inputs: Sequence[InputSpec], split: str | None) -> AuditFiles:
    """Find the images that an audit looks at.

    Args:
        data: A folder, or ``NAME:DIR`` of a published data set.
        inputs: The network's inputs.
        split: Of the data set; None of a folder.

    Raises:
        InputError: There is no such folder, it holds none of the inputs, a data set that does not
            lie there, or a split of a folder.
    """
    info, root = parse_data(data)
    modalities = [spec.modality for spec in inputs]
    if info is None and split is None:
        return _in_folder(root, modalities)
    found = open_dataset(data, split, modalities, label_rule=NO_LABELS)
    assert isinstance(found, PublishedDataset)  # a split of a folder is refused there
    where = f"of {found.name}, split {found.split}, in {root}"
    return AuditFiles(root, found.files, found.decode, where)


def _in_folder(root: Path, modalities: Sequence[str]) -> AuditFiles:
    if not root.is_dir():
        raise InputError(f"audit: {root}: there is no such folder")
    files: dict[str, dict[str, Path]] = {}
    findings: list[Finding] = []
    for modality in modalities:
        try:
            files[modality] = list_images(root / modality)
        except InputError as error:
            todo = f"add {modality}/, or audit for the inputs that are there (--inputs)"
            findings.append(Finding("error", "pairs", str(error), (f"{modality}/",), todo))
            files[modality] = {}
    if not any(files.values()):
        wanted = ", ".join(f"{modality}/" for modality in modalities)
        raise InputError(f"audit: {root}: holds no images; expected {wanted} with equal names")

    def read(name: str, wanted: Sequence[str]) -> Planes:
        return decode_camera(files[wanted[0]][name], wanted)

    return AuditFiles(root, files, read, f"in {root}", tuple(findings))
