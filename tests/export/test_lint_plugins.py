"""What each target says about our own nodes follows how its parser looks a node up."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from planted_graphs import planted
from plugin_nodes import NODES, Node, graph

from differseg.export import rtx
from differseg.export.check import check
from differseg.export.lint import lint
from differseg.export.lowering.plugin_nodes import PLUGIN_ATTRIBUTES
from differseg.export.targets import TARGETS
from differseg.export.verdict import Verdict

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
MARKS = {"plugin_version": "1", "plugin_namespace": "differseg"}


def _verdict(target: str, op: str = "", **attributes: object) -> Verdict:
    if not op:
        op, attributes = "DiffersegRfft2", {"norm": "ortho", **attributes}
    model = planted(op, domain="differseg", **attributes)
    (verdict,) = (v for v in lint(model, TARGETS[target]) if v.op)
    assert verdict.op == f"differseg::{op}"
    return verdict


@pytest.mark.parametrize("target", ["jetpack5", "jetpack6.0", "trt10.0"])
def test_before_ipluginv3(target: str) -> None:
    verdict = _verdict(target, **MARKS)
    assert verdict.level == "no"
    assert "TensorRT 10.1 and later" in verdict.reason
    assert verdict.advice == "export with --ops portable"


@pytest.mark.parametrize("target", ["trt10.1", "jetpack6", "jetpack7", "trt11.4", "rtx1"])
def test_with_the_library(target: str) -> None:
    verdict = _verdict(target, **MARKS)
    assert verdict.level == "condition"
    assert "plugin library" in verdict.reason


def test_without_a_namespace_the_domain_counts_from_10_10() -> None:
    assert _verdict("trt10.9", plugin_version="1").level == "no"
    assert _verdict("trt10.10", plugin_version="1").level == "condition"


def test_another_namespace_or_version() -> None:
    other = _verdict("jetpack7", plugin_namespace="other")
    assert other.level == "no"
    assert "namespace 'other'" in other.reason
    assert (
        "version 2" in _verdict("jetpack7", plugin_version="2", plugin_namespace="differseg").reason
    )


def test_operators_without_a_kernel() -> None:
    assert "no kernel" in _verdict("jetpack7", "DiffersegWarp", **MARKS).reason


def test_onnxruntime_needs_a_definition() -> None:
    verdict = _verdict("onnxruntime", **MARKS)
    assert verdict.level == "no"
    assert "ONNX Runtime has no kernel" in verdict.reason


HIDDEN, REPLACED = "hide plugins of the same name", "a loaded plugin of the same name replaces"


@pytest.mark.parametrize(
    ("target", "plain", "marked"),
    [
        ("jetpack6.0", "this parser ignores", "this parser ignores"),
        ("trt10.3", HIDDEN, HIDDEN),
        ("trt10.6", HIDDEN, HIDDEN),
        ("trt10.7", REPLACED, REPLACED),
        ("trt10.14", REPLACED, REPLACED),
        ("trt10.15", HIDDEN, REPLACED),
        ("rtx1", HIDDEN, REPLACED),
    ],
)
def test_local_functions_against_plugins(target: str, plain: str, marked: str) -> None:
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    opsets = [onnx.helper.make_opsetid("", 17)]
    definition = onnx.helper.make_function(
        "differseg", "DiffersegRfft2", ["x"], ["y"], [node], opsets
    )
    for marks, said in (({}, plain), (MARKS, marked)):
        model = planted("DiffersegRfft2", domain="differseg", functions=[definition], **marks)
        (verdict,) = [v for v in lint(model, TARGETS[target]) if not v.op]
        assert verdict.level == ("no" if target == "jetpack6.0" else "condition")
        assert verdict.reason == f"the file has 1 local functions, which {said}"
    marked_call = onnx.helper.make_node("DiffersegRfft2", ["y"], ["z"], domain="differseg", **MARKS)
    both = planted("DiffersegRfft2", domain="differseg", functions=[definition])
    both.graph.node.append(marked_call)
    (verdict,) = [v for v in lint(both, TARGETS[target]) if not v.op]
    mixed = f"{REPLACED} in 1 of 2 calls"
    assert verdict.reason.endswith(plain if plain == marked else mixed)


def test_functions_that_nothing_calls_are_no_matter() -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    opsets = [onnx.helper.make_opsetid("", 17)]
    spare = onnx.helper.make_function("acme", "Relu", ["x"], ["y"], [node], opsets)
    assert {v.level for v in lint(planted("Relu", functions=[spare]), TARGETS["jetpack5"])} == {
        "yes"
    }


GIVEN = [n for key, n in NODES.items() if "-" not in key]


@pytest.mark.parametrize("node", NODES.values(), ids=list(NODES))
def test_nodes_as_they_are_written(node: Node) -> None:
    assert _verdict("jetpack7", node.op, **{**MARKS, **node.attributes}).level == "condition"


@pytest.mark.parametrize("node", GIVEN, ids=lambda node: node.op)
def test_every_attribute_must_be_given_in_its_type(node: Node) -> None:
    for name in node.attributes:
        for changed in (node.but(**{name: None}), node.but(**{name: 0.5})):
            verdict = _verdict("jetpack7", node.op, **{**MARKS, **changed.attributes})
            assert verdict.level == "no"
            assert f"refuses the attribute {name}: it is " in verdict.reason


WRONG = {
    "norm": (NODES["rfft2"], {"norm": "foo"}, "'foo', expected one of backward, ortho, forward"),
    "even window": (NODES["local_similarity"], {"kernel_size": 4}, "4, expected 3 to 9 in steps"),
    "wide step": (NODES["reassemble"], {"scale": 5}, "it is 5, expected 1 to 4"),
    "odd filter": (
        NODES["dwt2"], {"lowpass": [1.0, 0.0, 0.0]}, "numbers in it: 3, expected 2 to 40",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("node", "changed", "said"), WRONG.values(), ids=list(WRONG))
def test_wrong_values(node: Node, changed: dict[str, object], said: str) -> None:
    verdict = _verdict("jetpack7", node.op, **{**MARKS, **node.but(**changed).attributes})
    assert verdict.level == "no"
    assert said in verdict.reason
    assert verdict.advice == "write the file again with 'differseg export --ops plugin'"


@pytest.mark.parametrize("version", [1, ""])
def test_a_version_that_is_no_text_or_empty_finds_nothing(version: int | str) -> None:
    verdict = _verdict("jetpack7", plugin_version=version, plugin_namespace="differseg")
    assert verdict.level == "no"
    assert "version '' (no text)" in verdict.reason


def test_an_empty_namespace_is_the_domain_from_10_10() -> None:
    assert _verdict("trt10.9", plugin_namespace="").level == "no"
    assert _verdict("trt10.10", plugin_namespace="").level == "condition"


@needs_rtx
@pytest.mark.parametrize(
    ("node", "marks"),
    [
        (NODES["rfft2"], {}),
        (NODES["rfft2"], {"plugin_version": 1}),
        (NODES["rfft2"], {"plugin_version": ""}),
        (NODES["rfft2"], {"plugin_namespace": ""}),
        (NODES["rfft2"].but(norm=None), {}),
        *((node.but(**changed), {}) for node, changed, _ in WRONG.values()),
    ],
)
def test_nvidia_agrees_on_attributes(
    node: Node, marks: dict[str, object], tmp_path: Path, plugin_library: Path
) -> None:
    model = graph(node)
    given = {**node.attributes, **MARKS, **marks}
    (own,) = [made for made in model.graph.node if made.domain]
    own.CopyFrom(onnx.helper.make_node(node.op, own.input, own.output, domain="differseg", **given))
    onnx.save(model, tmp_path / "f.onnx")
    report = check(tmp_path / "f.onnx", "rtx1", real=True, plugins=[plugin_library])
    assert report.rtx is not None
    refused = any(verdict.level == "no" for verdict in report.nodes)
    assert report.rtx.passed != refused, report.rtx.reason


def test_the_table_of_attributes_is_that_of_the_plugins_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "export/plugins/README.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    nodes = {r[0].strip("`"): r[3] for r in rows if len(r) == 4 and r[0].startswith("`Differseg")}
    for op, attributes in PLUGIN_ATTRIBUTES.items():
        assert re.findall(r"`(\w+)`", nodes[op]) == list(attributes)
    kinds = {
        name: (kind, values)
        for names, kind, values in (r for r in rows if len(r) == 3)
        for name in re.findall(r"`(\w+)`", names)
    }
    for attributes in PLUGIN_ATTRIBUTES.values():
        for name, expected in attributes.items():
            kind, values = kinds[name]
            assert kind == expected.kind
            if isinstance(expected.values, tuple):
                assert tuple(re.findall(r"`(\w+)`", values)) == expected.values
