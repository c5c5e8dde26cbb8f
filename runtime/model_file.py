"""Read what a model file says about itself, and make sure that its graph is what it says.

The manifest is read from the file's own bytes, so the device needs neither the onnx package nor a
certain inference engine; an engine that has loaded the graph lends its inputs and outputs to
:func:`check_graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differseg.errors import ManifestError, MissingComponentError, ModelFileError
from differseg.manifest import METADATA_KEY, Manifest
from differseg.onnx_metadata import metadata_values
from differseg.runtime.engine_file import is_engine

_CHECKPOINTS = (".pt", ".pth", ".safetensors", ".ckpt")
_EXPORT = "make one with: differseg export --model NAME -o FILE.onnx"


@dataclass(frozen=True)
class GraphTensor:
    """An input or output of a graph, as the engine that loaded it says.

    Attributes:
        name: Its name.
        dtype: Such as ``uint8`` or ``float32``.
        shape: With -1 for a dynamic size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def import_onnxruntime() -> Any:
    """Return the onnxruntime package.

    Raises:
        MissingComponentError: It is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingComponentError(
            f"ONNX Runtime cannot be loaded ({one_line(error)}); "
            "install it with: pip install 'differseg[runtime]'"
        ) from None
    return onnxruntime


def read_manifest(model_file: str | Path) -> Manifest:
    """Return the manifest of an .onnx file; no engine is needed and no weight is read.

    Raises:
        ModelFileError: Missing, empty, truncated or foreign file.
        ManifestError: The manifest is of another schema or has a wrong field, or there are two.
    """
    path = _checked_path(model_file)
    try:
        texts = metadata_values(path, METADATA_KEY)
    except ModelFileError:
        raise ModelFileError(unreadable(path)) from None
    if not texts:
        raise ModelFileError(
            f"model {path}: it holds no differseg manifest, so another tool wrote it; export it "
            "with differseg.export.export_onnx(module, example_inputs, path, manifest=...) or "
            f"{_EXPORT}"
        )
    if len(texts) > 1:
        raise ManifestError(
            f"model {path}: it holds {len(texts)} manifests, expected one; export it again"
        )
    try:
        return Manifest.from_json(texts[0])
    except ManifestError as error:
        raise ManifestError(f"model {path}: {error}") from None


def check_graph(
    model_file: str | Path,
    manifest: Manifest,
    inputs: Sequence[GraphTensor],
    outputs: Sequence[GraphTensor],
) -> None:
    """Compare a loaded graph with the manifest, by name, dtype and shape.

    Raises:
        ModelFileError: They differ, or a size is dynamic or the batch not 1, so that buffers could
            not be allocated once.
    """
    path = Path(model_file)
    for kind, nodes, specs in (
        ("input", inputs, manifest.inputs),
        ("output", outputs, manifest.outputs),
    ):
        _check_tensors(path, kind, nodes, specs)
        for spec in specs:
            if min(spec.shape) < 1 or spec.shape[0] != 1:
                raise ModelFileError(
                    f"model {path}: '{spec.name}' has shape {list(spec.shape)}; the runtime takes "
                    "batch 1 and fixed sizes, export it with --size HxW"
                )


def check_outputs(model_file: str | Path, manifest: Manifest) -> None:
    """Make sure that a mask can be made of a model's outputs.

    Raises:
        ModelFileError: The manifest describes other outputs, or another number of classes.
    """
    output, count = manifest.outputs[0], len(manifest.classes)
    kinds = [spec.kind for spec in manifest.outputs]
    if kinds == ["mask", "mean"]:
        return
    if len(kinds) != 1:
        names = ", ".join(spec.name for spec in manifest.outputs)
        raise ModelFileError(
            f"model {model_file}: expected one output, the manifest names {names}; export it again "
            "with the probability alone"
        )
    expected = 1 if output.kind == "probability" else count
    if output.shape[1] != expected or (count == 2) != (output.kind == "probability"):
        raise ModelFileError(
            f"model {model_file}: its output is {output.kind} {list(output.shape)} for {count} "
            "classes; expected probability [1, 1, H, W] for 2 classes, or class_probability "
            "[1, K, H, W] for K > 2; export it again"
        )


def _checked_path(model_file: str | Path) -> Path:
    path = Path(model_file)
    if is_engine(path):
        raise ModelFileError(
            f"model {path}: a TensorRT engine; expected an .onnx file, such as the one that it was "
            "built from"
        )
    if not path.exists():
        raise ModelFileError(f"model {path}: there is no such file; {_EXPORT}")
    if path.is_dir():
        raise ModelFileError(f"model {path}: a folder; expected an .onnx file")
    if path.suffix.lower() in _CHECKPOINTS:
        raise ModelFileError(
            f"model {path}: a checkpoint; expected an .onnx file, "
            f"make one with: differseg export --model NAME --checkpoint {path} -o FILE.onnx"
        )
    if path.stat().st_size == 0:
        raise ModelFileError(f"model {path}: the file is empty (0 bytes); export or copy it again")
    return path


def unreadable(path: Path) -> str:
    """Say that a file is no whole ONNX file."""
    return (
        f"model {path}: not a readable ONNX file ({path.stat().st_size} bytes, truncated or "
        "of another kind); export or copy it again"
    )


def one_line(error: BaseException) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())


def _check_tensors(
    path: Path, kind: str, nodes: Sequence[GraphTensor], specs: Sequence[Any]
) -> None:
    where = f"model {path}: the graph is not the one its manifest describes"
    found = {node.name: node for node in nodes}
    if set(found) != {spec.name for spec in specs}:
        raise ModelFileError(
            f"{where}: {kind}s are {', '.join(sorted(found))}, "
            f"the manifest says {', '.join(sorted(spec.name for spec in specs))}; export it again"
        )
    for spec in specs:
        node = found[spec.name]
        if node.dtype != spec.dtype:
            raise ModelFileError(
                f"{where}: {kind} '{spec.name}' is {node.dtype}, "
                f"the manifest says {spec.dtype}; export it again"
            )
        if node.shape != spec.shape:
            raise ModelFileError(
                f"{where}: {kind} '{spec.name}' is {list(node.shape)}, "
                f"the manifest says {list(spec.shape)}; export it again"
            )
