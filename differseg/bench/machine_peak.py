"""This machine's two roofs, measured in a few seconds: copies and matrix products.

The bandwidth of a processor depends on whether a layer fits its caches, so copies of several sizes
are timed, every thread on memory of its own.  Products of 1024x1024 matrices run in the engines
that are installed, and the fastest is the roof: what no engine here reaches is no bound for one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from differseg.bench.devices import Device
from differseg.bench.machine import cpu_name

SIZES_MIB = (0.25, 1, 4, 16, 64, 256)
"""Bytes read and written by a copy, all threads together."""

_SIDE = 1024
_RUNS, _SECONDS = 5, 0.3  # of each measurement, at least


def measure_machine(threads: int) -> Device:
    """Measure the machine with a number of threads; takes about 4 s.

    Returns:
        The device ``this-machine``: FP32 and INT8 by ONNX Runtime, FP32 and (as ``fp16``) bfloat16
        by OpenVINO where it is installed.
    """
    curve = tuple((int(mib * 2**20), _copy_gbs(int(mib * 2**20), threads)) for mib in SIZES_MIB)
    products = {"fp32": _onnxruntime_tflops(threads, "fp32")}
    products["int8"] = max(_onnxruntime_tflops(threads, "int8"), products["fp32"])
    engines = "ONNX Runtime"
    if find_spec("openvino") is not None:
        engines += " and OpenVINO"
        products["fp32"] = max(products["fp32"], _openvino_tflops(threads, "f32"))
        products["fp16"] = _openvino_tflops(threads, "bf16")
    products["fp16"] = max(products.get("fp16", 0.0), products["fp32"])
    return Device(
        name="this-machine",
        label=f"{cpu_name()}, {threads} threads",
        bandwidth_gbs=curve[-1][1],
        matrix_tflops=products,  # type: ignore[arg-type]
        vector_tflops=dict.fromkeys(("fp32", "fp16", "int8"), products["fp32"]),
        sources=f"measured here: copies in numpy, products in {engines}",
        checked="all, just now",
        cache_gbs=curve[:-1],
        estimated=False,
    )


def better_of(first: Device, second: Device) -> Device:
    """Return the higher of two measurements of every roof: what disturbs one only lowers it."""

    def higher(a: Mapping[Any, float], b: Mapping[Any, float]) -> dict[Any, float]:
        return {key: max(a[key], b[key]) for key in a}

    curve = higher(dict(first.cache_gbs), dict(second.cache_gbs))
    return replace(
        first,
        bandwidth_gbs=max(first.bandwidth_gbs, second.bandwidth_gbs),
        matrix_tflops=higher(first.matrix_tflops, second.matrix_tflops),
        vector_tflops=higher(first.vector_tflops, second.vector_tflops),
        cache_gbs=tuple(curve.items()),
    )


def _copy_gbs(size: int, threads: int) -> float:
    """Return bytes read and written a second, in 1e9, by copies that touch ``size`` bytes."""
    part = max(1, size // (2 * threads))
    pairs = [(np.ones(part, np.uint8), np.ones(part, np.uint8)) for _ in range(threads)]
    loops = max(1, 2**26 // size)

    def copy(pair: tuple[Any, Any]) -> None:
        for _ in range(loops):
            np.copyto(pair[1], pair[0])

    with ThreadPoolExecutor(threads) as pool:
        seconds = _least_s(lambda: list(pool.map(copy, pairs)))
    return 2 * part * threads * loops / seconds / 1e9


def _onnxruntime_tflops(threads: int, precision: str) -> float:
    import onnxruntime
    from onnx import TensorProto, helper

    op, left, right, out = {
        "fp32": ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT),
        "int8": ("MatMulInteger", TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32),
    }[precision]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _product_model(op, left, right, out), settings, providers=["CPUExecutionProvider"]
    )
    a = np.ones((_SIDE, _SIDE), helper.tensor_dtype_to_np_dtype(left))
    return 2 * _SIDE**3 / _least_s(lambda: session.run(None, {"a": a})) / 1e12


def _openvino_tflops(threads: int, precision: str) -> float:
    from onnx import TensorProto

    from differseg.runtime.backends.openvino import openvino_core

    kind = TensorProto.FLOAT
    core = openvino_core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    model = core.read_model(_product_model("MatMul", kind, kind, kind))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    a = np.ones((_SIDE, _SIDE), np.float32)
    return 2 * _SIDE**3 / _least_s(lambda: request.infer({"a": a})) / 1e12


def _product_model(op: str, left: int, right: int, out: int) -> bytes:
    """Return a model of one product with a constant, so that an engine may rearrange it."""
    from onnx import helper, numpy_helper

    shape = (_SIDE, _SIDE)
    constant = np.ones(shape, helper.tensor_dtype_to_np_dtype(right))
    graph = helper.make_graph(
        [helper.make_node(op, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", left, shape)],
        [helper.make_tensor_value_info("c", out, shape)],
        [numpy_helper.from_array(constant, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _least_s(run: Callable[[], object]) -> float:
    """Return the shortest duration: a roof is what the machine does when nothing disturbs it."""
    times: list[float] = []
    while len(times) < _RUNS or sum(times) < _SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
