"""Segment image files: folders matched by name, or one file per modality.

python runtime/run_images.py --model F.onnx --rgb DIR --thermal DIR --out OUT
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Run as a script, Python looks into this folder first; the modules live in the package.
    _HERE = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    try:
        import differseg.runtime  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"error[E_MISSING]: the package '{error.name}' is not installed; "
            "in the repository, run: pip install -e '.[runtime]'",
            file=sys.stderr,
        )
        sys.exit(3)

from differseg.errors import InputError, MissingComponentError
from differseg.options import option, parse, run_main
from differseg.runtime.backends import BackendName, CpuPrecision
from differseg.runtime.backends.options import EngineOptions

if TYPE_CHECKING:
    from differseg.runtime.overlay import OverlayPainter
    from differseg.runtime.registration import Registration
    from differseg.runtime.segmenter import Result, Segmenter

_LOG = logging.getLogger(__name__)

MODALITIES = ("rgb", "thermal", "depth", "flow")

_LEAST_SHOWN = 0.0005  # part of a class that is not printed as 0.0 %


@dataclass(frozen=True)
class RunImagesOptions(EngineOptions):
    """Segment image files and write masks and overlays."""

    model: Path = option(metavar="F.onnx")
    """The model file."""
    rgb: Path = option(metavar="DIR|FILE")
    """Colour images."""
    out: Path = option(metavar="DIR")
    """Folder for masks/ and overlays/."""
    thermal: Path | None = option(None, metavar="DIR|FILE")
    """Thermal images, 8 or 16 bit, with the stems of the colour images."""
    depth: Path | None = option(None, metavar="DIR|FILE")
    """Depth images, for a model that takes them."""
    flow: Path | None = option(None, metavar="DIR|FILE")
    """Colour-coded optical flow, for a model that takes it."""
    registration: Path | None = option(None, metavar="F.json")
    """Homography that brings the thermal images into the colour camera's view."""
    threshold: float | None = None
    """Probability from which a pixel is foreground, for two classes; the model's own when left
    out."""
    tile: tuple[int, int] | None = option(None, metavar="HxW")
    """Segment large images in tiles of this many pixels, shrunk to the model's size where they
    are larger; the whole image is shrunk when left out."""
    overlap: float | None = option(None, metavar="N")
    """What neighbouring tiles have in common at least: below 1 a share of the tile, from 1 on
    pixels; a quarter when left out, at most half."""
    whole_view: bool | None = None
    """With --tile, look at the whole image first and then only at the tiles that it left unsure,
    which is so unless it is forbidden."""
    overlays: bool = True
    """Write overlays as well as masks."""
    viewable: bool = False
    """Write masks in black and white (0 and 255), or with more than two classes in their colours,
    instead of class ids."""
    json: bool = False
    """Print the summary as one JSON document."""


