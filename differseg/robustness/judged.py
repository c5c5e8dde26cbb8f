"""What is judged: the models, each with what identifies it, and one set of samples for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from differseg.checkpoints import read_info, shipped_weights
from differseg.data.datasets.judging import open_judged
from differseg.data.datasets.published import PublishedDataset
from differseg.data.folder import LABELS, FolderDataset
from differseg.data.synthetic_dataset import (
    LOOK,
    SAMPLES_PER_SCENE,
    SyntheticDataset,
    write_sample,
)
from differseg.errors import InputError
from differseg.file_hash import sha256_of
from differseg.manifest import ClassSpec, ThermalPolicy
from differseg.models import list_models
from differseg.predictors import Predictor, open_predictor
from differseg.provenance import other_size, seen_in_training
from differseg.runtime.engine_file import is_engine, read_sidecar
from differseg.runtime.model_file import read_manifest
from differseg.training.samples import JUDGED_SEED, SYNTHETIC, refuse_classes

_UNTOLD = ("best", "last", "model", "average")


@dataclass(frozen=True)
class JudgedModel:
    """A model, and what identifies it.

    Attributes:
        name: In legends and tables.
        file: The checkpoint, ONNX file or engine.
        sha256: Of the file.
        policy: Of its thermal input.
        predictor: Runs it.
    """

    name: str
    file: Path
    sha256: str
    policy: ThermalPolicy
    predictor: Predictor


def open_models(
    files: Sequence[Path],
    names: Sequence[str] = (),
    model: str | None = None,
    size_hw: tuple[int, int] | None = None,
    device: str = "auto",
) -> list[JudgedModel]:
    """Open models that can be compared: of the same classes.

    Args:
        files: Checkpoints, ONNX files, engines, or names of networks with shipped weights.
        names: For the legend, in the order of the files; from the files where too few.
        model: Name of the network, where a checkpoint does not say it.
        size_hw: Size of checkpoints' inputs; their own when None.
        device: Where checkpoints run.

    Raises:
        InputError: Two models of one name, of different classes, or more names than files.
        CheckpointError, ModelFileError, ManifestError: A file cannot be used.
    """
    if len(names) > len(files):
        raise InputError(f"--name: {len(names)} names for {len(files)} models; give one for each")
    known = {info.name for info in list_models()}
    opened: list[JudgedModel] = []
    for given, name in zip(files, _names(files, names), strict=True):
        predictor = open_predictor(given, model, size_hw, device)
        shipped = str(given) in known and not given.exists()
        file = shipped_weights(str(given)) if shipped else given
        assert file is not None  # else it could not have been opened
        opened.append(JudgedModel(name, file, sha256_of(file), _policy(file), predictor))
    _check_alike(opened)
    return opened


def _names(files: Sequence[Path], given: Sequence[str]) -> list[str]:
    """Return the names given, and for the files behind them the shortest that tell all apart."""
    rest = files[len(given) :]
    ways = (
        [_short_name(file) for file in rest],
        [file.name for file in rest],
        [str(file) for file in rest],
    )
    named = [[*given, *way] for way in ways]
    return next((names for names in named if len(set(names)) == len(names)), named[0])


def _short_name(file: Path) -> str:
    """Return a file's name without its ending: its folder's, where its own says nothing."""
    said = file.name.partition(".")[0]
    return file.resolve().parent.name if said in _UNTOLD else file.stem


def _policy(file: Path) -> ThermalPolicy:
    if file.suffix == ".onnx" or is_engine(file):
        manifest = read_sidecar(file).manifest if is_engine(file) else read_manifest(file)
        spec = manifest.input("thermal")
        return (spec and spec.thermal_policy) or ThermalPolicy()
    info = read_info(file)
    return (info and info.thermal_policy) or ThermalPolicy()


def _check_alike(models: Sequence[JudgedModel]) -> None:
    first = models[0]
    for place, other in enumerate(models[1:], start=1):
        if other.name in [model.name for model in models[:place]]:
            raise InputError(
                f"two models are called '{other.name}': {first.file} and {other.file}; tell them "
                "apart with --name, once for each model in their order"
            )
        one, two = (_class_names(model.predictor.classes) for model in (first, other))
        if one != two:
            raise InputError(
                f"{other.file}: its classes ({', '.join(two)}) are not those of {first.file} "
                f"({', '.join(one)}), so their figures cannot be compared; judge them one by one"
            )


def _class_names(classes: Sequence[ClassSpec]) -> list[str]:
    # the names of two classes say nothing: background and whatever the foreground is
    return [spec.name for spec in classes] if len(classes) > 2 else ["background", "foreground"]


@dataclass(frozen=True)
class JudgedData:
    """The samples.

    Attributes:
        title: For captions: ``24 synthetic scenes``, or the folder's name and the count.
        everything: The whole folder, or the whole split of a data set.
        samples: Those that are judged.
        fingerprint: Another one where names, files or the rule of labels are others.
        warnings: What makes the figures doubtful.
    """

    title: str
    everything: FolderDataset
    samples: FolderDataset
    fingerprint: str
    warnings: tuple[str, ...] = ()


def open_labelled(
    data: str,
    models: Sequence[JudgedModel],
    *,
    split: str | None = None,
    label_rule: str = "auto",
    holdout: float = 0.0,
    limit: int | None = None,
) -> JudgedData:
    """Open a labelled folder or a published data set.

    Args:
        data: Holds rgb/, thermal/, depth/ or flow/, and labels/; or ``NAME:DIR``.
        models: What will be judged; together they say which images are needed.
        split: Of a data set by name; None takes the one that is judged by default.
        label_rule: How label files become masks.
        holdout: Judge only the share that 'train --holdout' leaves out; 0 judges all.
        limit: Judge this many samples, spread evenly; None judges all.

    Raises:
        InputError: The data, their labels or an option cannot be used.
    """
    everything, samples, name = open_judged(
        data,
        split,
        modalities_of(models),
        label_rule=label_rule,
        holdout=holdout,
        classes=models[0].predictor.classes,
    )
    if limit is not None and limit < len(samples):
        spread = np.linspace(0, len(samples) - 1, limit).round().astype(int)
        samples = samples.select([samples.stems[int(index)] for index in spread])
        samples.require_known_pixels()
    part = f", split {everything.split}" if isinstance(everything, PublishedDataset) else ""
    return JudgedData(
        f"{len(samples)} images of {name}{part}",
        everything,
        samples,
        _fingerprint(everything, samples.stems),
        (*_sizes(models), *_seen(models, name, everything.stems, samples.stems)),
    )


def open_synthetic(
    models: Sequence[JudgedModel], count: int, folder: Path, console: Console
) -> JudgedData:
    """Return synthetic scenes, one image of each, drawn once into a folder.

    The scenes are those that ``differseg evaluate`` judges by, at the size of the first network.

    Args:
        models: What will be judged.
        count: Number of scenes.
        folder: Keeps them as PNG; a folder of this kind of scene is made in it.
        console: Where progress is shown.

    Raises:
        InputError: A network that the scenes do not suit, or a folder that cannot be written.
    """
    modalities = modalities_of(models)
    for model in models:
        lacking = set(model.predictor.modalities) - set(SyntheticDataset.modalities)
        if lacking:
            raise InputError(
                f"--data {SYNTHETIC}: the scenes have rgb and thermal, but {model.name} needs "
                f"{', '.join(sorted(lacking))}; give a folder with it: --data DIR"
            )
        refuse_classes(model.name, model.predictor.classes)
    size_hw = models[0].predictor.own_size_hw
    drawn = SyntheticDataset(count * SAMPLES_PER_SCENE, JUDGED_SEED, size_hw)
    root = folder / f"look{LOOK}-seed{JUDGED_SEED}-{size_hw[0]}x{size_hw[1]}"
    wanted = range(0, len(drawn), SAMPLES_PER_SCENE)
    lacking_at = [index for index in wanted if not _is_drawn(root, drawn.stems[index])]
    for index in track(lacking_at, "draw scenes", console=console, disable=not console.is_terminal):
        write_sample(root, drawn.stems[index], drawn[index])
    stems = [drawn.stems[index] for index in wanted]
    everything = FolderDataset(
        root, modalities, label_rule="nonzero", classes=models[0].predictor.classes
    )
    text = f"{root.name} {stems}"
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    samples = everything.select(stems)
    title = f"{count} synthetic scenes"
    return JudgedData(title, everything, samples, fingerprint, _sizes(models))


def modalities_of(models: Sequence[JudgedModel]) -> tuple[str, ...]:
    """Return what all models together take."""
    return tuple(dict.fromkeys(name for model in models for name in model.predictor.modalities))


def _is_drawn(root: Path, stem: str) -> bool:
    return all((root / name / f"{stem}.png").is_file() for name in ("rgb", "thermal", LABELS))


def _fingerprint(everything: FolderDataset, stems: Sequence[str]) -> str:
    """Return a hash of names, of size and time of the files, and of the rule of labels."""
    assert everything.rule is not None
    facts: list[object] = [everything.rule.name, list(stems)]
    for place in (*everything.modalities, LABELS):
        stats = [everything.files[place][stem].stat() for stem in everything.stems]
        facts.append([place, [(stat.st_size, stat.st_mtime_ns) for stat in stats]])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _sizes(models: Sequence[JudgedModel]) -> tuple[str, ...]:
    """Return a line for every model that is judged at another size than it was trained at."""
    lines = {
        model.name: other_size(model.predictor.training, model.predictor.size_hw)
        for model in models
    }
    return tuple(f"{name}: {line}" for name, line in lines.items() if line)


def _seen(
    models: Sequence[JudgedModel], name: str, stems: Sequence[str], judged: Sequence[str]
) -> list[str]:
    """Return a line for every model that learnt from samples that are judged."""
    lines = []
    for model in models:
        record = model.predictor.training
        line = seen_in_training(record, name, stems, judged) if record else None
        if line:
            lines.append(f"{model.name}: {line}")
    return lines
