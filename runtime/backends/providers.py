"""ONNX Runtime's execution providers: how each is opened, and that it is really used.

Asked for a provider that it has not, or that does not start, ONNX Runtime prints a warning and runs
on the processor.  Here that is an error: the session's own list of providers is looked at, the
wrapper's retry with other providers is off, and where ONNX Runtime tells which nodes went where
(``get_provider_graph_assignment_info``), a GPU that got none is refused and nodes left on the
processor are counted.

Sources: microsoft/onnxruntime onnxruntime/python/onnxruntime_inference_collection.py (fallback);
onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html (options);
onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/usage.html (plug-ins);
nvidia.github.io/TensorRT-RTX-EP-ABI (the plug-in for TensorRT-RTX and its name).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
from pathlib import Path
from typing import Any, Literal

from differseg.errors import MissingComponentError, ModelFileError
from differseg.manifest import Manifest
from differseg.runtime.model_file import (
    GraphTensor,
    check_graph,
    import_onnxruntime,
    one_line,
    unreadable,
)

Provider = Literal["CPU", "CUDA", "RTX"]

RTX_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
"""Python package of NVIDIA's plug-in."""

EXECUTION_PROVIDERS: dict[Provider, str] = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "RTX": "NvTensorRTRTXExecutionProvider",
}
"""Provider -> its name in ONNX Runtime."""

INSTALL: dict[Provider, str] = {
    "CPU": "pip install 'differseg[runtime]'",
    "CUDA": "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "RTX": "pip install 'differseg[runtime,rtx]'",
}
"""Provider -> what brings it."""

CUDA_OPTIONS = {
    "device_id": "0",
    # A file's precision is what it says: TF32 would round the products of a float32 one.
    "use_tf32": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",  # once, at the first run: sizes are fixed
    "arena_extend_strategy": "kSameAsRequested",  # the GPU's memory is the camera's as well
}
RTX_OPTIONS: dict[str, str] = {}  # the device is chosen by handing over its OrtEpDevice

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


def open_session(
    path: Path, manifest: Manifest, provider: Provider, threads: int
) -> tuple[Any, str]:
    """Load an .onnx file and check its graph against its manifest.

    Returns:
        The ``onnxruntime.InferenceSession`` and a note on its settings.

    Raises:
        ModelFileError: A graph that ONNX Runtime cannot load, or not the one of the manifest.
        MissingComponentError: ONNX Runtime or the provider is not installed, or does not start.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What it would log, its exceptions say too, but for why a GPU does not start.
    options.log_severity_level = 4 if provider == "CPU" else 3
    # Spinning workers take the core that capture threads need: on 2 busy cores the edge network's
    # median was up to 2 times slower with them, and never clearly faster.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings: dict[str, Any] = {"enable_fallback": 0}
    if provider == "CPU":
        settings["providers"] = [EXECUTION_PROVIDERS["CPU"]]
    elif provider == "CUDA":
        settings["providers"] = _cuda_providers(onnxruntime)
    else:
        _add_rtx(onnxruntime, options)
    if provider != "CPU":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, **settings)
    except Exception as error:  # its exceptions share no base but Exception
        raise ModelFileError(_load_failure(path, error)) from None
    check_graph(path, manifest, _tensors(session.get_inputs()), _tensors(session.get_outputs()))
    if provider == "CPU":
        return session, "idle threads sleep, so that capture can run"
    return session, _check_used(session, provider)


def _cuda_providers(onnxruntime: Any) -> list[Any]:
    name = EXECUTION_PROVIDERS["CUDA"]
    if name not in onnxruntime.get_available_providers():
        raise MissingComponentError(
            f"onnxruntime-cuda: this ONNX Runtime {onnxruntime.__version__} has no {name}; "
            f"{INSTALL['CUDA']}"
        )
    preload = getattr(onnxruntime, "preload_dlls", None)  # from 1.21 on
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            preload()
    return [(name, CUDA_OPTIONS), EXECUTION_PROVIDERS["CPU"]]


def _add_rtx(onnxruntime: Any, options: Any) -> None:
    """Register NVIDIA's plug-in with ONNX Runtime and take its first device for the session."""
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise MissingComponentError(
            f"onnxruntime-rtx: ONNX Runtime {onnxruntime.__version__} takes no plug-in providers "
            "(they came with 1.23); pip install -U onnxruntime"
        )
    if importlib.util.find_spec(RTX_PACKAGE) is None:
        raise MissingComponentError(
            f"onnxruntime-rtx: the package '{RTX_PACKAGE}' is not installed; {INSTALL['RTX']}"
        )
    plugin = importlib.import_module(RTX_PACKAGE)
    name = str(plugin.get_ep_name())
    if not any(device.ep_name == name for device in onnxruntime.get_ep_devices()):
        try:
            onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
        except Exception as error:  # no CUDA driver, for instance
            raise MissingComponentError(
                f"onnxruntime-rtx: ONNX Runtime cannot load {name}: {_text(error)}; it needs an "
                "NVIDIA RTX GPU and its driver"
            ) from None
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise MissingComponentError(
            f"onnxruntime-rtx: {name} found no device; it needs an NVIDIA RTX GPU and its driver"
        )
    options.add_provider_for_devices(devices[:1], RTX_OPTIONS)


def _check_used(session: Any, provider: Provider) -> str:
    """Refuse a session that does not run where it shall; say what of it does not."""
    name = EXECUTION_PROVIDERS[provider]
    active = session.get_providers()
    if name not in active:
        raise MissingComponentError(
            f"onnxruntime-{provider.lower()}: ONNX Runtime could not start {name} and would run on "
            f"{', '.join(active)}; its GPU libraries or the driver are missing, see what it printed"
        )
    nodes = _node_counts(session)
    if nodes is None:
        return f"{name} is active"
    there, elsewhere = nodes.get(name, 0), sum(nodes.values()) - nodes.get(name, 0)
    if not there:
        raise ModelFileError(
            f"onnxruntime-{provider.lower()}: {name} takes none of the model's {elsewhere} nodes; "
            "export the model with --ops portable"
        )
    return f"{name} runs {there} nodes, the processor {elsewhere}"


def _node_counts(session: Any) -> dict[str, int] | None:
    """Return provider -> number of nodes, where ONNX Runtime tells."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    counts: dict[str, int] = {}
    for part in ask():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


def _tensors(nodes: list[Any]) -> list[GraphTensor]:
    """Return inputs or outputs of a session; a dynamic size is a name or None there."""
    return [
        GraphTensor(
            node.name,
            _DTYPES.get(node.type, node.type),
            tuple(size if isinstance(size, int) else -1 for size in node.shape),
        )
        for node in nodes
    ]


def _load_failure(path: Path, error: Exception) -> str:
    """Say in one line why ONNX Runtime refused the file."""
    text = _text(error)
    unknown = re.search(r"(\S+) is not a registered function/op", text)
    if unknown:
        return (
            f"model {path}: ONNX Runtime has no operator {unknown[1]}; "
            "export the model with --ops portable"
        )
    if "protobuf" in text.lower():
        return unreadable(path)
    return f"model {path}: ONNX Runtime cannot load it: {text:.300}"


def _text(error: BaseException) -> str:
    """Return an error's text on one line, from after ONNX Runtime's status on."""
    return re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", one_line(error))