@dataclass(frozen=True)
class Stage:
    """Time of one stage over all images but the first, in milliseconds."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    images: int
    """Number of samples segmented."""
    masks: str
    """Folder of the masks."""
    overlays: str | None
    """Folder of the overlays, None when they were not asked for."""
    mean_coverage: float
    """Part of the pixels that are foreground, 0..1, mean over the images."""
    class_coverage: dict[str, float]
    """Class name -> part of the pixels, 0..1, mean over the images."""
    stages: dict[str, Stage]
    """``read``, ``register`` (with a registration), ``prepare``, ``infer``, ``post``, ``write``."""
    backend: str
    """Inference engine, and why it was chosen."""
    warnings: tuple[str, ...]
    """What the run noticed, one line each."""


def run_images(
    model: str | Path,
    rgb: str | Path,
    out: str | Path,
    *,
    thermal: str | Path | None = None,
    depth: str | Path | None = None,
    flow: str | Path | None = None,
    registration: str | Path | Registration | None = None,
    threshold: float | None = None,
    backend: BackendName = "auto",
    threads: int | None = None,
    cpu_precision: CpuPrecision | None = None,
    engine_key: str | Path | None = None,
    tile: tuple[int, int] | None = None,
    overlap: float | None = None,
    whole_view: bool | None = None,
    overlays: bool = True,
    viewable: bool = False,
    progress: bool = False,
) -> Summary:
    """Segment image files and write ``out/masks/STEM.png`` and ``out/overlays/STEM.png``.

    Each sample is taken as a single image: nothing is remembered from one to the next.

    Args:
        model: An .onnx file with a manifest.
        rgb: Folder or file of colour images.
        out: Folder to write into; made when absent, files of the same name are replaced.
        thermal: Folder or file, when the model takes thermal.
        depth: Folder or file, when the model takes depth.
        flow: Folder or file, when the model takes flow.
        registration: Homography of the thermal images, or its file.
        threshold: Probability from which a pixel is foreground; None takes the model's.  For
            models with two classes.
        backend: Inference engine; ``auto`` takes the fastest that is installed.
        threads: Processor threads; None takes one per usable core.
        cpu_precision: What OpenVINO computes in; None takes float32.
        engine_key: Key file of who must have signed an engine; None takes any that we built.
        tile: Height and width of a tile in pixels of the image; None shrinks the whole image.
        overlap: Of tiles, a share below 1 or pixels; None takes a quarter.
        whole_view: Whether the whole image is seen before its tiles; None does.
        overlays: Whether to write overlays.
        viewable: Masks as 0 and 255, or in the colours of more than two classes, instead of ids.
        progress: Whether to show a progress bar on standard error.

    Raises:
        DifferSegError: The model, an image, the registration or the folders cannot be used.
    """
    from differseg.runtime.image_files import match_images
    from differseg.runtime.registration import Registration
    from differseg.runtime.tiling_options import tiles_of
    from differseg.runtime.tiling_run import open_segmenter, progress_bar

    given = dict(zip(MODALITIES, (rgb, thermal, depth, flow), strict=True))
    places = {modality: place for modality, place in given.items() if place is not None}
    if isinstance(registration, (str, Path)):
        registration = Registration.load(registration)
    samples = match_images(places)
    with open_segmenter(
        (model, backend, threads, "BGR", threshold, cpu_precision, engine_key),
        tiles_of(tile, overlap, whole_view),
    ) as segmenter:
        _check_modalities(segmenter, places, registration)
        note = None if registration is None else registration.coverage_note()
        if note is not None:
            _LOG.warning(note)
        _check_out(places, samples, Path(out), overlays)
        job = _Job(segmenter, registration, Path(out), overlays, viewable)
        segmenter.warmup(1)
        with progress_bar(len(samples), segmenter, progress) as advance:
            for stem, paths in samples:
                job.run(stem, paths)
                advance()
        summary = job.summary()
        return summary if note is None else replace(summary, warnings=(note, *summary.warnings))


def _check_modalities(
    segmenter: Segmenter, places: dict[str, str | Path], registration: Registration | None
) -> None:
    """Refuse modalities that the model does not take, or lacks."""
    for modality in segmenter.modalities:
        if modality not in places:
            raise InputError(
                f"{segmenter.manifest.model} takes {' and '.join(segmenter.modalities)}: "
                f"add --{modality} DIR"
            )
    for modality in places:
        if modality not in segmenter.modalities:
            raise InputError(
                f"{segmenter.manifest.model} takes {' and '.join(segmenter.modalities)}: "
                f"leave out --{modality}"
            )
    if registration is not None and "thermal" not in places:
        raise InputError("--registration moves thermal images, but there is no --thermal")


def _check_out(
    places: dict[str, str | Path],
    samples: list[tuple[str, dict[str, Path]]],
    out: Path,
    overlays: bool,
) -> None:
    """Refuse to write over an image that is read, or among them."""
    from differseg.runtime.sinks.outputs import refuse_clashes

    inputs = [(f"--{modality}", Path(place)) for modality, place in places.items()]
    folders = [out / "masks", out / "overlays"] if overlays else [out / "masks"]
    outputs = [("--out", folder) for folder in folders]
    for stem, paths in samples:
        inputs += [(f"--{modality}", path) for modality, path in paths.items()]
        outputs += [("--out", folder / f"{stem}.png") for folder in folders]
    refuse_clashes(inputs, outputs)


class _Job:
    """One run over many samples: what is opened once, and the times so far."""

    def __init__(
        self,
        segmenter: Segmenter,
        registration: Registration | None,
        out: Path,
        overlays: bool,
        viewable: bool,
    ) -> None:
        from differseg.runtime.overlay import OverlayPainter

        self.segmenter = segmenter
        self.registration = registration
        self.viewable = viewable
        self.masks = _folder(out / "masks")
        self.overlays = _folder(out / "overlays") if overlays else None
        self.painter: OverlayPainter = OverlayPainter(segmenter.manifest.classes)
        self.times_ms: dict[str, list[float]] = {}
        self.coverages: list[dict[str, float]] = []
        self.foregrounds: list[float] = []

    def run(self, stem: str, paths: dict[str, Path]) -> None:
        """Segment one sample and write its files."""
        from differseg.runtime.image_files import read_image

        start_s = time.perf_counter()
        frames = {modality: read_image(path, modality) for modality, path in paths.items()}
        read_s = time.perf_counter()
        if self.registration is not None:
            height, width = frames["rgb"].shape[:2]
            frames["thermal"] = self.registration.warp(frames["thermal"], (width, height))
        registered_s = time.perf_counter()
        try:
            result = self.segmenter(timestamp_s=None, **frames)
        except InputError as error:
            raise InputError(f"sample '{stem}': {error}") from None
        segmented_s = time.perf_counter()
        self._write(stem, frames, result)
        written_s = time.perf_counter()
        self.coverages.append(result.class_coverage)
        self.foregrounds.append(result.coverage)
        self._record(read=(read_s - start_s) * 1e3)
        if self.registration is not None:
            self._record(register=(registered_s - read_s) * 1e3)
        self._record(**result.timings_ms, write=(written_s - segmented_s) * 1e3)

    def _write(self, stem: str, frames: dict[str, Any], result: Result) -> None:
        from differseg.runtime.sinks.masks import write_png

        mask, classes = result.mask, result.classes
        if self.viewable and len(classes) == 2:
            mask = (mask != classes[0].id).astype("uint8") * 255
        elif self.viewable:
            mask = self.painter.colored(mask)
        write_png(self.masks / f"{stem}.png", mask)
        if self.overlays is not None:
            picture = self.painter.draw(
                frames["rgb"], result.mask, thermal=frames.get("thermal"), out=frames["rgb"]
            )
            write_png(self.overlays / f"{stem}.png", picture)

    def _record(self, **times_ms: float) -> None:
        for stage, value in times_ms.items():
            self.times_ms.setdefault(stage, []).append(value)

    def summary(self) -> Summary:
        """Return the figures of the run; the first sample fills buffers and is not timed."""
        import numpy as np

        stages = {}
        for stage, values in self.times_ms.items():
            p50_ms, p95_ms = np.percentile(values[1:] or values, [50, 95])
            stages[stage] = Stage(round(float(p50_ms), 3), round(float(p95_ms), 3))
        backend = self.segmenter.backend
        return Summary(
            images=len(self.foregrounds),
            masks=str(self.masks),
            overlays=str(self.overlays) if self.overlays else None,
            mean_coverage=round(sum(self.foregrounds) / len(self.foregrounds), 6),
            class_coverage={
                name: round(sum(parts[name] for parts in self.coverages) / len(self.coverages), 6)
                for name in self.coverages[0]
            },
            stages=stages,
            backend=f"{backend.name}: {backend.reason}",
            warnings=self.segmenter.warnings,
        )


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: cannot make {path} ({error.strerror})") from None
    return path


def _print_summary(summary: Summary) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "p50 ms", "p95 ms", box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, stage in summary.stages.items():
        table.add_row(name, f"{stage.p50_ms:.2f}", f"{stage.p95_ms:.2f}")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{summary.images} images, foreground {summary.mean_coverage:.1%} of the pixels")
    if len(summary.class_coverage) > 2:
        found = sorted(summary.class_coverage.items(), key=lambda item: -item[1])
        parts = [f"{name} {part:.1%}" for name, part in found if part >= _LEAST_SHOWN]
        console.print(f"classes   {', '.join(parts)}", soft_wrap=True)
    console.print(f"masks     {summary.masks}", soft_wrap=True)
    if summary.overlays:
        console.print(f"overlays  {summary.overlays}", soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(RunImagesOptions, argv, "run_images")
    arguments = {name: getattr(options, name) for name in options.__dataclass_fields__}
    as_json = arguments.pop("json")
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    try:
        summary = run_images(**arguments, progress=not as_json)
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"run_images needs the package '{error.name}', which is not installed; "
            "install it with: pip install 'differseg[runtime]'"
        ) from None
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        _print_summary(summary)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
