"""Write a Triton Inference Server model repository from an ONNX file or a TensorRT engine.

python -m differseg.export.triton F.onnx -o REPO/
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from differseg.engine_sidecar import EngineSidecar
from differseg.errors import InputError, ModelFileError
from differseg.export.pbtxt import message_text
from differseg.export.triton_config import (
    MODEL_FILE,
    Served,
    Serving,
    config_fields,
    has_free_sizes,
    is_batched,
)
from differseg.export.triton_readme import readme_text, serve_lines
from differseg.export.triton_repository import CONFIG, README, place_version
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest
from differseg.options import option, parse, run_main, unwinding_on_sigterm
from differseg.runtime.backends.providers import open_session
from differseg.runtime.engine_file import is_engine, read_sidecar
from differseg.runtime.model_file import import_onnxruntime, one_line, read_manifest
from differseg.signing import load_key


@dataclass(frozen=True)
class TritonOptions:
    """Write a Triton Inference Server model repository from a model file.

    REPO/NAME/ gets config.pbtxt, a README for clients, and the version's folder with the model
    file and its manifest. Nothing stays half-written.
    """

    model: Path = option(positional=True, metavar="F")
    """An .onnx file of differseg, or a TensorRT engine with its sidecar beside it."""
    out: Path = option(short="-o", metavar="REPO")
    """The repository; other models in it are left alone."""
    name: str | None = option(None, metavar="NAME")
    """Name that clients ask for; by default that of the network."""
    version: int = option(1, metavar="N")
    """Number of this version."""
    overwrite: bool = False
    """Replace this version where it is there."""
    keep_versions: int = option(1, metavar="N")
    """Serve the newest N versions."""
    device: Literal["auto", "gpu", "cpu"] = option("auto", metavar="D")
    """Where it runs: auto (a GPU where the server has one), gpu or cpu."""
    gpu: tuple[int, ...] = option((), metavar="N")
    """Number of a GPU to use (may be repeated); by default all of them."""
    instances: int = option(1, metavar="N")
    """Copies of the model on each device, which work side by side."""
    threads: int | None = option(None, metavar="N")
    """Processor threads of an instance (ONNX files); by default ONNX Runtime chooses."""
    accelerator: Literal["none", "tensorrt", "openvino"] = option("none", metavar="A")
    """Of ONNX files: none (CUDA on a GPU), tensorrt, or openvino on the processor."""
    engine_cache: str | None = option(None, metavar="DIR")
    """With --accelerator tensorrt: folder on the server that keeps the engines that it builds."""
    max_batch: int = option(8, metavar="N")
    """Largest batch, of a file whose batch is free."""
    preferred_batch: tuple[int, ...] = option((), metavar="N")
    """Batch to run at once when it is full (may be repeated), of a file whose batch is free."""
    queue_delay_ms: float = option(0.0, metavar="MS")
    """How long a request may wait for others to fill a batch."""
    warmup: bool = True
    """Let the server run black frames and noise before it says that it is ready."""
    engine_key: Path | None = option(None, metavar="KEY")
    """Refuse an engine whose sidecar is not signed with this key."""
    json: bool = False
    """Print what was written as one JSON document on the last line."""

    def serving(self) -> Serving:
        """Return the part that goes into the configuration."""
        return Serving(
            device=self.device,
            gpus=self.gpu,
            instances=self.instances,
            threads=self.threads,
            accelerator=self.accelerator,
            engine_cache=self.engine_cache,
            max_batch=self.max_batch,
            preferred_batch=self.preferred_batch,
            queue_delay_ms=self.queue_delay_ms,
            keep_versions=self.keep_versions,
            warmup=self.warmup,
        )


@dataclass(frozen=True)
class TritonModel:
    """What was written.

    Attributes:
        name: Name of the model.
        folder: The version's folder.
        config: Text of ``config.pbtxt``.
        serve: Lines of the command that serves it.
        notes: What was chosen without being asked, with the reason.
    """

    name: str
    folder: Path
    config: str
    serve: tuple[str, ...]
    notes: tuple[str, ...]


def write_triton(model: Path | str, out: Path | str, **options: object) -> TritonModel:
    """Write a repository from Python; keywords are the fields of :class:`TritonOptions`.

    Raises:
        DifferSegError: As :func:`run_triton`.
    """
    return run_triton(TritonOptions(Path(model), Path(out), **options))  # type: ignore[arg-type]


def run_triton(options: TritonOptions) -> TritonModel:
    """Write a model into a repository.

    Raises:
        InputError: Options that do not fit, or a version that is there already.
        ModelFileError, ManifestError: The file is missing or damaged, ONNX Runtime cannot load
            it, or an engine has no sidecar, another hash or is of TensorRT-RTX.
        CheckFailedError: With a key: the sidecar is not signed with it.
    """
    if options.version < 1:
        raise InputError(f"triton: --version {options.version}: expected 1 or more")
    served: Served = "engine" if is_engine(options.model) else "onnx"
    if options.engine_key is not None and served == "onnx":
        raise InputError(
            "triton: --engine-key is for engines, whose sidecars can be signed; leave it out"
        )
    sidecar = _checked_engine(options) if served == "engine" else None
    manifest = sidecar.manifest if sidecar is not None else _checked_graph(options.model)
    name = _checked_name(options.name or manifest.model)
    serving = options.serving()
    config = message_text(config_fields(name, manifest, served, serving))
    folder = place_version(
        options.out,
        name,
        options.version,
        manifest,
        served,
        copies=_copies(options.model, served, sidecar),
        texts={
            README: readme_text(name, options.version, manifest, served, serving, sidecar),
            CONFIG: config,
        },
        overwrite=options.overwrite,
    )
    lines = serve_lines(name, options.version, served, serving, sidecar)
    return TritonModel(name, folder, config, tuple(lines), _notes(manifest, serving))


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise InputError(
            f"triton: --name {name!r}: expected letters, digits, '-', '_' and '.', as a folder "
            "and an address can hold them"
        )
    return name


def _checked_graph(model: Path) -> Manifest:
    """Return the manifest of an ONNX file that ONNX Runtime, which Triton runs it by, can load."""
    manifest = read_manifest(model)
    if not is_batched(manifest) and not has_free_sizes(manifest):
        open_session(model, manifest, "CPU", threads=1)
        return manifest
    onnxruntime = import_onnxruntime()
    try:  # the runtime's own check takes fixed sizes alone
        onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base but Exception
        raise ModelFileError(
            f"model {model}: ONNX Runtime cannot load it: {one_line(error):.300}"
        ) from None
    return manifest


def _checked_engine(options: TritonOptions) -> EngineSidecar:
    """Return the sidecar of an engine that is the one it describes, with its plugin libraries."""
    key = load_key(options.engine_key) if options.engine_key is not None else None
    sidecar = read_sidecar(options.model, key)
    if sidecar.built_for.library != "tensorrt":
        raise ModelFileError(
            f"engine {options.model}: a TensorRT-RTX engine, and Triton serves those of TensorRT; "
            "build one with differseg build, or give the .onnx file"
        )
    expected = {options.model.name: sidecar.engine_sha256}
    expected.update({plugin.name: plugin.sha256 for plugin in sidecar.plugins})
    for file_name, sha256 in expected.items():
        path = options.model.with_name(file_name)
        if not path.is_file() or sha256_of(path) != sha256:
            raise ModelFileError(
                f"engine {options.model}: {file_name} is missing or not the one that the sidecar "
                "names (by SHA-256); copy it again, or build the engine again"
            )
    return sidecar


def _copies(model: Path, served: Served, sidecar: EngineSidecar | None) -> dict[str, Path]:
    copies = {MODEL_FILE[served]: model}
    if sidecar is not None:
        copies[f"{MODEL_FILE[served]}.json"] = model.with_name(f"{model.name}.json")
        copies.update({p.name: model.with_name(p.name) for p in sidecar.plugins})
    return copies


def _notes(manifest: Manifest, serving: Serving) -> tuple[str, ...]:
    notes = []
    if manifest.outputs[0].shape[0] == 1:
        notes.append("batch 1, which is fixed in the graph: no dynamic batching")
    if serving.warmup and has_free_sizes(manifest):
        notes.append("no warm-up: the input's size is free, and a warm-up request needs one")
    return tuple(notes)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the repository, and print the command that serves it."""
    options = parse(TritonOptions, argv, "differseg triton")
    with unwinding_on_sigterm():
        written = run_triton(options)
    print(f"{written.name}: {written.folder}")
    for note in written.notes:
        print(f"  {note}")
    print("serve it (choose the release YY.MM of the image):")
    for line in written.serve:
        print(f"  {line}".replace("$PWD/REPO", str(options.out.resolve())))
    if options.json:
        document = {
            "name": written.name,
            "folder": str(written.folder),
            "config": written.config,
            "serve": list(written.serve),
            "notes": list(written.notes),
        }
        print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
