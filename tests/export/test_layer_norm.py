"""LayerNormalization in older operators: the same numbers, names, and what TensorRT 8.5 reads."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_graphs import model_of, node, run

from differseg.export import check
from differseg.export.layer_norm import decompose_layer_norms, needs_older_norms
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.targets import find_target
from differseg.export.to_onnx import export_model

SHAPE = (2, 5, 4, 8)


def older(model: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    graph = ir.from_proto(model)
    count = decompose_layer_norms(graph)
    result = ir.to_proto(graph)
    onnx.checker.check_model(result, full_check=True)
    return count, result


@pytest.mark.parametrize("axis", [-1, -2, 1, 3])
@pytest.mark.parametrize("biased", [True, False])
def test_the_same_numbers(axis, biased):
    over, random = SHAPE[axis:], np.random.default_rng(0)
    constants = {"s": random.normal(size=over).astype(np.float32)}
    if biased:
        constants["b"] = random.normal(size=over).astype(np.float32)
    norm = node("LayerNormalization", " ".join(["x", *constants]), "y", axis=axis, epsilon=1e-3)
    model = model_of([norm], constants, SHAPE)
    x = (0.05 * random.normal(size=SHAPE) + 3).astype(
        np.float32
    )  # epsilon counts, so does the mean
    count, result = older(model)
    assert count == 1
    assert all(n.op_type != "LayerNormalization" for n in result.graph.node)
    assert [entry.name for entry in result.graph.output] == ["y"]
    assert np.allclose(run(result, x), run(model, x), atol=1e-4)


def test_two_norms_of_one_module_have_names_of_their_own():
    constants = {"s": np.ones(8, np.float32)}
    nodes = [node("LayerNormalization", "x s", "a"), node("LayerNormalization", "a s", "y")]
    count, result = older(model_of(nodes, constants, SHAPE))
    names = [n.name for n in result.graph.node]
    assert count == 2
    assert len(names) == len(set(names))
    assert {"part/ReduceMean", "part/ReduceMean_3", "part/Sqrt_1"} <= set(names)


def test_only_parsers_before_8_6_need_it():
    assert needs_older_norms(find_target("jetpack5"))
    others = ("jetpack6.0", "jetpack6", "trt11.4", "rtx1", "onnxruntime")
    assert not any(needs_older_norms(find_target(name)) for name in others)


def test_an_export_for_jetpack5_is_what_it_reads(tmp_path):
    path = tmp_path / "a.onnx"
    export_model(path, model="segnext-freqfusion-edge", size=(64, 96), target="jetpack5", limit=1)
    assert check(path, "jetpack5").passed
    what = {decision.what for decision in manifest_of(read_model(path)).decisions}
    assert "LayerNormalization" in what
