"""What an engine on the processor takes for each layer, by its own account.

ONNX Runtime writes the time of every node that it runs into a profile; OpenVINO counts it and names
the nodes of the file that went into each of its own.  Both rename and join nodes, so times are
matched with layers by the names of the file's nodes.  A node of the engine that covers several of
our layers shares its time out by their bytes; what belongs to no node of the file (changes of
layout, above all) is kept apart.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from differseg.bench.layer_costs import Layer
from differseg.runtime.backends.openvino import import_openvino, openvino_core
from differseg.runtime.model_file import import_onnxruntime

Engine = Literal["onnxruntime", "openvino"]

_ORT_ADDITIONS = re.compile(
    r"^InsertedPrecisionFreeCast_|(_kernel_time|_nchwc|_output_\d+|_token_\d+|_mul|/\w+Fusion\w*/?)+$"
)
_OPENVINO_SUFFIXES = re.compile(r"(/WithoutBiases|_original|/Reshape\w*)$")


@dataclass(frozen=True)
class EngineTimes:
    """Times of one file in one engine.

    Attributes:
        engine: Engine and version.
        layers_s: Name of a layer -> seconds.
        own_s: Seconds in nodes of the engine's own, such as changes of layout.
        total_s: Seconds of a whole run, seen from outside and without counting.
    """

    engine: str
    layers_s: Mapping[str, float]
    own_s: float
    total_s: float


def engine_times(
    path: Path, layers: Sequence[Layer], engine: Engine, threads: int, runs: int = 20
) -> EngineTimes:
    """Measure every layer of a file.

    Args:
        path: The ONNX file.
        layers: Its layers.
        engine: Which engine.
        threads: Its threads.
        runs: Runs, of which the medians are taken.

    Raises:
        MissingComponentError: The engine is not installed.
    """
    if engine == "onnxruntime":
        return _onnxruntime(path, layers, threads, runs)
    return _openvino(path, layers, threads, runs)


def _onnxruntime(path: Path, layers: Sequence[Layer], threads: int, runs: int) -> EngineTimes:
    onnxruntime = import_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        plain = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
        feed = _noise({node.name: (node.shape, node.type) for node in plain.get_inputs()})
        total_s = _median_s(partial(plain.run, None, feed), runs)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
        for _ in range(runs + 1):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times.setdefault(event["name"], []).append(event["dur"] / 1e6)
    nodes = [
        ([_ORT_ADDITIONS.sub("", name)], statistics.median(taken[1:] or taken))
        for name, taken in times.items()
    ]
    layers_s, own_s = _matched(layers, nodes)
    return EngineTimes(f"ONNX Runtime {onnxruntime.__version__}", layers_s, own_s, total_s)


def _openvino(path: Path, layers: Sequence[Layer], threads: int, runs: int) -> EngineTimes:
    openvino = import_openvino()
    core = openvino_core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    plain = core.compile_model(str(path), "CPU", settings)
    types = {np.dtype("uint8"): "tensor(uint8)"}
    feed = _noise(
        {
            node.any_name: (list(node.shape), types.get(node.element_type.to_dtype(), "float"))
            for node in plain.inputs
        }
    )
    total_s = _median_s(partial(plain, feed), runs)
    compiled = core.compile_model(str(path), "CPU", {**settings, "PERF_COUNT": True})
    request = compiled.create_infer_request()
    times: dict[str, list[float]] = {}
    for number in range(runs + 1):
        request.infer(feed)
        for node in request.get_profiling_info() if number else ():
            if node.status == node.Status.EXECUTED:
                times.setdefault(node.node_name, []).append(node.real_time.total_seconds())
    originals = {}
    for node in compiled.get_runtime_model().get_ops():
        names = str(node.get_rt_info()["originalLayersNames"].astype(str))
        originals[node.get_friendly_name()] = names.split(",") if names else []
    nodes = [
        (
            [_OPENVINO_SUFFIXES.sub("", part) for part in originals.get(name, [])],
            statistics.median(taken),
        )
        for name, taken in times.items()
    ]
    layers_s, own_s = _matched(layers, nodes)
    version = openvino.__version__.split("-")[0]
    return EngineTimes(f"OpenVINO {version}, f32", layers_s, own_s, total_s)


def _matched(
    layers: Sequence[Layer], nodes: Sequence[tuple[list[str], float]]
) -> tuple[dict[str, float], float]:
    """Give the engine's times to the layers whose nodes or tensors they name, and what is left."""
    layer_of = {name: layer for layer in layers for name in (*layer.makes, *layer.nodes)}
    layers_s: dict[str, float] = {}
    own_s = 0.0
    for names, seconds in nodes:
        found = {layer_of[name].name: layer_of[name] for name in names if name in layer_of}
        if not found:
            own_s += seconds
            continue
        weight = sum(layer.bytes for layer in found.values())
        for name, layer in found.items():
            share = layer.bytes / weight if weight else 1 / len(found)
            layers_s[name] = layers_s.get(name, 0.0) + seconds * share
    return layers_s, own_s


def _noise(inputs: Mapping[str, tuple[list[int], str]]) -> dict[str, npt.NDArray[Any]]:
    """Return seeded noise for every input: 0..255 for bytes, else 0..1."""
    draw = np.random.default_rng(0)
    feed: dict[str, npt.NDArray[Any]] = {}
    for name, (shape, kind) in inputs.items():
        if "uint8" in kind:
            feed[name] = draw.integers(0, 256, shape, dtype=np.uint8)
        else:
            half = "float16" in kind
            feed[name] = draw.random(shape, np.float32).astype(np.float16 if half else np.float32)
    return feed


def _median_s(run: Callable[[], object], runs: int) -> float:
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
