"""What a builder is told: precision by the graph from TensorRT 10 on, by flags and pins before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import node
from small_network import SIZE_HW
from test_mask_output import feed_of

from differseg.errors import InputError
from differseg.export.engine_plan import EngineSettings, plan_engine
from differseg.export.modelfile import read_model
from differseg.export.precision import typed_half


@pytest.fixture(scope="module")
def full(model_file: Path) -> onnx.ModelProto:
    return read_model(model_file)


@pytest.fixture(scope="module")
def half(full: onnx.ModelProto) -> onnx.ModelProto:
    """A float16 file whose last convolution's sums were made to stay in float32."""
    poisoned = onnx.ModelProto()
    poisoned.CopyFrom(full)
    for tensor in poisoned.graph.initializer:
        if tensor.name == "first.weight":
            values = onnx.numpy_helper.to_array(tensor) * np.float32(1e5)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    typed, report = typed_half(poisoned, [feed_of(SIZE_HW)])
    assert report.islands
    return typed


@pytest.fixture(scope="module")
def quantised(full: onnx.ModelProto) -> onnx.ModelProto:
    """With one pair of QuantizeLinear and DequantizeLinear."""
    model = onnx.ModelProto()
    model.CopyFrom(full)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    model.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.float32(0.1), "scale"),
            onnx.numpy_helper.from_array(np.int8(0), "zero"),
        ]
    )
    place = list(model.graph.node).index(conv)
    model.graph.node.insert(place, node("QuantizeLinear", f"{conv.input[0]} scale zero", "q"))
    model.graph.node.insert(place + 1, node("DequantizeLinear", "q scale zero", "dq"))
    conv.input[0] = "dq"
    return model


@pytest.mark.parametrize("version", [(10, 0), (10, 3), (10, 16), (11, 0), (11, 4)])
def test_from_10_on_the_graph_says_everything(
    full: onnx.ModelProto, half: onnx.ModelProto, quantised: onnx.ModelProto, version: Any
) -> None:
    for model in (full, half, quantised):
        plan = plan_engine(model, version, EngineSettings())
        assert plan.strongly_typed
        assert plan.flags == plan.pins == ()


@pytest.mark.parametrize("version", [(10, 3), (11, 4)])
def test_float16_of_a_float32_graph_is_refused_from_10_on(
    full: onnx.ModelProto, half: onnx.ModelProto, version: Any
) -> None:
    """A builder would silently build float32 (11), or something else than was compared (10)."""
    with pytest.raises(InputError, match="'differseg export --precision fp16'"):
        plan_engine(full, version, EngineSettings(fp16=True))
    assert plan_engine(half, version, EngineSettings(fp16=True)).flags == ()


@pytest.mark.parametrize("version", [(8, 5), (8, 6)])
def test_before_10_flags_allow_what_the_graph_holds(
    full: onnx.ModelProto, half: onnx.ModelProto, quantised: onnx.ModelProto, version: Any
) -> None:
    plans = [plan_engine(model, version, EngineSettings()) for model in (full, half, quantised)]
    assert [plan.flags for plan in plans] == [(), ("FP16",), ("INT8",)]
    assert not any(plan.strongly_typed for plan in plans)
    both = plan_engine(quantised, version, EngineSettings(fp16=True))
    assert both.flags == ("FP16", "INT8")


def test_before_10_the_islands_of_a_typed_graph_are_pinned(half: onnx.ModelProto) -> None:
    plan = plan_engine(half, (8, 6), EngineSettings())
    ops = {node.name: node.op_type for node in half.graph.node}
    kinds = {value.name: value.type.tensor_type.elem_type for value in half.graph.value_info}
    assert plan.pins
    for name in plan.pins:
        made = next(node for node in half.graph.node if node.name == name).output[0]
        assert kinds.get(made, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT, name
        assert ops[name] not in ("Cast", "QuantizeLinear", "DequantizeLinear")
    narrow = {n.name for n in half.graph.node if kinds.get(n.output[0]) == onnx.TensorProto.FLOAT16}
    assert narrow
    assert not narrow & set(plan.pins)


def test_before_10_rules_pin_a_float32_graph() -> None:
    from small_graphs import model_of

    names = "left right".split()
    model = model_of(
        [
            node("MatMul", "x left", "a"),
            node("MatMul", "a right", "b"),
            node("ReduceMean", "b", "m", axes=[1, 2, 3], keepdims=1),
            node("Sub", "b m", "y"),
        ],
        {name: np.ones((64, 64), np.float32) for name in names},
        (1, 1, 64, 64),
    )
    for graph_node in model.graph.node:
        graph_node.name = graph_node.name.replace("part/MatMul_a", "net.high/rfft2/MatMul")
    plan = plan_engine(model, (8, 6), EngineSettings(fp16=True))
    assert "net.high/rfft2/MatMul" in plan.pins  # a Fourier transform
    assert "part/ReduceMean_m" in plan.pins  # a sum of 4096 numbers
    assert "part/MatMul_b" not in plan.pins


@pytest.mark.parametrize(
    ("settings", "version", "expected"),
    [
        ({"level": 4}, (8, 5), r"--level: from TensorRT 8\.6 on, this is 8\.5"),
        ({"version_compatible": True}, (8, 5), "--version-compatible: from"),
        ({"hardware": "ampere+"}, (8, 5), r"--hardware ampere\+: from"),
        ({"hardware": "same_compute_capability"}, (10, 7), r"from TensorRT 10\.9 on"),
        ({"level": 6}, (10, 3), "expected 0 to 5, got 6"),
        ({"workspace_mib": 0}, (10, 3), "--workspace-mib: expected at least 1"),
        ({"plugins_inside": True}, (10, 3), "there is no plugin"),
        ({"plugins": (Path("no.so"),)}, (10, 3), r"--plugin no\.so: there is no such file"),
        ({"shapes": {"rgb": (1, 2)}}, (10, 3), "--shapes rgb"),
    ],
)
def test_choices_that_a_release_does_not_have_are_refused(
    full: onnx.ModelProto, settings: dict[str, Any], version: Any, expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as refusal:
        plan_engine(full, version, EngineSettings(**settings))
    assert "\n" not in str(refusal.value)


def test_what_is_left_to_the_builder_is_not_in_the_options(full: onnx.ModelProto) -> None:
    plain = plan_engine(full, (10, 3), EngineSettings(level=2)).to_plain()
    assert plain["level"] == 2
    assert "workspace_mib" not in plain
    assert "pins" not in plain
