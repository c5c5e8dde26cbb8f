"""What each target says about our own nodes follows how its parser looks a node up."""

from __future__ import annotations

import onnx
import pytest
from planted_graphs import planted

from differseg.export.lint import lint
from differseg.export.targets import TARGETS
from differseg.export.verdict import Verdict

MARKS = {"plugin_version": "1", "plugin_namespace": "differseg"}


def _verdict(target: str, op: str = "DiffersegRfft2", **attributes: str) -> Verdict:
    model = planted(op, domain="differseg", norm="ortho", **attributes)
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


@pytest.mark.parametrize(("target", "level"), [("jetpack6.0", "no"), ("jetpack6", "condition")])
def test_local_functions_against_plugins(target: str, level: str) -> None:
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    opsets = [onnx.helper.make_opsetid("", 17)]
    definition = onnx.helper.make_function(
        "differseg", "DiffersegRfft2", ["x"], ["y"], [node], opsets
    )
    model = planted("DiffersegRfft2", domain="differseg", functions=[definition])
    graph_verdicts = [v for v in lint(model, TARGETS[target]) if not v.op]
    assert [v.level for v in graph_verdicts] == [level]
    assert "local functions" in graph_verdicts[0].reason
