"""The range guard: tensors that float16 does not hold, with the node to keep in float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from small_graphs import model_of, node, tiny_network

from differseg.cli import main
from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_dataset import write_sample
from differseg.export.half_graph import to_half
from differseg.export.modelfile import read_model
from differseg.export.range_guard import range_verdicts
from differseg.export.to_onnx import export_model


def verdicts(model, value):
    x = np.full((1, 1, 4, 4), value, np.float32)
    return {v.node: v for v in range_verdicts(model, [{"x": x}])}


CHAIN = [node("Mul", "x k", "big"), node("Mul", "big d", "small"), node("Relu", "small", "y")]
CONSTANTS = {"k": np.float32(1e4), "d": np.float32(1e-4)}


def half(model, kept=()):
    copy = ir.from_proto(model)
    to_half(copy, kept)
    return ir.to_proto(copy)


@pytest.mark.parametrize("typed", [False, True])
def test_a_tensor_beyond_float16_is_named_with_its_node(typed):
    model = model_of(CHAIN, CONSTANTS, (1, 1, 4, 4))
    found = verdicts(half(model) if typed else model, 7)
    assert set(found) == {"part/Mul_big"}
    verdict = found["part/Mul_big"]
    assert verdict.level == "no"
    assert verdict.reason == "'big' reaches 7e+04, float16 ends at 65504"
    assert "keep 'part/Mul_big' in float32" in verdict.advice


def test_nothing_is_said_of_what_a_typed_graph_keeps_in_float32():
    model = model_of(CHAIN, CONSTANTS, (1, 1, 4, 4))
    assert not verdicts(half(model, {"part/Mul_big", "part/Mul_small"}), 7)


def test_numbers_that_are_flushed_and_numbers_with_little_room():
    model = model_of(CHAIN, CONSTANTS, (1, 1, 4, 4))
    found = verdicts(model, 1e-8)
    assert "loses" in found["part/Mul_small"].reason
    assert found["part/Mul_small"].level == "no"
    assert verdicts(model, 3)["part/Mul_big"].level == "condition"


def test_a_sound_graph_has_no_verdict():
    x = np.random.default_rng(0).random((1, 3, 40, 48), np.float32)
    assert not list(range_verdicts(tiny_network(), [{"x": x}]))


def test_the_verb_fails_and_names_the_node(tmp_path, capsys):
    export_model(tmp_path / "edge.onnx", model="differseg-edge", size=(96, 128), limit=1,
                 real=False)  # fmt: skip
    write_sample(tmp_path / "set", "a", SyntheticScene(seed=8_100_001).sample(0.5))
    command = ["check", str(tmp_path / "edge.onnx"), "--data", str(tmp_path / "set")]
    (tmp_path / "set" / "test.txt").write_text("a\n")
    by_name = [*command[:-1], f"mfnet:{command[-1]}"]
    assert main([*by_name, "--split", "test"]) == 0
    assert main([*by_name, "--split", "dusk"]) == main([*command[:2], "--split", "test"]) == 2
    said = capsys.readouterr().err
    assert "mfnet: there is no split 'dusk'" in said
    assert "--split test: there is no data set" in said
    model = read_model(tmp_path / "edge.onnx")
    victim = next(n for n in model.graph.node if n.op_type == "Conv")
    weight = next(t for t in model.graph.initializer if t.name == victim.input[1])
    numbers = np.frombuffer(weight.raw_data, np.float32) * 1e6
    weight.raw_data = numbers.astype(np.float32).tobytes()
    (tmp_path / "edge.onnx").write_bytes(model.SerializeToString())
    capsys.readouterr()
    assert main(command) == 1
    assert f"keep '{victim.name}' in float32" in " ".join(capsys.readouterr().out.split())
