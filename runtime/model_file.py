"""Open a model file and make sure that what it says about itself is true.

The manifest is read through ONNX Runtime's metadata, so the device needs no onnx package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from differseg.errors import ManifestError, MissingComponentError, ModelFileError
from differseg.manifest import METADATA_KEY, Manifest, OutputSpec
from differseg.onnx_metadata import metadata_values

_CHECKPOINTS = (".pt", ".pth", ".safetensors", ".ckpt")
_ENGINES = (".engine", ".plan")
_EXPORT = "make one with: differseg export --model NAME -o FILE.onnx"
_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


def import_onnxruntime() -> Any:
    """Return the onnxruntime package.

    Raises:
        MissingComponentError: It is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingComponentError(
            f"ONNX Runtime cannot be loaded ({_one_line(error)}); "
            "install it with: pip install 'differseg[runtime]'"
        ) from None
    return onnxruntime


def open_session(
    model_file: str | Path, options: Any, providers: list[Any]
) -> tuple[Any, Manifest]:
    """Load an .onnx file into ONNX Runtime and check its manifest against its graph.

    Args:
        model_file: Path of the file.
        options: ``onnxruntime.SessionOptions``.
        providers: Execution providers, in order.

    Returns:
        The ``onnxruntime.InferenceSession`` and the manifest.

    Raises:
        ModelFileError: Missing, empty, truncated or foreign file, or the graph is not the one
            that the manifest describes.
        ManifestError: The manifest is of another schema or has a wrong field, or there are two.
        MissingComponentError: ONNX Runtime is not installed.
    """
    path = _checked_path(model_file)
    onnxruntime = import_onnxruntime()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions share no base but Exception
        raise ModelFileError(_load_failure(path, error)) from None
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(
            f"model {path}: it holds no differseg manifest, so another tool wrote it; export it "
            "with differseg.export.export_onnx(module, example_inputs, path, manifest=...) or "
            f"{_EXPORT}"
        )
    count = len(metadata_values(path, METADATA_KEY))
    if count > 1:
        raise ManifestError(
            f"model {path}: it holds {count} manifests, expected one; export it again"
        )
    try:
        manifest = Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(f"model {path}: {error}") from None
    _check_graph(path, "input", session.get_inputs(), manifest.inputs)
    _check_graph(path, "output", session.get_outputs(), manifest.outputs)
    return session, manifest


def read_manifest(model_file: str | Path) -> Manifest:
    """Return the manifest of an .onnx file without preparing it for running.

    Raises:
        ModelFileError, ManifestError, MissingComponentError: As :func:`open_session`.
    """
    path = _checked_path(model_file)
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return open_session(path, options, ["CPUExecutionProvider"])[1]


def mask_output(model_file: str | Path, manifest: Manifest) -> OutputSpec:
    """Return the one output that a mask is made of.

    Raises:
        ModelFileError: The manifest describes other outputs, or another number of classes.
    """
    output, count = manifest.outputs[0], len(manifest.classes)
    if len(manifest.outputs) != 1:
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
    return output


def _checked_path(model_file: str | Path) -> Path:
    path = Path(model_file)
    if path.suffix.lower() in _ENGINES:
        raise ModelFileError(
            f"model {path}: a TensorRT engine; this release runs ONNX files, "
            "so give the .onnx file that it was built from"
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


def _load_failure(path: Path, error: Exception) -> str:
    """Say in one line why ONNX Runtime refused the file."""
    text = _one_line(error)
    unknown = re.search(r"(\S+) is not a registered function/op", text)
    if unknown:
        return (
            f"model {path}: ONNX Runtime has no operator {unknown[1]}; "
            "export the model with --ops portable"
        )
    if "protobuf" in text.lower():
        return (
            f"model {path}: not a readable ONNX file ({path.stat().st_size} bytes, truncated or "
            "of another kind); export or copy it again"
        )
    return f"model {path}: ONNX Runtime cannot load it: {text:.300}"


def _one_line(error: BaseException) -> str:
    """Return an error's text on one line, from after ONNX Runtime's status on."""
    text = " ".join(str(error).split())
    return re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)


def _check_graph(path: Path, kind: str, nodes: list[Any], specs: tuple[Any, ...]) -> None:
    """Compare the graph's inputs or outputs with the manifest's, by name, dtype and shape."""
    where = f"model {path}: the graph is not the one its manifest describes"
    found = {node.name: node for node in nodes}
    if set(found) != {spec.name for spec in specs}:
        raise ModelFileError(
            f"{where}: {kind}s are {', '.join(sorted(found))}, "
            f"the manifest says {', '.join(sorted(spec.name for spec in specs))}; export it again"
        )
    for spec in specs:
        node = found[spec.name]
        dtype = _TYPES.get(node.type, node.type)
        if dtype != spec.dtype:
            raise ModelFileError(
                f"{where}: {kind} '{spec.name}' is {dtype}, "
                f"the manifest says {spec.dtype}; export it again"
            )
        # A dynamic size is a name (or None) in the graph and -1 in the manifest.
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
        if shape != spec.shape:
            raise ModelFileError(
                f"{where}: {kind} '{spec.name}' is {list(shape)}, "
                f"the manifest says {list(spec.shape)}; export it again"
            )
