"""Engines and contexts of the test-bed: refusals, shapes, addresses, and the numbers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contract.building import built, engine_of, parsed
from contract.fake_tensorrt.registry import write_plugin_library
from contract.install import Bed, fake_tensorrt
from contract.small_models import HALF, custom, doubled, largest_index, quantized, tripling


class Runner:
    """An engine with one context, device buffers and a stream, by way of cuda-python."""

    def __init__(self, bed: Bed, plan: bytes) -> None:
        from cuda.bindings import runtime

        self.cuda, self.bed = runtime, bed
        self.engine = engine_of(bed, plan)
        self.context = self.engine.create_execution_context()
        self.stream = self.ask(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self.buffers: dict[str, int] = {}

    @staticmethod
    def ask(answer: tuple[Any, ...]) -> Any:
        assert answer[0].value == 0, answer
        return answer[1] if len(answer) > 1 else None

    def bind(self, name: str, size: int) -> None:
        self.buffers[name] = self.ask(self.cuda.cudaMalloc(size))
        assert self.context.set_tensor_address(name, self.buffers[name])

    def __call__(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        copies = self.cuda.cudaMemcpyKind
        self.bind("x", array.nbytes)
        self.bind("y", like.nbytes)
        into, out = copies.cudaMemcpyHostToDevice, copies.cudaMemcpyDeviceToHost
        ask, copy = self.ask, self.cuda.cudaMemcpyAsync
        ask(copy(self.buffers["x"], array.ctypes.data, array.nbytes, into, self.stream))
        assert self.context.execute_async_v3(self.stream)
        ask(copy(like.ctypes.data, self.buffers["y"], like.nbytes, out, self.stream))
        ask(self.cuda.cudaStreamSynchronize(self.stream))
        return like


def plan_of(generation: str, model: onnx.ModelProto | None = None, **device: Any) -> bytes:
    with fake_tensorrt(generation, **device) as bed:
        plan = built(bed, model or doubled())
    assert plan is not None
    return plan


def compatible_plan(generation: str, hardware: str = "NONE", version: bool = False) -> bytes:
    with fake_tensorrt(generation) as bed:
        builder, network, _, config = parsed(bed, doubled())
        levels = bed.tensorrt.HardwareCompatibilityLevel.__members__
        config.hardware_compatibility_level = levels[hardware]
        if version:
            config.set_flag(bed.tensorrt.BuilderFlag.VERSION_COMPATIBLE)
        return bytes(builder.build_serialized_network(network, config))


# loading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made_by", "says"), [("8.6", "Version tag"), ("10.16", "library"), ("11.4", "Version tag")]
)
def test_a_plan_of_another_release_is_refused(made_by: str, says: str) -> None:
    plan = plan_of(made_by)
    with fake_tensorrt("10.3") as bed:
        assert engine_of(bed, plan) is None
        assert says in bed.errors()[-1]
        assert bed.world.deserialisations == 1


def test_a_plan_of_another_sm_is_refused() -> None:
    plan = plan_of("10.3", sm=(8, 6), integrated=False)
    with fake_tensorrt("10.3", sm=(8, 7)) as bed:
        assert engine_of(bed, plan) is None
        assert "expecting compute 8.7 got compute 8.6" in bed.errors()[-1]


def test_another_model_of_the_same_sm_is_a_warning() -> None:
    plan = plan_of("10.3", name="Orin Nano")
    with fake_tensorrt("10.3", name="AGX Orin") as bed:
        assert engine_of(bed, plan) is not None
        assert any("different models of devices" in text for _, text in bed.world.messages)


def test_ampere_plus_runs_on_any_newer_sm() -> None:
    plan = compatible_plan("10.3", hardware="AMPERE_PLUS")
    with fake_tensorrt("10.3", sm=(8, 9), integrated=False) as bed:
        engine = engine_of(bed, plan)
        assert engine.hardware_compatibility_level.name == "AMPERE_PLUS"
    with fake_tensorrt("10.3", sm=(7, 2)) as bed:
        assert engine_of(bed, plan) is None


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("8.6", "10.3", True),
        ("10.3", "10.16", True),
        ("10.16", "11.4", True),
        ("8.6", "11.4", False),
        ("10.16", "10.3", False),
    ],
)
def test_version_compatible_plans_run_on_the_next_major(old: str, new: str, runs: bool) -> None:
    plan = compatible_plan(old, version=True)
    with fake_tensorrt(new) as bed:
        assert engine_of(bed, plan) is None  # it holds a lean runtime: host code
        assert (engine_of(bed, plan, host_code=True) is not None) is runs


def test_damage_is_found(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    for damaged in (b"", plan[:8], plan[:-1], b"x" + plan[1:], plan[:60] + b"?" + plan[61:]):
        assert engine_of(tensorrt_bed, damaged) is None
    assert len(tensorrt_bed.errors()) == 5


def test_memory_for_the_engine_and_for_the_context() -> None:
    plan = plan_of("10.3")
    with fake_tensorrt("10.3", memory_bytes=64) as bed:
        assert engine_of(bed, plan) is None
        assert "out of memory" in bed.errors()[-1]
    with fake_tensorrt("10.3", memory_bytes=len(plan)) as bed:
        engine = engine_of(bed, plan)
        assert engine.create_execution_context() is None
        assert f"({engine.device_memory_size_v2} bytes)" in bed.errors()[-1]


def test_destroyed_engines_give_their_memory_back(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    engine = engine_of(tensorrt_bed, plan)
    context = engine.create_execution_context()
    assert tensorrt_bed.machine.memory.used > 0
    del context, engine
    assert tensorrt_bed.machine.memory.used == 0


# looking ----------------------------------------------------------------------------------------


def test_the_engine_describes_its_tensors(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    engine = engine_of(tensorrt_bed, built(tensorrt_bed, largest_index()))
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    assert names == ["x", "y"]
    assert engine.get_tensor_mode("x") == trt.TensorIOMode.INPUT
    assert engine.get_tensor_mode("y") == trt.TensorIOMode.OUTPUT
    expected = "INT32" if tensorrt_bed.world.major == 8 else "INT64"
    assert engine.get_tensor_dtype("y").name == expected
    assert tuple(engine.get_tensor_shape("x")) == (1, 3, 2, 2)
    assert engine.num_optimization_profiles == 1


def test_unknown_names_are_answered_not_raised(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    engine = engine_of(tensorrt_bed, built(tensorrt_bed, doubled()))
    assert engine.get_tensor_mode("nobody") == trt.TensorIOMode.NONE
    assert engine.get_tensor_dtype("nobody") == trt.float32
    assert engine.get_tensor_name(7) is None
    with pytest.raises(ValueError, match="__len__"):
        tuple(engine.get_tensor_shape("nobody"))
    with pytest.raises(ValueError, match="__len__"):  # outputs have no profile
        tuple(engine.get_tensor_profile_shape("y", 0)[0])
    assert len(tensorrt_bed.errors()) == 5


def test_the_inspector_speaks_json(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    inspector = engine_of(tensorrt_bed, built(tensorrt_bed, doubled())).create_engine_inspector()
    found = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    assert found["Layers"] == ["relu", "add"]
    assert ("I/O Tensors" in found) is (tensorrt_bed.world.major >= 11)


# shapes and addresses ---------------------------------------------------------------------------


def test_shapes_must_lie_in_the_profile(tensorrt_bed: Bed) -> None:
    builder, network, _, config = parsed(tensorrt_bed, doubled(height="h"))
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 2, 2, 4), (1, 2, 4, 4), (1, 2, 8, 4))
    config.add_optimization_profile(profile)
    engine = engine_of(tensorrt_bed, bytes(builder.build_serialized_network(network, config)))
    context = engine.create_execution_context()
    assert context.infer_shapes() == ["x"]
    assert not context.all_binding_shapes_specified
    assert context.get_tensor_shape("y") == (1, 2, -1, 4)
    assert context.set_input_shape("x", (1, 2, 9, 4)) is False
    assert context.set_input_shape("x", (1, 3, 4, 4)) is False
    assert context.set_input_shape("y", (1, 2, 4, 4)) is False
    assert context.set_input_shape("x", [1, 2, 6, 4]) is True
    assert context.get_tensor_shape("y") == (1, 2, 6, 4)
    assert engine.get_tensor_shape("y") == (1, 2, -1, 4)
    assert context.infer_shapes() == []


def test_addresses_are_needed_and_aligned(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    runner = Runner(tensorrt_bed, plan)
    assert runner.context.execute_async_v3(runner.stream) is False
    assert "Address is not set for input tensor x" in tensorrt_bed.errors()[-1]
    runner.bind("x", 128)
    assert runner.context.execute_async_v3(runner.stream) is False
    assert "output tensor y" in tensorrt_bed.errors()[-1]
    assert runner.context.set_tensor_address("y", runner.buffers["x"] + 4) is False
    assert runner.context.set_tensor_address("z", runner.buffers["x"]) is False
    with pytest.raises(TypeError):
        runner.context.set_tensor_address("y", None)


def test_an_address_that_is_too_small_is_an_illegal_access(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    runner = Runner(tensorrt_bed, plan)
    runner.bind("x", 128)
    runner.bind("y", 64)
    assert runner.context.execute_async_v3(runner.stream)  # found out when it runs
    assert runner.cuda.cudaStreamSynchronize(runner.stream)[0].value == 700
    assert runner.cuda.cudaMalloc(4)[0].value == 700  # and it stays


def test_one_context_runs_on_one_stream_at_a_time(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    runner = Runner(tensorrt_bed, plan)
    runner.bind("x", 128)
    runner.bind("y", 128)
    assert runner.context.execute_async_v3(runner.stream)
    other = runner.ask(runner.cuda.cudaStreamCreateWithFlags(1))
    assert runner.context.execute_async_v3(other) is False
    runner.ask(runner.cuda.cudaStreamSynchronize(runner.stream))
    assert runner.context.execute_async_v3(other) is True


def test_the_default_stream_is_warned_about(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    runner = Runner(tensorrt_bed, plan)
    runner.bind("x", 128)
    runner.bind("y", 128)
    assert runner.context.execute_async_v3(0)
    assert any("default stream" in text for _, text in tensorrt_bed.world.messages)


# numbers ----------------------------------------------------------------------------------------


def test_inference_computes(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)
    y = Runner(tensorrt_bed, plan)(x, np.zeros_like(x))
    np.testing.assert_array_equal(y, 2 * np.maximum(x, 0))
    assert tensorrt_bed.machine.faults == []


def test_half_precision_ends(tensorrt_bed: Bed) -> None:
    flags = ["FP16"] if tensorrt_bed.world.major == 8 else []
    plan = built(tensorrt_bed, doubled(elem=HALF), *flags)
    assert plan is not None
    x = np.linspace(-1, 1, 32, dtype=np.float16).reshape(1, 2, 4, 4)
    y = Runner(tensorrt_bed, plan)(x, np.zeros_like(x))
    np.testing.assert_array_equal(y, 2 * np.maximum(x, 0))


def test_integers_have_the_size_of_the_generation(tensorrt_bed: Bed) -> None:
    plan = built(tensorrt_bed, largest_index())
    assert plan is not None
    kind = np.int32 if tensorrt_bed.world.major == 8 else np.int64
    x = np.random.default_rng(0).random((1, 3, 2, 2), np.float32)
    y = Runner(tensorrt_bed, plan)(x, np.zeros((1, 1, 2, 2), kind))
    np.testing.assert_array_equal(y, x.argmax(1, keepdims=True))


def test_quantised_numbers(tensorrt_bed: Bed) -> None:
    flags = ["INT8"] if tensorrt_bed.world.major == 8 else []
    plan = built(tensorrt_bed, quantized(), *flags)
    assert plan is not None
    x = np.array([[0.1, 0.3, 0.8, 200]], np.float32)
    y = Runner(tensorrt_bed, plan)(x, np.zeros_like(x))
    np.testing.assert_array_equal(y, [[0, 0.5, 1, 63.5]])


def test_a_plugin_computes_its_function(tensorrt_bed: Bed, tmp_path: Path) -> None:
    library = write_plugin_library(tmp_path / "libours.so", {"Triple": tripling()})
    tensorrt_bed.tensorrt.get_plugin_registry().load_library(str(library))
    plan = built(tensorrt_bed, custom())
    assert plan is not None
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    np.testing.assert_array_equal(Runner(tensorrt_bed, plan)(x, np.zeros_like(x)), 3 * x)


def test_a_profiler_is_told_every_layer(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt

    class Kept(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.layers: list[str] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.layers.append(layer_name)

    plan = built(tensorrt_bed, doubled())
    assert plan is not None
    runner = Runner(tensorrt_bed, plan)
    runner.context.profiler = profiler = Kept()
    x = np.zeros((1, 2, 4, 4), np.float32)
    runner(x, np.zeros_like(x))
    assert profiler.layers == ["relu", "add"]
