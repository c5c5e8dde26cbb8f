"""TensorRT 8.5, which JetPack 5 has: the names that 8.6 brought are not there yet."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from contract.building import built, engine_of, parsed
from contract.fake_tensorrt.generations import JETPACK_5
from contract.fake_tensorrt.registry import write_plugin_library
from contract.fake_trtexec import banner_number
from contract.install import Bed, fake_tensorrt
from contract.short_cuda import NBYTES, Cuda
from contract.small_models import custom, doubled, tripling


@pytest.fixture
def bed() -> Iterator[Bed]:
    with fake_tensorrt("8.5") as found:
        yield found


def test_what_8_6_brought_is_not_there(bed: Bed) -> None:
    trt = bed.tensorrt
    for owner, name in (
        (trt.IBuilderConfig, "builder_optimization_level"),
        (trt.IBuilderConfig, "hardware_compatibility_level"),
        (trt.IBuilderConfig, "plugins_to_serialize"),
        (trt.IBuilderConfig, "max_aux_streams"),
        (trt.Runtime, "engine_host_code_allowed"),
        (trt.Runtime, "load_runtime"),
        (trt.ICudaEngine, "hardware_compatibility_level"),
        (trt.IPluginRegistry, "load_library"),
        (trt.OnnxParser, "set_flag"),
        (trt.BuilderFlag, "VERSION_COMPATIBLE"),
        (trt, "HardwareCompatibilityLevel"),
        (trt, "OnnxParserFlag"),
        (trt, "fp8"),
    ):
        assert not hasattr(owner, name), name
    assert hasattr(trt.IExecutionContext, "execute_async_v3")
    assert "--builderOptimizationLevel" not in JETPACK_5.surface["trtexec"]
    assert banner_number(JETPACK_5.numbers) == "v8502"


def test_a_plugin_library_registers_when_it_is_loaded(bed: Bed, tmp_path: Path) -> None:
    library = write_plugin_library(tmp_path / "libours.so", {"Triple": tripling()})
    assert parsed(bed, custom())[2].num_errors == 1
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    assert parsed(bed, custom())[2].num_errors == 0
    with pytest.raises(OSError):
        ctypes.CDLL(str(tmp_path / "missing.so"))


def test_it_builds_and_runs(bed: Bed) -> None:
    cuda, plan = Cuda(bed), built(bed, doubled())
    assert plan is not None
    context = engine_of(bed, plan).create_execution_context()
    source, x = cuda.pinned(0, flags=cuda.api.cudaHostAllocMapped)
    target, y = cuda.pinned(0, flags=cuda.api.cudaHostAllocMapped)
    x.view(np.float32)[:] = np.arange(NBYTES // 4)
    context.set_tensor_address("x", source)
    context.set_tensor_address("y", target)
    stream = cuda.stream()
    assert context.execute_async_v3(stream)
    cuda.ask("cudaStreamSynchronize", stream)
    np.testing.assert_array_equal(y.view(np.float32), 2 * np.arange(NBYTES // 4))
