"""An audit from Python: read, measure, check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import track

from differseg.calibration.audit_checks import IMAGE_CHECKS, Audited
from differseg.calibration.audit_coverage import (
    SET_CHECKS,
    input_figures,
    light_counts,
)
from differseg.calibration.audit_files import files_of
from differseg.calibration.audit_pictures import check_picture_path, write_pictures
from differseg.calibration.audit_report import AuditReport, by_weight
from differseg.calibration.audit_source import FileMaterial, Item, Material, SessionMaterial
from differseg.calibration.dataset import calibration_split
from differseg.calibration.session import RecordedSession, is_session
from differseg.errors import InputError
from differseg.manifest import InputSpec, ThermalPolicy
from differseg.models.inputs import input_specs
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModalitySpec, ModelSpec

_SIZE_HW = (480, 640)


def audit(
    data: str | Path | RecordedSession,
    inputs: tuple[InputSpec, ...],
    limit: int | None = None,
    *,
    split: str | None = None,
    pictures: str | Path | None = None,
    progress: bool = False,
) -> AuditReport:
    """Look at the images of a folder, a published data set or a session.

    Args:
        data: Folder; a session where it holds ``registration.json``; ``NAME:DIR`` of a data set; or
            a session.
        inputs: The network's inputs, from its manifest or :func:`plain_inputs`.
        limit: Largest number of samples, spread evenly; None takes all.
        split: Of a data set given by name; None takes ``train``, as calibration does.
        pictures: Image file for thumbnails.
        progress: Whether to show a progress bar on standard error.

    Raises:
        InputError: There is no such folder, no images in it, a data set that does not lie there,
            or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"audit: limit: expected a number of at least 1, got {limit}")
    if pictures is not None:
        check_picture_path(Path(pictures))
    material = _material(data, inputs, limit, split)
    items = list(_tracked(material.items(), progress))
    audited = Audited(inputs, [item for item in items if item.views], material.session)
    found = chain.from_iterable(check(audited) for check in (*IMAGE_CHECKS, *SET_CHECKS))
    findings = by_weight([*material.findings, *found] if audited.items else material.findings)
    if pictures is not None:
        write_pictures(Path(pictures), audited.items, findings)
    bright, dark = light_counts(audited)
    return AuditReport(
        data=material.description,
        images=len(items),
        distinct=len(audited.repeats[0]),
        bright=bright,
        dark=dark,
        inputs=tuple(input_figures(audited, spec) for spec in inputs),
        findings=findings,
    )


def plain_inputs(modalities: Sequence[str]) -> tuple[InputSpec, ...]:
    """Return inputs of these modalities as a network of 480 x 640 pixels takes them.

    Raises:
        InputError: An unknown modality, or one that stands there twice.
    """
    known = {spec.name: spec for group in MODALITIES.values() for spec in group}
    chosen: list[ModalitySpec] = []
    for name in modalities:
        spec = next((spec for key, spec in known.items() if key == name), None)
        if spec is None or spec in chosen:
            raise InputError(
                f"audit: inputs: expected some of {', '.join(known)}, each once, "
                f"got '{','.join(modalities)}'"
            )
        chosen.append(spec)
    network = ModelSpec("audit", "", "rgb", tuple(chosen), BINARY_CLASSES, _SIZE_HW)
    return input_specs(network, _SIZE_HW, ThermalPolicy())


def _material(
    data: str | Path | RecordedSession,
    inputs: tuple[InputSpec, ...],
    limit: int | None,
    split: str | None,
) -> Material:
    if isinstance(data, RecordedSession):
        return SessionMaterial(data, inputs, limit)
    if split is None and is_session(data):
        return SessionMaterial(RecordedSession.in_folder(data), inputs, limit)
    files = files_of(str(data), inputs, calibration_split(str(data), split))
    return FileMaterial(files, inputs, limit)


def _tracked(items: Iterable[Item], progress: bool) -> Iterator[Item]:
    console = Console(stderr=True)
    shown = progress and sys.stderr.isatty()
    yield from track(items, "images", console=console, transient=True, disable=not shown)
