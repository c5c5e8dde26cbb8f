"""The child process in which NVIDIA's parser and builder run.

``python -m differseg.export.rtx_worker`` reads one JSON request from standard input and writes
facts as they become known, one JSON object a line, so that the parent knows how far a process came
that crashed.  Whatever the native code prints goes to standard error.  The parent is
:mod:`differseg.export.rtx`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from differseg.export import rtx_abi as abi
from differseg.export.rtx_abi import NativeObject

Emit = Callable[..., None]

_MEMORY_LINE = re.compile(r"(?:Total|Max) (Weights|Scratch|Activation) Memory: (\d+) bytes")
_KEPT_SEVERITY = 2
_NO_DRIVER = "catchCudaError"  # trails every native error on a machine without a GPU


def _load(core_path: str, parser_path: str) -> tuple[ctypes.CDLL, ctypes.CDLL]:
    core = ctypes.CDLL(core_path, mode=ctypes.RTLD_GLOBAL)
    parser = ctypes.CDLL(parser_path, mode=ctypes.RTLD_GLOBAL)
    core.getInferLibVersion.restype = ctypes.c_int32
    core.createInferBuilder_INTERNAL.restype = ctypes.c_void_p
    core.createInferBuilder_INTERNAL.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    core.getPluginRegistry.restype = ctypes.c_void_p
    create = parser.createNvOnnxParser_INTERNAL
    create.restype = ctypes.c_void_p
    create.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
    return core, parser


def _refused_plugin(core: ctypes.CDLL, path: str) -> str | None:
    """Load a plugin library into the registry; returns why it cannot be, if so.

    The registry's own words are about its loader, so the usual causes are found out first.
    """
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return str(error)
    if not hasattr(library, "getCreators"):
        return "it exports no getCreators, so it is no TensorRT plugin library"
    registry = NativeObject(core.getPluginRegistry(), abi.REGISTRY, wrapped=False)
    return None if registry.loadLibrary(path) else "the plugin registry refused it"


def _parser_errors(parser: NativeObject) -> list[dict[str, Any]]:
    """Return what the parser says about each node that it refuses."""
    errors = []
    for index in range(parser.getNbErrors()):
        error = NativeObject(parser.getError(index), abi.PARSER_ERROR, wrapped=False)
        depth, stack = error.localFunctionStackSize(), error.localFunctionStack()
        functions: list[str] = []
        if stack and 0 < depth < 64:
            names = (ctypes.c_char_p * depth).from_address(stack)
            functions = [(name or b"").decode("utf-8", "replace") for name in names]
        errors.append(
            {
                "node": error.node(),
                "name": error.nodeName() or "",
                "op": error.nodeOperator() or "",
                "code": abi.name_of(abi.ERROR_CODES, error.code()),
                "description": error.desc() or "",
                "functions": functions,
            }
        )
    return errors


def _tensor(tensor: NativeObject) -> dict[str, Any]:
    return {
        "name": tensor.getName(),
        "shape": tensor.getDimensions().shape(),
        "dtype": abi.name_of(abi.DTYPES, tensor.getType()),
    }


def _input(address: int) -> dict[str, Any]:
    tensor = NativeObject(address, abi.TENSOR)
    return {**_tensor(tensor), "makes_shape": tensor.isShapeTensor()}


def _describe(network: NativeObject) -> dict[str, Any]:
    """Return the parsed network's inputs, outputs and layer counts."""
    kinds: Counter[str] = Counter()
    for index in range(network.getNbLayers()):
        layer = NativeObject(network.getLayer(index), abi.LAYER)
        kinds[abi.name_of(abi.LAYER_TYPES, layer.getType())] += 1
    return {
        "layers": sum(kinds.values()),
        "layer_types": dict(kinds.most_common()),
        "inputs": [_input(network.getInput(i)) for i in range(network.getNbInputs())],
        "outputs": [
            _tensor(NativeObject(network.getOutput(i), abi.TENSOR))
            for i in range(network.getNbOutputs())
        ],
    }


