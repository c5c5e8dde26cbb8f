"""Each generation has what its bindings have, and lacks what they lack."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from contract.fake_tensorrt.generations import GENERATIONS
from contract.install import Bed, fake_tensorrt
from contract.pybind import NotModelledError

ALL = "8.6 10.3 10.16 11.4"
CORE = "NVIDIA/TensorRT python/src/infer/pyCore.cpp"
GRAPH = "NVIDIA/TensorRT python/src/infer/pyGraph.cpp"
TYPES = "NVIDIA/TensorRT python/src/infer/pyFoundationalTypes.cpp"
ONNX = "NVIDIA/TensorRT python/src/parsers/pyOnnx.cpp"
PLUGIN = "NVIDIA/TensorRT python/src/infer/pyPlugin.cpp"
HEADER = "NVIDIA/TensorRT include/NvInfer.h"

PRESENCE = [
    # class, name, generations that have it, source
    ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "8.6 10.3 10.16", CORE),
    ("NetworkDefinitionCreationFlag", "EXPLICIT_PRECISION", "8.6", CORE),
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", "10.3 10.16 11.4", CORE),
    ("NetworkDefinitionCreationFlag", "PREFER_JIT_PYTHON_PLUGINS", "10.16 11.4", CORE),
    ("BuilderFlag", "FP16", "8.6 10.3 10.16", CORE),
    ("BuilderFlag", "INT8", "8.6 10.3 10.16", CORE),
    ("BuilderFlag", "BF16", "10.3 10.16", CORE),
    ("BuilderFlag", "STRICT_TYPES", "8.6", CORE),
    ("BuilderFlag", "OBEY_PRECISION_CONSTRAINTS", "8.6 10.3 10.16", CORE),
    ("BuilderFlag", "VERSION_COMPATIBLE", ALL, CORE),
    ("BuilderFlag", "EXCLUDE_LEAN_RUNTIME", ALL, CORE),
    ("BuilderFlag", "ERROR_ON_TIMING_CACHE_MISS", "10.3 10.16 11.4", CORE),
    ("BuilderFlag", "STRIP_PLAN", "10.3 10.16 11.4", CORE),
    ("BuilderFlag", "EDITABLE_TIMING_CACHE", "10.16 11.4", CORE),
    ("HardwareCompatibilityLevel", "AMPERE_PLUS", ALL, CORE),
    ("HardwareCompatibilityLevel", "SAME_COMPUTE_CAPABILITY", "10.16 11.4", CORE),
    ("MemoryPoolType", "WORKSPACE", ALL, CORE),
    ("MemoryPoolType", "TACTIC_SHARED_MEMORY", "10.3 10.16 11.4", CORE),
    ("DataType", "INT64", "10.3 10.16 11.4", TYPES),
    ("DataType", "BF16", "10.3 10.16 11.4", TYPES),
    ("DataType", "UINT8", ALL, TYPES),
    ("TacticSource", "CUDNN", "8.6 10.3 10.16", CORE),
    ("OnnxParserFlag", "ENABLE_PLUGIN_OVERRIDE", "10.16 11.4", ONNX),
    ("ErrorCode", "UNSUPPORTED_NODE_ATTR", "10.3 10.16 11.4", ONNX),
    ("Builder", "build_serialized_network", ALL, CORE),
    ("Builder", "build_engine", "8.6", CORE),
    ("Builder", "platform_has_fast_fp16", "8.6 10.3 10.16", CORE),
    ("Builder", "platform_has_fast_int8", "8.6 10.3 10.16", CORE),
    ("Builder", "max_batch_size", "8.6", CORE),
    ("Builder", "build_serialized_network_to_stream", "10.16 11.4", CORE),
    ("IBuilderConfig", "max_workspace_size", "8.6", CORE),
    ("IBuilderConfig", "set_memory_pool_limit", ALL, CORE),
    ("IBuilderConfig", "int8_calibrator", "8.6 10.3 10.16", CORE),
    ("IBuilderConfig", "progress_monitor", "10.3 10.16 11.4", CORE),
    ("IBuilderConfig", "builder_optimization_level", ALL, CORE),
    ("IBuilderConfig", "hardware_compatibility_level", ALL, CORE),
    ("IBuilderConfig", "plugins_to_serialize", ALL, CORE),
    ("IBuilderConfig", "runtime_platform", "10.3 10.16 11.4", CORE),
    ("IBuilderConfig", "tiling_optimization_level", "10.16 11.4", CORE),
    ("INetworkDefinition", "flags", "10.3 10.16 11.4", GRAPH),
    ("INetworkDefinition", "get_flag", "10.3 10.16 11.4", GRAPH),
    ("ILayer", "precision", "8.6 10.3 10.16", GRAPH),
    ("ILayer", "set_output_type", "8.6 10.3 10.16", GRAPH),
    ("OnnxParser", "parse_from_file", ALL, ONNX),
    ("OnnxParser", "supports_model", "8.6 10.3 10.16", ONNX),
    ("OnnxParser", "supports_model_v2", "10.3 10.16 11.4", ONNX),
    ("OnnxParser", "load_initializer", "10.16 11.4", ONNX),
    ("ParserError", "node_name", "10.3 10.16 11.4", ONNX),
    ("ParserError", "node", ALL, ONNX),
    ("Runtime", "engine_host_code_allowed", ALL, CORE),
    ("Runtime", "load_runtime", ALL, CORE),
    ("ICudaEngine", "num_io_tensors", ALL, CORE),
    ("ICudaEngine", "num_bindings", "8.6", CORE),
    ("ICudaEngine", "get_binding_shape", "8.6", CORE),
    ("ICudaEngine", "device_memory_size", "8.6 10.3 10.16", CORE),
    ("ICudaEngine", "device_memory_size_v2", "10.3 10.16 11.4", CORE),
    ("ICudaEngine", "create_execution_context_without_device_memory", "8.6 10.3 10.16", CORE),
    ("ICudaEngine", "has_implicit_batch_dimension", "8.6 10.3 10.16", CORE),
    ("IExecutionContext", "execute_async_v3", ALL, CORE),
    ("IExecutionContext", "execute_async_v2", "8.6", CORE),
    ("IExecutionContext", "set_binding_shape", "8.6", CORE),
    ("IExecutionContext", "all_shape_inputs_specified", "8.6 10.3 10.16", CORE),
    ("IPluginRegistry", "get_creator", "10.3 10.16 11.4", PLUGIN),
    ("IPluginRegistry", "get_plugin_creator", "8.6 10.3 10.16", PLUGIN),
    ("IPluginRegistry", "plugin_creator_list", "8.6 10.3 10.16", PLUGIN),
    ("IPluginRegistry", "load_library", ALL, PLUGIN),
    (None, "IProgressMonitor", "10.3 10.16 11.4", CORE),
    (None, "IInt8EntropyCalibrator2", "8.6 10.3 10.16", "python/src/infer/pyInt8.cpp"),
    (None, "int64", "10.3 10.16 11.4", TYPES),
    (None, "OnnxParserRefitter", "10.3 10.16 11.4", ONNX),
    (None, "init_libnvinfer_plugins", ALL, PLUGIN),
]
NUMBERS = [
    # enumeration, member, integer by generation
    ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", {"8.6": 0, "10.3": 0, "10.16": 0}),
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", {"10.3": 1, "10.16": 1, "11.4": 0}),
    ("NetworkDefinitionCreationFlag", "PREFER_JIT_PYTHON_PLUGINS", {"10.16": 2, "11.4": 1}),
    ("BuilderFlag", "REFIT", {"8.6": 5, "10.3": 4, "10.16": 4, "11.4": 4}),
    ("BuilderFlag", "TF32", {"8.6": 7, "10.3": 6, "10.16": 6, "11.4": 6}),
    ("BuilderFlag", "VERSION_COMPATIBLE", {"8.6": 15, "10.3": 13, "10.16": 13, "11.4": 12}),
    ("BuilderFlag", "EXCLUDE_LEAN_RUNTIME", {"8.6": 16, "10.3": 14, "10.16": 14, "11.4": 13}),
    ("DataType", "INT64", {"10.3": 8, "10.16": 8, "11.4": 8}),
    ("TacticSource", "JIT_CONVOLUTIONS", {"8.6": 4, "10.3": 4, "10.16": 4, "11.4": 1}),
    ("ErrorCode", "UNSUPPORTED_NODE", dict.fromkeys(GENERATIONS, 8)),
]


def test_names_exist_exactly_where_the_bindings_have_them(tensorrt_bed: Bed) -> None:
    trt, here = tensorrt_bed.tensorrt, tensorrt_bed.world.generation.name
    wrong = [
        f"{cls}.{name}: {source}"
        for cls, name, having, source in PRESENCE
        if hasattr(getattr(trt, cls) if cls else trt, name) is not (here in having.split())
    ]
    assert wrong == []


def test_the_integers_of_enumerations(tensorrt_bed: Bed) -> None:
    for enum, member, numbers in NUMBERS:
        members = getattr(tensorrt_bed.tensorrt, enum).__members__
        expected = numbers.get(tensorrt_bed.world.generation.name)
        got = int(members[member]) if member in members else None
        assert got == expected, f"{enum}.{member}: {HEADER}"


def test_a_raw_bit_means_something_else_in_another_generation() -> None:
    meanings = {}
    for name in ("10.3", "11.4"):
        with fake_tensorrt(name) as bed:
            trt = bed.tensorrt
            network = trt.Builder(trt.Logger()).create_network(1 << 1)
            flags = trt.NetworkDefinitionCreationFlag.__members__
            meanings[name] = [each for each, flag in flags.items() if network.get_flag(flag)]
    assert meanings == {"10.3": ["STRONGLY_TYPED"], "11.4": ["PREFER_JIT_PYTHON_PLUGINS"]}


def test_enumerations_are_not_pythons(tensorrt_bed: Bed) -> None:
    flag = tensorrt_bed.tensorrt.BuilderFlag
    with pytest.raises(TypeError):
        list(flag)
    with pytest.raises(TypeError):
        flag["TF32"]
    with pytest.raises(TypeError):
        1 << flag.TF32
    assert tensorrt_bed.tensorrt.DataType.FLOAT != 0  # not declared arithmetic
    assert int(flag.TF32) == flag.TF32
    assert repr(flag.TF32) == f"<BuilderFlag.TF32: {int(flag.TF32)}>"


def test_arguments_are_taken_by_documented_name_and_type_only(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    builder = trt.Builder(trt.Logger())
    config = builder.create_builder_config()
    config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, pool_size=1 << 20)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5)
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size=1)
    with pytest.raises(TypeError):
        config.set_flag(int(trt.BuilderFlag.TF32))
    with pytest.raises(TypeError):
        builder.create_network(trt.Logger())
    with pytest.raises(TypeError):
        builder.create_network(-1)


def test_objects_take_no_new_attributes(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    config = trt.Builder(trt.Logger()).create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace = 1
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 1
    with pytest.raises(TypeError, match="No constructor"):
        trt.IBuilderConfig()


def test_what_exists_but_is_not_modelled_says_so() -> None:
    with fake_tensorrt("8.6") as bed:
        trt = bed.tensorrt
        builder = trt.Builder(trt.Logger())
        with pytest.raises(NotModelledError):
            builder.build_engine(None, None)
        with pytest.raises(NotModelledError):
            hasattr(trt, "IConvolutionLayer")


def test_a_logger_written_in_python_must_call_the_base(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt

    class Forgetful(trt.ILogger):
        def __init__(self) -> None:
            self.lines: list[str] = []

    class Kept(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[object, str]] = []

        def log(self, severity: object, msg: str) -> None:
            self.lines.append((severity, msg))

    with pytest.raises(TypeError, match=r"__init__\(\) must be called"):
        Forgetful()
    logger = Kept()
    trt.Runtime(logger).deserialize_cuda_engine(b"nothing")
    assert [severity for severity, _ in logger.lines] == [trt.ILogger.ERROR]


def test_an_exception_in_a_logger_is_swallowed(
    tensorrt_bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    trt = tensorrt_bed.tensorrt

    class Broken(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: object, msg: str) -> None:
            raise ValueError("broken")

    assert trt.Runtime(Broken()).deserialize_cuda_engine(b"nothing") is None
    assert "broken" in capsys.readouterr().err


def test_dims_behave_as_the_bindings(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    dims = trt.Dims([1, 3, 4])
    assert list(dims) == [1, 3, 4]
    assert tuple(dims) == (1, 3, 4)
    assert dims == (1, 3, 4)
    assert dims != [1, 3]
    assert dims[1:] == (3, 4)
    assert str(trt.Dims((5,))) == "(5,)"
    with pytest.raises(TypeError):
        bool(dims == trt.Dims([1, 3, 4]))  # only lists and tuples
    with pytest.raises(IndexError):
        dims[3]
    with pytest.raises(TypeError):
        hash(dims)
    with pytest.raises(TypeError):
        trt.Dims([1.5])


def test_host_memory_is_a_buffer_and_nothing_else(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    config = trt.Builder(trt.Logger()).create_builder_config()
    memory = config.create_timing_cache(b"").serialize()
    assert bytes(memory).startswith(b"FTRT")
    assert memory.nbytes == len(bytes(memory))
    with pytest.raises(TypeError):
        len(memory)
    with pytest.raises(AttributeError):
        memory.decode()


def test_numpy_types(tensorrt_bed: Bed) -> None:
    trt = tensorrt_bed.tensorrt
    assert trt.nptype(trt.float16) is np.float16
    assert trt.nptype(trt.uint8) is np.uint8
    assert trt.float32.itemsize == 4
    with pytest.raises(TypeError):
        trt.nptype(trt.fp8)


@pytest.mark.parametrize(
    ("name", "starts"), [("8.6", "8.6"), ("10.3", "10.3"), ("10.16", "10.16"), ("11.4", "11.4")]
)
def test_the_version(name: str, starts: str) -> None:
    with fake_tensorrt(name):
        import tensorrt

        assert tensorrt.__version__.startswith(starts)


def test_nothing_is_left_behind() -> None:
    before = dict(sys.modules)
    with fake_tensorrt("10.3"):
        import tensorrt  # noqa: F401
        from cuda.bindings import runtime  # noqa: F401

        with pytest.raises(ModuleNotFoundError):
            import pycuda.driver  # noqa: F401
    assert {k for k in sys.modules if k.startswith(("tensorrt", "cuda", "pycuda"))} == {
        k for k in before if k.startswith(("tensorrt", "cuda", "pycuda"))
    }


def test_without_a_device_nothing_starts() -> None:
    with fake_tensorrt("10.3", has_device=False) as bed:
        trt = bed.tensorrt
        with pytest.raises(TypeError, match="factory function returned nullptr"):
            trt.Builder(trt.Logger())
        with pytest.raises(TypeError, match="factory function returned nullptr"):
            trt.Runtime(trt.Logger())
        assert "CUDA initialization failure" in bed.errors()[0]


def test_tools_that_look_for_packages_find_them() -> None:
    import importlib.util

    with fake_tensorrt("10.3", binding="pycuda"):
        assert importlib.util.find_spec("tensorrt") is not None
        assert importlib.util.find_spec("pycuda") is not None
        assert importlib.util.find_spec("tensorrt_rtx") is None
        assert importlib.util.find_spec("cuda") is None
