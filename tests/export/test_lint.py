"""The lint against graphs with one planted trap each, by target."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from planted_graphs import (
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    dequantised,
    derived_zero_point,
    dft,
    dft_function,
    doubling_function,
    function,
    function_of,
    planted,
    quantised,
    with_ir,
)

from differseg.errors import InputError
from differseg.export.lint import levels_by_target, lint, worst
from differseg.export.targets import DEFAULT_TARGET, TARGETS, find_target, supported_operators

GRID = ("x", "grid")
SCALES = {"inputs": ("x", "", "s"), "constants": [("s", np.ones(4, np.float32))]}
TRAPS = {
    "GridSample linear at opset 20": (
        planted("GridSample", inputs=GRID, opset=20, mode="linear"),
        {"jetpack6": "no", "trt11.4": "no", "rtx1": "no", "onnxruntime": "yes"},
        "silently samples the nearest",
    ),
    "GridSample default mode at opset 20": (
        planted("GridSample", inputs=GRID, opset=20), {"jetpack6": "no"}, "nearest",
    ),
    "GridSample at opset 17": (
        planted("GridSample", inputs=GRID, mode="bilinear"),
        {"jetpack5": "yes", "jetpack6": "yes", "trt11.4": "yes"}, "",
    ),
    "GridSample of a volume": (
        planted("GridSample", inputs=GRID, shape=(1, 2, 4, 4, 4)), {"jetpack6": "no"}, "rank 4",
    ),
    "antialiased resize": (
        planted("Resize", **SCALES, opset=18, mode="linear", antialias=1),
        {"jetpack6": "no", "rtx1": "no", "onnxruntime": "yes"}, "antialiased",
    ),
    "cubic resize": (
        planted("Resize", **SCALES, mode="cubic"),
        {"jetpack6": "condition", "onnxruntime": "yes"}, "cubic",
    ),
    "Fourier transform": (
        dft(),
        {"jetpack5": "no", "trt11.1": "no", "trt11.2": "condition", "rtx1": "no",
         "onnxruntime": "yes"},
        "DFT",
    ),
    "layer normalisation": (
        planted("LayerNormalization", inputs=("x", "g"), constants=[("g", np.ones(8, np.float32))]),
        {"jetpack5": "no", "jetpack6.0": "yes", "jetpack6": "yes"}, "TensorRT 8.6 and later",
    ),
    "int64 input": (
        planted("Abs", dtype=INT64),
        {"jetpack5": "condition", "jetpack6": "condition", "onnxruntime": "yes"}, "int64",
    ),
    "uint8 moved before it is cast": (
        planted("Transpose", dtype=UINT8, perm=[0, 3, 1, 2]),
        {"jetpack5": "no", "rtx1": "no", "onnxruntime": "yes"}, "cast before anything else",
    ),
    "uint8 cast": (
        planted("Cast", dtype=UINT8, to=1), {"jetpack5": "yes", "rtx1": "yes"}, "",
    ),
    "local function": (
        planted("Double", domain="differseg", functions=[doubling_function()]),
        {"jetpack5": "no", "jetpack6": "condition", "onnxruntime": "yes"}, "local function",
    ),
    "Fourier transform inside a function": (
        planted("Double", shape=(1, 4, 8, 2), domain="differseg", functions=[dft_function()]),
        {"jetpack5": "no", "jetpack6": "no", "trt11.2": "condition", "onnxruntime": "yes"},
        "DFT is not among the operators",
    ),
    "function of another opset": (
        planted("Double", shape=(1, 4, 8, 2), domain="differseg", functions=[dft_function(18)]),
        {"jetpack6": "no", "trt11.4": "no", "onnxruntime": "yes"}, "was not judged",
    ),
    "function of another domain": (
        planted("Double", domain="other", functions=[doubling_function()]),
        {"jetpack6": "no", "onnxruntime": "no"}, "custom domain",
    ),
    "custom domain": (
        planted("Wavelet", domain="differseg"),
        {"jetpack6": "no", "rtx1": "no", "onnxruntime": "no"}, "plugin library",
    ),
    "dynamic shape": (
        planted("Relu", shape=("n", 4, 8, 8)),
        {"jetpack6": "condition", "onnxruntime": "yes"}, "optimisation profile",
    ),
    "newer opset": (
        planted("Relu", opset=21),
        {"jetpack5": "no", "jetpack6": "no", "trt11.1": "yes", "onnxruntime": "no"}, "opset 21",
    ),
    "Einsum with a diagonal": (
        planted("Einsum", shape=(4, 4), equation="ii->i"),
        {"jetpack6": "no", "jetpack7.0": "yes"}, "diagonal",
    ),
    "asymmetric quantisation": (
        planted("QuantizeLinear", inputs=("x", "s", "z"),
                constants=[("s", np.float32(0.1)), ("z", np.uint8(128))]),
        {"jetpack6": "no", "onnxruntime": "yes"}, "zero point",
    ),
    "int8 with a zero point": (
        quantised(INT8), {"jetpack5": "yes", "jetpack6": "yes", "rtx1": "yes"}, "",
    ),
    "uint8": (
        quantised(UINT8),
        {"jetpack6.0": "no", "jetpack6": "no", "rtx1": "no", "onnxruntime": "yes"},
        "silently computed as int8",
    ),
    "no zero point, so uint8": (
        quantised(None), {"jetpack6.0": "no", "jetpack6": "no", "onnxruntime": "yes"}, "default",
    ),
    "no zero point, int8 by name": (
        quantised(None, opset=21, output_dtype=INT8), {"trt11.4": "yes"}, "",
    ),
    "16 bits": (
        quantised(INT16, opset=21), {"trt11.4": "no"}, "of this type are refused",
    ),
    "dequantised uint8": (
        dequantised(UINT8, UINT8), {"jetpack6.0": "no", "jetpack6": "no"}, "zero point of uint8",
    ),
    "dequantised int8 without a zero point": (
        dequantised(INT8, None), {"jetpack6.0": "no", "jetpack6": "yes"}, "must be given",
    ),
    "dequantised bias": (
        dequantised(INT32, None), {"jetpack6.0": "no", "jetpack6": "no"}, "of this type",
    ),
    "too many candidates": (
        planted("TopK", inputs=("x", "k"), outputs=("y", "i"), constants=[("k", [3840])]),
        {"jetpack6": "no", "onnxruntime": "yes"}, "below 3840",
    ),
    "no number of candidates": (
        planted("TopK", inputs=("x", "k"), outputs=("y", "i"),
                constants=[("k", np.zeros(0, np.int64))]),
        {"jetpack6": "no"}, "one number",
    ),
    "unknown to TensorRT": (
        planted("Col2Im", opset=18, inputs=("x", "i", "b"),
                constants=[("i", np.array([8, 8])), ("b", np.array([2, 2]))]),
        {"jetpack6": "no", "trt11.4": "no"}, "Col2Im",
    ),
    "indices of max pooling": (
        planted("MaxPool", outputs=("y", "i"), kernel_shape=[2, 2]),
        {"jetpack6": "no", "onnxruntime": "yes"}, "first output",
    ),
    "data-dependent size": (
        planted("NonZero"), {"jetpack6": "condition", "rtx1": "no"}, "output allocator",
    ),
    "function of a built-in name": (
        planted("Relu", domain="acme", functions=[function_of("Neg", name="Relu")]),
        {"jetpack5": "no", "jetpack6": "no", "rtx1": "no", "onnxruntime": "yes"},
        "takes its own Relu",
    ),
    "scattered sums": (
        planted("ScatterElements", shape=(4, 4), inputs=("x", "i", "x"), opset=18,
                constants=[("i", np.zeros((4, 4), np.int64))], reduction="add"),
        {"jetpack5": "no", "jetpack6.0": "no", "jetpack6": "condition", "trt10.8": "condition",
         "rtx1": "no", "onnxruntime": "yes"},
        "runs as a plugin",
    ),
    "scattered": (
        planted("ScatterElements", shape=(4, 4), inputs=("x", "i", "x"), opset=16,
                constants=[("i", np.zeros((4, 4), np.int64))]),
        {"jetpack5": "yes", "rtx1": "yes"}, "",
    ),
    "format of tomorrow": (
        with_ir(planted("Relu"), 11),
        {"jetpack6": "yes", "rtx1": "yes", "onnxruntime": "no"}, "reads up to 9",
    ),
}  # fmt: skip
QUANTISATION = {
    "scale of zero": (
        planted("QuantizeLinear", inputs=("x", "s", "z"),
                constants=[("s", np.float32(0)), ("z", np.int8(0))]),
        {"jetpack5": "no", "jetpack6": "no", "rtx1": "no", "onnxruntime": "yes"}, "above zero",
    ),
    "scale of NaN": (
        planted("QuantizeLinear", inputs=("x", "s", "z"),
                constants=[("s", np.float32("nan")), ("z", np.int8(0))]),
        {"rtx1": "no"}, "above zero",
    ),
    "zero point as input": (
        planted("DequantizeLinear", dtype=INT8, inputs=("x", "s", "z"),
                constants=[("s", np.float32(0.1))]),
        {"jetpack6": "no", "rtx1": "no"}, "constant of the file",
    ),
    "zero point behind copies": (
        derived_zero_point(5), {"jetpack6": "no", "rtx1": "no"}, "zero point must be zero",
    ),
    "zero point of 0 behind copies": (
        derived_zero_point(0), {"jetpack6": "yes", "rtx1": "yes"}, "",
    ),
}  # fmt: skip


ALL = TRAPS | QUANTISATION


@pytest.mark.parametrize(("model", "levels", "said"), ALL.values(), ids=list(ALL))
def test_trap(model, levels, said):
    by_target = levels_by_target(model)
    assert {name: by_target[name] for name in levels} == levels
    for name, level in levels.items():
        verdicts = lint(model, find_target(name))
        objections = [v for v in verdicts if v.level != "yes"]
        assert bool(objections) == (level != "yes")
        for verdict in objections:
            assert verdict.reason
            assert verdict.advice
            assert verdict.source
    verdicts = [v for name in levels for v in lint(model, find_target(name))]
    assert any(said in f"{v.reason}; {v.advice}" for v in verdicts)


def test_every_node_gets_a_verdict_and_subgraphs_are_walked():
    from onnx import helper

    branch = planted("DFT", shape=(1, 4, 8, 2), axis=1).graph
    del branch.input[:]
    branch.node[0].input[0] = "x"
    model = planted("If", inputs=("x",), then_branch=branch, else_branch=branch)
    model.graph.node.append(helper.make_node("Relu", ["y"], ["z"], name="after"))
    verdicts = lint(model, find_target("jetpack6"))
    assert [(v.op, v.level) for v in verdicts] == [
        ("If", "condition"), ("DFT", "no"), ("DFT", "no"), ("Relu", "yes"),
    ]  # fmt: skip
    assert worst(verdicts) == "no"


def test_a_function_is_judged_wherever_it_is_called_and_however_deep():
    from onnx import helper

    outer = function(helper.make_node("Double", ["x"], ["y"], domain="differseg"), name="Outer")
    model = planted(
        "Outer", shape=(1, 4, 8, 2), domain="differseg", functions=[outer, dft_function()]
    )
    second = helper.make_node("Double", ["y"], ["z"], name="second", domain="differseg")
    model.graph.node.append(second)
    nodes = [v for v in lint(model, find_target("jetpack6")) if v.op]
    assert [(v.op, v.level) for v in nodes] == [("DFT", "no"), ("DFT", "no")]
    assert all(v.node.startswith("spectrum") for v in nodes)


def test_a_function_that_calls_itself_is_refused_and_does_not_hang():
    from onnx import helper

    model = planted(
        "Double", domain="differseg",
        functions=[function(helper.make_node("Double", ["x"], ["y"], domain="differseg"))],
    )  # fmt: skip
    assert levels_by_target(model)["jetpack6"] == "no"


def test_targets_are_complete_and_ordered():
    assert {"jetpack5", "jetpack6.0", "jetpack6", "jetpack7.0", "jetpack7"} <= set(TARGETS)
    assert {"trt10.3", "trt11.4", "rtx1", "onnxruntime", DEFAULT_TARGET} <= set(TARGETS)
    assert all(t.source and t.label and t.max_opset >= 17 for t in TARGETS.values())
    releases = [t for t in TARGETS.values() if t.name.startswith("trt")]
    for older, newer in itertools.pairwise(releases):
        assert older.version < newer.version
        assert older.max_opset <= newer.max_opset
        assert supported_operators(older.version) <= supported_operators(newer.version)


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(InputError, match="no target 'jetpak6'; did you mean 'jetpack6'"):
        find_target("jetpak6")


def test_the_guide_names_each_target_with_its_opset():
    guide = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()
    for name in ("jetpack5", "jetpack6.0", "jetpack6", "jetpack7.0", "jetpack7", "rtx1"):
        (row,) = [line for line in guide.splitlines() if line.startswith(f"| `{name}`")]
        assert row.endswith(f"| {TARGETS[name].max_opset} |")
