"""The builder of the test-bed refuses what TensorRT refuses, in the way TensorRT does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contract.building import built, creation_flags, engine_of, parsed
from contract.fake_tensorrt.plan import read_plan
from contract.fake_tensorrt.registry import write_plugin_library
from contract.install import Bed, fake_tensorrt
from contract.small_models import (
    HALF,
    custom,
    doubled,
    largest_index,
    model,
    quantized,
    tripling,
)
from onnx import helper

WEAK = ("8.6", "10.3", "10.16")


def header(plan: bytes | None) -> dict[str, Any]:
    assert plan is not None
    return read_plan(plan)[0]


def test_a_plan_says_what_it_was_built_for(tensorrt_bed: Bed) -> None:
    found = header(built(tensorrt_bed, doubled()))
    assert found["tensorrt"] == tensorrt_bed.tensorrt.__version__
    assert found["sm"] == [8, 7]
    assert found["strongly_typed"] is (tensorrt_bed.world.major >= 10)
    assert tensorrt_bed.errors() == []


def test_a_broken_file_is_a_parser_error(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    _, network, parser, _ = parsed(tensorrt_bed, doubled())
    assert (parser.num_errors, network.num_inputs, network.num_layers) == (0, 1, 2)
    assert parser.parse(b"no model") is False
    assert parser.get_error(0).code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED
    assert parser.get_error(1) is None
    assert parser.parse_from_file("/nowhere.onnx") is False


def test_the_network_describes_its_ends(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    _, network, _, _ = parsed(tensorrt_bed, doubled(height="h"))
    assert network.get_input(0).name == "x"
    assert network.get_input(0).shape == (1, 2, -1, 4)
    assert network.get_output(0).dtype == trt.float32
    assert network.get_layer(1).name == "add"
    assert network[0].type == trt.LayerType.ACTIVATION
    assert network.get_output(1) is None
    assert "out of range" in tensorrt_bed.errors()[-1]


def test_int64_becomes_int32_before_9(tensorrt_bed: Bed) -> None:
    _, network, _, _ = parsed(tensorrt_bed, largest_index())
    old = tensorrt_bed.world.major == 8
    assert network.get_output(0).dtype.name == ("INT32" if old else "INT64")
    warned = [text for severity, text in tensorrt_bed.world.messages if severity == "WARNING"]
    assert any("cast down to INT32" in text for text in warned) is old


def test_8_needs_an_explicit_batch() -> None:
    with fake_tensorrt("8.6") as bed:
        trt = bed.tensorrt
        logger = trt.Logger(trt.Logger.ERROR)
        network = trt.Builder(logger).create_network()
        parser = trt.OnnxParser(network, logger)
        assert parser.parse(doubled().SerializeToString()) is False
        assert "EXPLICIT_BATCH" in parser.get_error(0).desc()


def test_unknown_creation_flags_give_no_network(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    assert trt.Builder(trt.Logger(trt.Logger.ERROR)).create_network(1 << 9) is None
    assert creation_flags(tensorrt_bed) in (0, 1, 2)


def test_an_operator_without_importer_is_named(tensorrt_bed: Bed) -> None:
    node = helper.make_node("Compress", ["x", "c"], ["y"], "squeeze", axis=1)
    ends = {"x": (1, [1, 4]), "c": (9, [4])}
    _, _, parser, _ = parsed(tensorrt_bed, model([node], ends, {"y": (1, [1, 4])}))
    error = parser.get_error(0)
    assert error.node() == 0
    assert "Compress" in error.desc()
    if tensorrt_bed.world.major >= 10:
        assert (error.node_name(), error.node_operator()) == ("squeeze", "Compress")


def test_a_network_that_failed_to_parse_is_not_built(tensorrt_bed: Bed) -> None:
    assert built(tensorrt_bed, custom()) is None
    assert "at least one output" in tensorrt_bed.errors()[-1]


# precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["10.3", "10.16"])
def test_a_typed_network_refuses_precision_flags(generation: str) -> None:
    with fake_tensorrt(generation) as bed:
        assert built(bed, doubled(elem=HALF)) is not None
        assert built(bed, doubled(elem=HALF), "FP16") is None
        assert "strongly typed" in bed.errors()[-1]


@pytest.mark.parametrize("generation", WEAK)
def test_a_weak_network_needs_the_flag_of_its_types(generation: str) -> None:
    with fake_tensorrt(generation) as bed:
        assert built(bed, doubled(elem=HALF), typed=False) is None
        assert "fp16 is not configured" in bed.errors()[-1]
        assert built(bed, doubled(elem=HALF), "FP16", typed=False) is not None
        assert built(bed, quantized(), typed=False) is None
        assert built(bed, quantized(), "INT8", typed=False) is not None


@pytest.mark.parametrize("generation", WEAK)
def test_int8_without_scales_fails(generation: str) -> None:
    with fake_tensorrt(generation) as bed:
        assert built(bed, doubled(), "INT8", typed=False) is None
        assert "no scaling factors" in bed.errors()[-1]


def test_zero_points_are_zero_and_given_before_9(tensorrt_bed: Bed) -> None:
    old = tensorrt_bed.world.major == 8
    shifted, short = quantized(), quantized()
    shifted.graph.initializer[1].CopyFrom(
        onnx.numpy_helper.from_array(np.array(3, np.int8), "zero")
    )
    for node in short.graph.node:
        del node.input[2:]
    assert "zero-point of zero" in parsed(tensorrt_bed, shifted)[2].get_error(0).desc()
    assert parsed(tensorrt_bed, short)[2].num_errors == (2 if old else 0)


@pytest.mark.parametrize("generation", WEAK)
def test_pinned_layers_are_kept_in_the_plan(generation: str) -> None:
    with fake_tensorrt(generation) as bed:
        builder, network, _, config = parsed(bed, doubled(), typed=False)
        config.set_flag(bed.tensorrt.BuilderFlag.FP16)
        config.set_flag(bed.tensorrt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        network.get_layer(0).precision = bed.tensorrt.float32
        plan = bytes(builder.build_serialized_network(network, config))
        assert header(plan)["precisions"] == {"relu": "FLOAT"}
        assert "FP16" in header(plan)["flags"]


# shapes -----------------------------------------------------------------------------------------


def test_dynamic_shapes_need_a_profile(tensorrt_bed: Bed) -> None:
    builder, network, _, config = parsed(tensorrt_bed, doubled(height="h"))
    assert builder.build_serialized_network(network, config) is None
    assert "no optimization profile" in tensorrt_bed.errors()[-1]
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 2, 2, 4), (1, 2, 4, 4), (1, 2, 8, 4))
    assert config.add_optimization_profile(profile) == 0
    assert builder.build_serialized_network(network, config) is not None


def test_a_profile_must_agree_with_the_network(tensorrt_bed: Bed) -> None:
    builder, network, _, config = parsed(tensorrt_bed, doubled(height="h"))
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 3, 2, 4), (1, 3, 4, 4), (1, 3, 8, 4))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is None
    assert "dimension number 1" in tensorrt_bed.errors()[-1]


def test_a_profile_that_contradicts_itself_raises(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    profile = trt.Builder(trt.Logger()).create_optimization_profile()
    with pytest.raises(RuntimeError, match="max is inconsistent"):
        profile.set_shape("x", (1, 2), (1, 4), (1, 3))
    assert profile.get_shape("x") == []


# configuration ----------------------------------------------------------------------------------


def test_the_optimization_level_has_a_range(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
    config.builder_optimization_level = 5
    config.builder_optimization_level = 6
    assert config.builder_optimization_level == 5
    assert "[0, 5]" in tensorrt_bed.errors()[-1]


def test_tf32_is_on_until_it_is_cleared(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    config = trt.Builder(trt.Logger()).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)
    config.clear_flag(trt.BuilderFlag.TF32)
    assert config.flags == 0


def test_a_timing_cache_saves_the_second_build(tensorrt_bed: Bed) -> None:
    world = tensorrt_bed.world
    builder, network, _, config = parsed(tensorrt_bed, doubled())
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    builder.build_serialized_network(network, config)
    stored = bytes(config.get_timing_cache().serialize())
    assert (world.timing_hits, world.timing_misses) == (0, 2)
    builder, network, _, config = parsed(tensorrt_bed, doubled())
    assert config.set_timing_cache(config.create_timing_cache(stored), False)
    builder.build_serialized_network(network, config)
    assert (world.timing_hits, world.timing_misses) == (2, 2)


def test_a_timing_cache_of_another_release_is_not_used() -> None:
    with fake_tensorrt("10.3") as bed:
        builder, network, _, config = parsed(bed, doubled())
        builder.build_serialized_network(network, config)
        assert config.get_timing_cache() is None  # one that nobody attached is gone
        stored = bytes(config.create_timing_cache(b"").serialize())
    with fake_tensorrt("10.16") as bed:
        trt = bed.tensorrt
        config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
        assert config.set_timing_cache(config.create_timing_cache(stored), False) is False
        assert config.create_timing_cache(b"rubbish") is None


@pytest.mark.parametrize("generation", ["10.3", "10.16", "11.4"])
def test_a_progress_monitor_sees_phases_and_may_stop(generation: str) -> None:
    with fake_tensorrt(generation) as bed:
        trt = bed.tensorrt

        class Monitor(trt.IProgressMonitor):
            def __init__(self, answer: Any) -> None:
                trt.IProgressMonitor.__init__(self)
                self.answer, self.seen = answer, []

            def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
                self.seen.append(("start", phase, parent, steps))

            def step_complete(self, phase: str, step: int) -> bool:
                if isinstance(self.answer, BaseException):
                    raise self.answer
                return self.answer

            def phase_finish(self, phase: str) -> None:
                self.seen.append(("finish", phase))

        builder, network, _, config = parsed(bed, doubled())
        monitor = config.progress_monitor = Monitor(True)
        assert builder.build_serialized_network(network, config) is not None
        assert monitor.seen[0] == ("start", "Building Engine", None, 2)
        assert monitor.seen[-1] == ("finish", "Building Engine")
        for stop in (False, None, KeyboardInterrupt()):
            config.progress_monitor = Monitor(stop)
            assert builder.build_serialized_network(network, config) is None


# plugins ----------------------------------------------------------------------------------------


def test_a_plugin_needs_its_library(tensorrt_bed: Bed, tmp_path: Path) -> None:
    library = write_plugin_library(tmp_path / "libours.so", {"Triple": tripling()})
    _, _, parser, _ = parsed(tensorrt_bed, custom())
    assert "Plugin not found" in parser.get_error(0).desc()
    registry = tensorrt_bed.tensorrt.get_plugin_registry()
    assert registry.load_library(str(tmp_path / "missing.so")) is None
    assert registry.load_library(str(library)) is not None
    assert built(tensorrt_bed, custom()) is not None


def test_functions_are_ignored_before_9(tensorrt_bed: Bed) -> None:
    _, _, parser, _ = parsed(tensorrt_bed, custom(with_function=True))
    assert parser.num_errors == (1 if tensorrt_bed.world.major == 8 else 0)


@pytest.mark.parametrize(
    ("generation", "winner"),
    [("8.6", "plugin"), ("10.3", "function"), ("10.16", "plugin"), ("11.4", "plugin")],
)
def test_who_wins_when_a_node_has_a_function_and_a_plugin(
    tmp_path: Path, generation: str, winner: str
) -> None:
    library = write_plugin_library(tmp_path / "libours.so", {"Triple": tripling()})
    with fake_tensorrt(generation) as bed:
        bed.tensorrt.get_plugin_registry().load_library(str(library))
        assert parsed(bed, custom(with_function=True))[2].num_errors == 0
        assert bed.world.resolved == {"custom": winner}


def test_a_serialised_plugin_library_is_host_code(tensorrt_bed: Bed, tmp_path: Path) -> None:
    library = write_plugin_library(tmp_path / "libours.so", {"Triple": tripling()})
    tensorrt_bed.tensorrt.get_plugin_registry().load_library(str(library))
    builder, network, _, config = parsed(tensorrt_bed, custom())
    config.plugins_to_serialize = [str(library)]
    plan = bytes(builder.build_serialized_network(network, config))
    assert engine_of(tensorrt_bed, plan) is None
    assert "host code" in tensorrt_bed.errors()[-1]
    assert engine_of(tensorrt_bed, plan, host_code=True) is not None


def test_builtin_plugins_come_with_their_call(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    registry = trt.get_plugin_registry()
    find = registry.get_creator if tensorrt_bed.world.major >= 10 else registry.get_plugin_creator
    assert find("ModulatedDeformConv2d", "1", "") is None
    assert trt.init_libnvinfer_plugins(trt.Logger(), "") is True
    assert find("ModulatedDeformConv2d", "1", "") is not None
