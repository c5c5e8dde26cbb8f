"""INT8 behind and before concatenations: OpenVINO must round as ONNX Runtime does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from differseg.runtime.backends.cpu_features import cpu_flags
from differseg.runtime.backends.openvino import openvino_core
from differseg.runtime.backends.openvino_int8 import write_unsigned

openvino = pytest.importorskip("openvino")

pytestmark = pytest.mark.skipif(
    not (cpu_flags() or frozenset()) & {"avx512_vnni", "avx_vnni"},
    reason="sums of int8 products overflow on processors without VNNI",
)
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def quantised(place: str, zero_point: np.generic = np.int8(0)) -> bytes:  # noqa: B008
    """Two inputs, quantised each or together, joined, and a 3x3 convolution with int8 weights."""
    draw = np.random.default_rng(0)
    constants = {
        "scale": np.float32(0.05),
        "zero": zero_point,
        "weight": draw.integers(-127, 128, (4, 16, 3, 3)).astype(np.int8),
        "weight_scale": draw.uniform(0.005, 0.015, 4).astype(np.float32),
        "weight_zero": np.zeros(4, np.int8),
    }

    def rounded(name: str) -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_d"]),
        ]

    if place == "behind":
        nodes = [helper.make_node("Concat", ["a", "b"], ["joined"], axis=1), *rounded("joined")]
    else:
        nodes = [*rounded("a"), *rounded("b")]
        nodes.append(helper.make_node("Concat", ["a_d", "b_d"], ["joined_d"], axis=1))
    nodes.append(
        helper.make_node(
            "DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["weight_d"], axis=0
        )
    )
    nodes.append(helper.make_node("Conv", ["joined_d", "weight_d"], ["y"], pads=[1] * 4))
    shape = (1, 8, 12, 12)
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def difference(data: bytes, rewrite: bool) -> tuple[int, float]:
    """Number of quantisers rewritten, and OpenVINO's error relative to ONNX Runtime's output."""
    draw = np.random.default_rng(1)
    feed = {name: 2 * draw.normal(size=(1, 8, 12, 12)).astype(np.float32) for name in "ab"}
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, feed)
    core = openvino_core()
    model = core.read_model(data)
    count = write_unsigned(openvino, model) if rewrite else 0
    found = core.compile_model(model, "CPU", SETTINGS)(feed)["y"]
    return count, float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize(("place", "count"), [("behind", 1), ("before", 2)])
def test_signed_numbers_round_as_they_should(place: str, count: int) -> None:
    assert difference(quantised(place), rewrite=True) == (count, pytest.approx(0, abs=2e-3))


def test_unsigned_numbers_stay_as_they_are() -> None:
    data = quantised("behind", np.uint8(128))
    assert difference(data, rewrite=True) == (0, pytest.approx(0, abs=2e-3))


def test_a_zero_point_of_signed_numbers_stays_as_it_is() -> None:
    count, _ = difference(quantised("behind", np.int8(5)), rewrite=True)
    assert count == 0


@pytest.mark.skipif(
    not openvino.__version__.startswith("2026.4."), reason="seen in OpenVINO 2026.4"
)
def test_what_the_rewriting_is_for() -> None:
    """Seen on processors without AMX, and on others that are told to do without it."""
    code = "import test_openvino_int8 as t; print(t.difference(t.quantised('behind'), False)[1])"
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 0.05
