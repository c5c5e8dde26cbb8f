"""``differseg convert``: a published checkpoint as a file of ours, every entry accounted for.

The file's names and shapes say which network it is; the named configuration must agree with them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from differseg.authors_names.layout import LAYOUTS
from differseg.checkpoint_files import Snapshot, read_snapshot
from differseg.checkpoints import check_fit, read_info, save_checkpoint
from differseg.errors import CheckpointError, InputError
from differseg.models.base import SegmentationModel
from differseg.models.registry import create_model, find_model
from differseg.models.spec import Task
from differseg.options import option, parse, unwinding_on_sigterm
from differseg.published_models import choose_model
from differseg.published_weights import Translation, translate

_COUNTER = ".num_batches_tracked"
"""Entries that old files lack; they count training steps and change no output."""


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of a network's authors into one of differseg's.

    Detects the network and its variant from names and shapes, renames every entry, and says
    what has no counterpart. Nothing in the file is run; the output appears when everything fits.
    """

    file: Path = option(positional=True, metavar="AUTHORS.pth")
    """The authors' file: .pth, .pt or .safetensors."""
    out: Path = option(short="-o", metavar="F.safetensors")
    """The file to write."""
    model: str | None = option(None, metavar="NAME")
    """What it must be, see 'differseg models'; by default what is detected."""
    task: Literal["rgb", "rgbd", "rgbt", "video"] | None = None
    """Second input, where the weights fit several; by default that of the model."""
    averaged: bool = False
    """Take the averaged weights that a training snapshot holds beside the last ones."""
    json: bool = False
    """Print the report as one JSON document on the last line."""


@dataclass(frozen=True)
class ConvertReport:
    """What was read, what it is, and what became of every entry.

    Attributes:
        file: The authors' file, and ``sha256`` its fingerprint.
        out: The file that was written.
        model: Name of the network; with ``config`` it rebuilds it.
        place: The key that held the weights, "" for a bare state dict.
        averaged: Whether averaged weights were taken; ``average`` is the key of those there are.
        mapped: Published name -> ours.
        dropped: Published name -> why it has no counterpart.
        missed: Our names that the file lacks; they are counters, and start at 0.
        kinds: Kinds of numbers in the file; float32 is written.
    """

    file: str
    sha256: str
    out: str
    model: str
    config: dict[str, Any]
    place: str
    average: str
    averaged: bool
    mapped: dict[str, str]
    dropped: dict[str, str]
    missed: tuple[str, ...]
    kinds: tuple[str, ...]


def convert(options: ConvertOptions) -> ConvertReport:
    """Convert a published checkpoint; the output appears complete or stays as it was.

    Raises:
        InputError: Another suffix of the output, an unknown model, or weights that fit several.
        CheckpointError: An unsafe, damaged or unknown file, or the weights of another network.
        MissingComponentError: The network needs a package that is absent.
    """
    path, out = Path(options.file), Path(options.out)
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: checkpoints are written as .safetensors")
    snapshot = read_snapshot(path, averaged=options.averaged)
    if out.exists() and out.samefile(path):
        raise InputError(f"--out {out}: is the file to convert; name another one")
    _refuse_own(path)
    name, settings = _identified(path, snapshot, options.model, options.task)
    with torch.device("meta"):  # the file has the weights
        model = create_model(name, **settings)
    translation, missed = _fitted(path, snapshot.tensors, model)
    model.load_state_dict(translation.tensors, strict=True, assign=True)
    digest = _sha256(path)
    save_checkpoint(out, model, extra={"converted_from": path.name, "converted_sha256": digest})
    return ConvertReport(
        file=str(path),
        sha256=digest,
        out=str(out),
        model=name,
        config=model.spec.config,
        place=snapshot.place,
        average=snapshot.average,
        averaged=options.averaged,
        mapped=translation.names,
        dropped=translation.dropped,
        missed=missed,
        kinds=tuple(sorted({str(v.dtype)[6:] for v in snapshot.tensors.values()})),
    )


def _refuse_own(path: Path) -> None:
    info = read_info(path)
    if info is not None:
        raise CheckpointError(
            f"checkpoint {path}: differseg wrote it, as '{info.model}'; use it as it is"
        )


