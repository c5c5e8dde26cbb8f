"""The ``config.pbtxt`` that tells Triton Inference Server how to serve one of our files.

Facts from triton-inference-server/server@06151b8:docs/user_guide/model_configuration.md,
triton-inference-server/onnxruntime_backend@013d274:README.md and src/onnxruntime_utils.cc,
triton-inference-server/common@08365ea:protobuf/model_config.proto:

* ``max_batch_size`` above 0 means that every input and output has a first axis of any size, which
  ``dims`` leaves out.  A graph whose batch is fixed at 1 is therefore served with
  ``max_batch_size: 0`` and the whole shape in ``dims``; the ONNX backend refuses it otherwise.
* The dynamic batcher needs ``max_batch_size`` of at least 1.
* A warm-up request of a model without batching has ``batch_size: 1``; its shapes must be fixed.
* ``parameters`` may hold values of our own, and a client reads them from the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from differseg.errors import InputError
from differseg.export.pbtxt import EnumName
from differseg.manifest import InputSpec, Manifest, OutputSpec

Served = Literal["onnx", "engine"]
Device = Literal["auto", "gpu", "cpu"]
Accelerator = Literal["none", "tensorrt", "openvino"]

MODEL_FILE = {"onnx": "model.onnx", "engine": "model.plan"}
"""What Triton calls the file in a version's folder."""

PARAMETER = "differseg"
"""Key of the manifest among the configuration's parameters."""

_TYPES = {
    "bool": "TYPE_BOOL", "uint8": "TYPE_UINT8", "int8": "TYPE_INT8", "int32": "TYPE_INT32",
    "int64": "TYPE_INT64", "float16": "TYPE_FP16", "float32": "TYPE_FP32",
}  # fmt: skip
_BACKENDS = {"onnx": ("onnxruntime_onnx", "onnxruntime"), "engine": ("tensorrt_plan", "tensorrt")}
_KINDS = {"auto": "KIND_AUTO", "gpu": "KIND_GPU", "cpu": "KIND_CPU"}


@dataclass(frozen=True)
class Serving:
    """How a model is to be served; see :class:`differseg.export.triton.TritonOptions`."""

    device: Device = "auto"
    gpus: tuple[int, ...] = ()
    instances: int = 1
    threads: int | None = None
    accelerator: Accelerator = "none"
    engine_cache: str | None = None
    max_batch: int = 8
    preferred_batch: tuple[int, ...] = ()
    queue_delay_ms: float = 0.0
    keep_versions: int = 1
    warmup: bool = True


def config_fields(
    name: str, manifest: Manifest, served: Served, serving: Serving
) -> dict[str, Any]:
    """Return the configuration, ready for :func:`differseg.export.pbtxt.message_text`.

    Args:
        name: Name of the model, which is that of its folder.
        manifest: What the file says about itself.
        served: Kind of the file.
        serving: How it shall be served.

    Raises:
        InputError: Options that do not go together, or with this file.
    """
    check_serving(served, serving)
    batched = is_batched(manifest)
    if serving.preferred_batch and not batched:
        raise InputError(
            f"triton: --preferred-batch: the batch of {manifest.model} is fixed at 1; leave it "
            "out, or export with a dynamic batch"
        )
    platform, backend = _BACKENDS[served]
    return {
        "name": name,
        "platform": platform,
        "backend": backend,
        "max_batch_size": serving.max_batch if batched else 0,
        "default_model_filename": MODEL_FILE[served],
        "input": [_tensor(spec, batched) for spec in manifest.inputs],
        "output": [_tensor(spec, batched) for spec in manifest.outputs],
        "version_policy": {"latest": {"num_versions": serving.keep_versions}},
        "instance_group": [_instances(served, serving)],
        "dynamic_batching": _dynamic_batching(serving) if batched else None,
        "optimization": _optimization(manifest, serving),
        "model_warmup": _warmups(manifest, batched) if serving.warmup else None,
        "parameters": _parameters(manifest, serving),
    }


def is_batched(manifest: Manifest) -> bool:
    """Whether the first axis of the graph's inputs and outputs is free.

    Raises:
        InputError: It is in some and is not in others, or is fixed at more than 1.
    """
    sizes = {spec.shape[0] for spec in _tensors(manifest)}
    if sizes not in ({-1}, {1}):
        raise InputError(
            f"triton: the batch axes of {manifest.model} are {sorted(sizes)}; expected 1, or -1 "
            "(any) in all inputs and outputs; export it again"
        )
    return sizes == {-1}


def has_free_sizes(manifest: Manifest) -> bool:
    """Whether an input's height or width is free, so that no warm-up request can be made."""
    return any(-1 in spec.shape[1:] for spec in manifest.inputs)


