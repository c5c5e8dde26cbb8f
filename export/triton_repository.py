"""A model's folder in a Triton repository, put in place whole or not at all.

A server may watch the repository while it is written, so every version's folder is filled outside
of it and moved in, and configuration files are replaced in one step.  Layout:
triton-inference-server/server@008fdc5:docs/user_guide/model_repository.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from differseg.errors import InputError, ManifestError
from differseg.export.triton_config import MODEL_FILE, Served, contract
from differseg.manifest import Manifest

CONFIG, README, MANIFEST = "config.pbtxt", "README.md", "manifest.json"


def place_version(
    repository: Path,
    name: str,
    version: int,
    manifest: Manifest,
    served: Served,
    *,
    copies: Mapping[str, Path],
    texts: Mapping[str, str],
    overwrite: bool = False,
) -> Path:
    """Put one version of a model, and the texts above it, into a repository.

    Args:
        repository: The repository; made where it is missing.
        name: Name of the model.
        version: Number of the version.
        manifest: Written beside the model file.
        served: Kind of the model file.
        copies: File name in the version's folder -> file to copy.
        texts: File name in the model's folder -> its text; the server's configuration among them.
        overwrite: Replace a version that is there.

    Returns:
        The version's folder.

    Raises:
        InputError: The version is there, or the other versions of this model have other inputs
            and outputs, or the place cannot be written.
    """
    model = repository / name
    target = model / str(version)
    if target.exists() and not overwrite:
        raise InputError(
            f"triton: {target} is there already; give another --version, or --overwrite"
        )
    _check_other_versions(model, version, manifest, served)
    with _beside(repository) as temporary:
        part = temporary / name
        folder = part / str(version)
        folder.mkdir(parents=True)
        for file_name, source in copies.items():
            shutil.copyfile(source, folder / file_name)
        (folder / MANIFEST).write_text(manifest.to_json(indent=1) + "\n", encoding="utf-8")
        for file_name, text in texts.items():
            (part / file_name).write_text(text, encoding="utf-8")
        if not model.exists():
            part.rename(model)
            return target
        if target.exists():
            target.rename(temporary / "replaced")
        folder.rename(target)
        for file_name in texts:
            (part / file_name).replace(model / file_name)
    return target


def _check_other_versions(model: Path, version: int, manifest: Manifest, served: Served) -> None:
    """Refuse to serve two contracts, or two kinds of file, under one name and configuration."""
    if model.exists() and not model.is_dir():
        raise InputError(f"triton: {model} is a file; expected a model's folder, or nothing")
    folders = [f for f in model.glob("*") if f.is_dir() and f.name.isdecimal()]
    for folder in sorted(folders, key=lambda f: int(f.name)):
        if folder.name == str(version):
            continue
        if not (folder / MODEL_FILE[served]).exists():
            raise InputError(
                f"triton: version {folder.name} of {model.name} has no {MODEL_FILE[served]}, and "
                "one configuration serves one kind of file; give another --name"
            )
        try:
            other = Manifest.from_json((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ManifestError):
            raise InputError(
                f"triton: {folder} holds no {MANIFEST} that can be read, so differseg did not "
                "write it; give another --name"
            ) from None
        if contract(other) != contract(manifest):
            raise InputError(
                f"triton: version {folder.name} of {model.name} has other inputs or outputs, and "
                "its clients would break; give another --name"
            )


@contextlib.contextmanager
def _beside(repository: Path) -> Iterator[Path]:
    """Yield an empty folder on the repository's file system, outside it where that is possible."""
    try:
        repository.mkdir(parents=True, exist_ok=True)
        inside, outside = os.stat(repository), os.stat(repository.resolve().parent)
        parent = repository.resolve().parent if inside.st_dev == outside.st_dev else repository
        if parent != repository and not os.access(parent, os.W_OK):
            parent = repository
        folder = Path(tempfile.mkdtemp(prefix=f".{repository.name}.", dir=parent))
    except OSError as error:
        raise InputError(
            f"triton: {repository} cannot be written ({error.strerror}); choose another -o"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