def _identified(
    path: Path, snapshot: Snapshot, wanted: str | None, task: Task | None
) -> tuple[str, dict[str, Any]]:
    """Return a model's name and settings that fit the weights."""
    if wanted is not None:
        find_model(wanted)  # before the file is judged: a misspelt name is the user's first mistake
    system, settings = _detected(path, snapshot)
    if system is None:
        if wanted is None:
            first = ", ".join(f"'{key}'" for key in list(snapshot.tensors)[:3])
            raise CheckpointError(
                f"checkpoint {path}: of no network that differseg knows ({', '.join(LAYOUTS)}); "
                f"its first entries are {first}"
            )
        return wanted, {} if task is None else {"task": task}
    try:
        return choose_model(system, settings, wanted, task)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None


def _detected(path: Path, snapshot: Snapshot) -> tuple[str | None, dict[str, Any]]:
    """Return the system and the settings that names and shapes tell; None for no system."""
    shapes = {key: tuple(value.shape) for key, value in snapshot.tensors.items()}
    if any(key.startswith("image_encoder.trunk.") for key in shapes):
        raise CheckpointError(
            f"checkpoint {path}: SAM 2's image trunk, not a whole network; it is loaded from "
            "Python, with differseg.checkpoints.load_sam2_trunk"
        )
    for system, layout in LAYOUTS.items():
        try:
            settings = layout.detect(shapes)
        except CheckpointError as error:
            raise CheckpointError(f"checkpoint {path}: {error}") from None
        if settings is not None:
            return system, {**settings, **layout.stored(snapshot.settings)}
    return None, {}


def _fitted(
    path: Path, tensors: Mapping[str, Tensor], model: SegmentationModel
) -> tuple[Translation, tuple[str, ...]]:
    """Return the tensors as the network takes them, and the names that the file lacks."""
    own = model.state_dict()
    found = translate(path, model.spec.system, tensors, own)
    missed = tuple(key for key in own if key not in found.tensors and key.endswith(_COUNTER))
    ready = {**found.tensors, **{key: torch.zeros((), dtype=torch.int64) for key in missed}}
    check_fit(path, ready, own, model.spec.name, None)
    for key, value in ready.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"checkpoint {path}: '{key}' holds NaN or infinite numbers; take a snapshot of an "
                "earlier epoch"
            )
        # A copy of its own: entries of a file may share memory, which safetensors refuses.
        ready[key] = value.to(own[key].dtype, copy=True).contiguous()
    return dataclasses.replace(found, tensors=ready), missed


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; 0, and everything else is an error with its own exit status."""
    options = parse(ConvertOptions, argv, "differseg convert")
    with unwinding_on_sigterm():
        report = convert(options)
    print_report(report, Console())
    if options.json:
        print(json.dumps(dataclasses.asdict(report)))
    return 0


def print_report(report: ConvertReport, console: Console) -> None:
    """Print what a file is and what became of its entries."""
    settings = ", ".join(f"{key} {_shown(value)}" for key, value in report.config.items())
    console.print(f"{report.file}: {report.model} ({settings})", highlight=False, markup=False)
    if report.averaged:
        console.print(f"averaged weights, from '{report.average}'", highlight=False)
    elif report.average:
        console.print(
            f"'{report.average}' holds averaged weights too; --averaged takes them", highlight=False
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "entries", "renamed", "for example"):
        table.add_column(heading, justify="right" if heading in ("entries", "renamed") else "left")
    parts: dict[str, list[tuple[str, str]]] = {}
    for theirs, ours in report.mapped.items():
        parts.setdefault(ours.partition(".")[0], []).append((theirs, ours))
    for part, pairs in parts.items():
        renamed = [pair for pair in pairs if pair[0] != pair[1]]
        example = f"{renamed[0][0]} -> {renamed[0][1]}" if renamed else pairs[0][1]
        table.add_row(part, str(len(pairs)), str(len(renamed)), example)
    console.print(table, highlight=False, markup=False)
    for name, reason in report.dropped.items():
        console.print(f"dropped {name} ({reason})", highlight=False, markup=False)
    if report.missed:
        console.print(
            f"missed {report.missed[0]} and {len(report.missed) - 1} more: they count training "
            "steps and start at 0",
            highlight=False,
            markup=False,
        )
    if report.kinds != ("float32",) and set(report.kinds) - {"float32", "int64"}:
        console.print(f"holds {', '.join(report.kinds)}; written as float32", highlight=False)
    console.print(
        f"mapped {len(report.mapped)}, dropped {len(report.dropped)}, missed "
        f"{len(report.missed)}; wrote {report.out}",
        highlight=False,
        markup=False,
    )


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} values"
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