def check_serving(served: Served, serving: Serving) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: Names both.
    """
    _check_at_least_one(
        ("--instances", serving.instances),
        ("--max-batch", serving.max_batch),
        ("--keep-versions", serving.keep_versions),
        *(("--threads", n) for n in (serving.threads,) if n is not None),
    )
    if serving.queue_delay_ms < 0:
        raise InputError(f"triton: --queue-delay-ms {serving.queue_delay_ms}: expected 0 or more")
    outside = [n for n in serving.preferred_batch if not 1 <= n <= serving.max_batch]
    if outside:
        raise InputError(
            f"triton: --preferred-batch {outside[0]}: expected 1 to {serving.max_batch}, which is "
            "--max-batch"
        )
    if serving.gpus and serving.device == "cpu":
        raise InputError("triton: --gpu names a GPU, --device says cpu; leave one out")
    if any(gpu < 0 for gpu in serving.gpus) or len(set(serving.gpus)) < len(serving.gpus):
        raise InputError(f"triton: --gpu: expected different numbers from 0, got {serving.gpus}")
    if served == "engine":
        _check_engine_options(serving)
    elif serving.accelerator == "tensorrt" and serving.device == "cpu":
        raise InputError("triton: --accelerator tensorrt runs on a GPU, --device says cpu")
    elif serving.accelerator == "openvino" and serving.device != "cpu":
        raise InputError("triton: --accelerator openvino runs on the processor; add --device cpu")
    if serving.engine_cache is not None and serving.accelerator != "tensorrt":
        raise InputError("triton: --engine-cache is for --accelerator tensorrt; add that")


def _check_engine_options(serving: Serving) -> None:
    if serving.device == "cpu":
        raise InputError("triton: an engine runs on a GPU, --device says cpu; give the .onnx file")
    if serving.accelerator != "none":
        raise InputError("triton: --accelerator is for .onnx files; an engine is TensorRT already")
    if serving.threads is not None:
        raise InputError("triton: --threads is for .onnx files; an engine uses none")


def _check_at_least_one(*values: tuple[str, int]) -> None:
    for name, value in values:
        if value < 1:
            raise InputError(f"triton: {name} {value}: expected 1 or more")


def _tensor(spec: InputSpec | OutputSpec, batched: bool) -> dict[str, Any]:
    if spec.dtype not in _TYPES:
        raise InputError(f"triton: {spec.name}: Triton serves no tensors of {spec.dtype}")
    return {
        "name": spec.name,
        "data_type": EnumName(_TYPES[spec.dtype]),
        "dims": list(spec.shape[1:] if batched else spec.shape),
    }


def _instances(served: Served, serving: Serving) -> dict[str, Any]:
    return {
        "count": serving.instances,
        "kind": EnumName(_KINDS["gpu" if served == "engine" else serving.device]),
        "gpus": list(serving.gpus),
    }


def _dynamic_batching(serving: Serving) -> dict[str, Any]:
    return {
        "preferred_batch_size": sorted(serving.preferred_batch),
        "max_queue_delay_microseconds": round(serving.queue_delay_ms * 1000),
    }


def _optimization(manifest: Manifest, serving: Serving) -> dict[str, Any] | None:
    """Return the accelerator of the ONNX backend, with the precision that the graph is typed in."""
    if serving.accelerator == "none":
        return None
    if serving.accelerator == "openvino":
        return {"execution_accelerators": {"cpu_execution_accelerator": [{"name": "openvino"}]}}
    settings = {"precision_mode": manifest.precision.upper()}
    if serving.engine_cache is not None:
        settings["trt_engine_cache_enable"] = "1"
        settings["trt_engine_cache_path"] = serving.engine_cache
    accelerator = {"name": "tensorrt", "parameters": _map(settings)}
    return {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}


def _warmups(manifest: Manifest, batched: bool) -> list[dict[str, Any]]:
    """Return two requests, black frames and noise; none where a size is free."""
    if has_free_sizes(manifest):
        return []
    return [
        {
            "name": name,
            "batch_size": 1,
            "inputs": [
                {"key": spec.name, "value": _warmup_input(spec, batched, data)}
                for spec in manifest.inputs
            ],
        }
        for name, data in (("black frames", "zero_data"), ("noise", "random_data"))
    ]


def _warmup_input(spec: InputSpec, batched: bool, data: str) -> dict[str, Any]:
    tensor = _tensor(spec, batched)
    del tensor["name"]
    return {**tensor, data: True}


def _parameters(manifest: Manifest, serving: Serving) -> list[dict[str, Any]]:
    values = {PARAMETER: manifest.to_json()}
    if serving.threads is not None:
        values["intra_op_thread_count"] = str(serving.threads)
    return _map({key: {"string_value": value} for key, value in values.items()})


def _map(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def contract(manifest: Manifest) -> list[tuple[Any, ...]]:
    """Return what clients depend on: name, type and shape of every input and output."""
    return [(spec.name, spec.dtype, spec.shape) for spec in _tensors(manifest)]


def _tensors(manifest: Manifest) -> list[InputSpec | OutputSpec]:
    return [*manifest.inputs, *manifest.outputs]