def _add_profile(
    builder: NativeObject,
    config: NativeObject,
    inputs: list[dict[str, Any]],
    request: dict[str, Any],
) -> str | None:
    """Declare the shapes of dynamic inputs and the numbers of those that shapes are made of.

    Returns:
        What is wrong, if anything.
    """
    profiles, values = request.get("profiles", {}), request.get("values", {})
    makers = [t["name"] for t in inputs if t["makes_shape"]]
    dynamic = [t["name"] for t in inputs if t["shape"] is None or min(t["shape"], default=0) < 0]
    missing = [name for name in dynamic if name not in profiles]
    if missing:
        return f"dynamic input {missing[0]} has no profile of min, opt and max shapes"
    if not dynamic and not makers:
        return None
    profile = NativeObject(builder.createOptimizationProfile(), abi.PROFILE)
    for name in dynamic:
        for which, shape in enumerate(profiles[name]):
            if not profile.setDimensions(name, which, abi.Dims.of(shape)):
                return f"profile shape {shape} of input {name} was refused"
    for name in makers:
        numbers = (ctypes.c_int64 * len(values[name]))(*values[name])
        for which in range(3):
            if not profile.setShapeValuesV2(name, which, numbers, len(numbers)):
                return f"the numbers {values[name]} of input {name} were refused"
    if config.addOptimizationProfile(profile) < 0:
        return "the optimisation profile was refused"
    return None


def _parse(parser: NativeObject, network: NativeObject, model: str, emit: Emit) -> dict[str, Any]:
    """Parse the file; emits ``status`` itself when it is refused, and then returns nothing."""
    emit(stage="parse")
    start = time.perf_counter()
    accepted = parser.parseFromFile(model, _KEPT_SEVERITY)
    emit(parse_s=round(time.perf_counter() - start, 3), errors=_parser_errors(parser))
    if not accepted:
        emit(status="refused")
        return {}
    facts = _describe(network)
    emit(**facts)
    if not facts["outputs"]:
        # The library calls an empty, random or text file a success with an empty network.
        emit(status="refused", reason="the parser found no graph in the file")
        return {}
    return facts


def run(request: dict[str, Any], emit: Emit) -> None:
    """Parse and build one model; every fact, the final ``status`` too, goes through ``emit``."""
    core, onnx_parser = _load(request["core"], request["parser"])
    version = core.getInferLibVersion()
    emit(version=abi.version_text(version))
    if "model" not in request:
        return
    memory: dict[str, int] = {}

    def sink(severity: int, text: str) -> None:
        figure = _MEMORY_LINE.match(text)
        if figure:
            memory[figure[1].lower()] = int(figure[2])
        if severity <= _KEPT_SEVERITY and _NO_DRIVER not in text:
            emit(log=f"{abi.name_of(abi.SEVERITIES, severity)}: {text}")

    logger = abi.Logger(sink)
    emit(stage="create")
    builder = NativeObject(core.createInferBuilder_INTERNAL(logger.address, version), abi.BUILDER)
    for path in request.get("plugins", ()):
        emit(stage="plugin", plugin=path)
        refusal = _refused_plugin(core, path)
        if refusal:
            emit(status="plugin_refused", reason=refusal)
            return
    emit(stage="create")
    if request.get("threads"):
        builder.setMaxThreads(request["threads"])
    network = NativeObject(builder.createNetworkV2(0), abi.NETWORK)
    parser = NativeObject(
        onnx_parser.createNvOnnxParser_INTERNAL(network.address, logger.address, version),
        abi.PARSER,
        wrapped=False,
    )
    facts = _parse(parser, network, request["model"], emit)
    if not facts:
        return
    for tensor in facts["inputs"]:
        if tensor["makes_shape"] and tensor["name"] not in request.get("values", {}):
            emit(status="values_needed", input=tensor)
            return
    emit(stage="build")
    config = NativeObject(builder.createBuilderConfig(), abi.CONFIG)
    if not request.get("tf32"):
        config.setFlags(config.getFlags() & ~(1 << abi.TF32_FLAG))
    emit(tf32=bool(config.getFlags() >> abi.TF32_FLAG & 1))
    problem = _add_profile(builder, config, facts["inputs"], request)
    if problem:
        emit(status="build_failed", reason=problem)
        return
    start = time.perf_counter()
    address = builder.buildSerializedNetwork(network, config)
    emit(build_s=round(time.perf_counter() - start, 3), memory=memory)
    if not address:
        emit(status="build_failed")
        return
    plan = NativeObject(address, abi.MEMORY)
    size = plan.size()
    if request.get("save"):
        with open(request["save"], "wb") as file:
            file.write(memoryview((ctypes.c_char * size).from_address(plan.data())))
    emit(engine_bytes=size, status="built")


def main() -> None:
    """Serve one request, then leave without running the library's static destructors."""
    facts = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(**values: Any) -> None:
        facts.write(json.dumps(values) + "\n")
        facts.flush()

    try:
        run(json.loads(sys.stdin.read()), emit)
    except Exception as error:  # the parent reports it; a traceback would go nowhere
        emit(status="crashed", reason=f"{type(error).__name__}: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
