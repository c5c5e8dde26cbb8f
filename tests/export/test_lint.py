"""The lint against graphs with one planted trap each, by target."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from planted_graphs import INT64, UINT8, dft, doubling_function, planted

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
        planted("NonZero"), {"jetpack6": "condition"}, "output allocator",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "levels", "said"), TRAPS.values(), ids=list(TRAPS))
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
