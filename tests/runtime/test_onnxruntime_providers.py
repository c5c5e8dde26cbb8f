"""ONNX Runtime on GPUs, by contract: never on the processor in silence, never an old frame."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fake_onnxruntime import CPU, CUDA, RTX, FakeOnnxRuntime

from differseg.errors import MissingComponentError, ModelFileError
from differseg.runtime.backends import open_backend
from differseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from differseg.runtime.backends.providers import CUDA_OPTIONS, RTX_PACKAGE


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    """An ONNX Runtime with CUDA and NVIDIA's plug-in, in the place of the real one."""
    fake = FakeOnnxRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    plugin = types.ModuleType(RTX_PACKAGE)
    plugin.get_ep_name = lambda: RTX  # type: ignore[attr-defined]
    plugin.get_library_path = lambda: "/plugin.so"  # type: ignore[attr-defined]
    plugin.__spec__ = onnxruntime.__spec__
    monkeypatch.setitem(sys.modules, RTX_PACKAGE, plugin)
    return fake


@pytest.mark.parametrize("provider", ["CUDA", "RTX"])
def test_every_run_sees_its_own_inputs(
    tiny_model: Path, runtime: FakeOnnxRuntime, provider: Any
) -> None:
    backend = OnnxRuntimeBackend(tiny_model, provider=provider, threads=1)
    output = backend.outputs["probability"]
    for red, heat in ((255, 0.0), (0, 1.0), (255, 1.0)):
        backend.inputs["rgb"][:] = (red, 7, 0)
        backend.inputs["thermal"][:] = heat
        backend.run()
        assert np.allclose(output, 0.6 * red / 255 + 0.25 * heat, atol=1e-6)
    assert backend.name == f"onnxruntime {provider}"


def test_cuda_is_told_everything_and_the_wrapper_does_not_retry(
    tiny_model: Path, runtime: FakeOnnxRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = open_backend(tiny_model, "onnxruntime-cuda", threads=1)
    session = runtime.sessions[0]
    assert session.settings == {"enable_fallback": 0, "providers": [(CUDA, CUDA_OPTIONS), CPU]}
    assert CUDA_OPTIONS["use_tf32"] == "0"  # float32 is float32
    assert session.options.entries["session.record_ep_graph_assignment_info"] == "1"
    assert backend.reason.endswith(f"{CUDA} runs 10 nodes, the processor 0")
    assert (runtime.preloaded, capsys.readouterr().out) == (1, "")


def test_rtx_is_a_plug_in_that_is_registered_once(
    tiny_model: Path, runtime: FakeOnnxRuntime
) -> None:
    for _ in range(2):
        open_backend(tiny_model, "onnxruntime-rtx", threads=1)
    assert runtime.libraries == {RTX: "/plugin.so"}
    session = runtime.sessions[1]
    assert [device.ep_name for device in session.options.devices] == [RTX]
    assert "providers" not in session.settings  # they would take the place of the devices


@pytest.mark.parametrize(
    ("name", "provider"), [("onnxruntime-cuda", CUDA), ("onnxruntime-rtx", RTX)]
)
def test_a_provider_that_was_dropped_is_an_error(
    tiny_model: Path, runtime: FakeOnnxRuntime, name: Any, provider: str
) -> None:
    runtime.starts = set()
    with pytest.raises(MissingComponentError, match=f"could not start {provider} .* on {CPU}"):
        open_backend(tiny_model, name, threads=1)


def test_a_gpu_that_takes_no_node_is_an_error_and_some_are_counted(
    tiny_model: Path, runtime: FakeOnnxRuntime
) -> None:
    runtime.takes = 0.7
    backend = open_backend(tiny_model, "onnxruntime-cuda", threads=1)
    assert "runs 7 nodes, the processor 3" in backend.reason
    runtime.takes = 0.0
    with pytest.raises(ModelFileError, match="takes none of the model's 10 nodes"):
        open_backend(tiny_model, "onnxruntime-cuda", threads=1)


def test_an_older_onnx_runtime_does_not_tell_where_nodes_went(
    tiny_model: Path, runtime: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fake_onnxruntime.FakeSession.get_provider_graph_assignment_info")
    backend = open_backend(tiny_model, "onnxruntime-cuda", threads=1)
    assert backend.reason.endswith(f"{CUDA} is active")


def test_a_build_without_cuda_says_which_package_has_it(
    tiny_model: Path, runtime: FakeOnnxRuntime
) -> None:
    runtime.built_in = (CPU,)
    with pytest.raises(MissingComponentError, match="onnxruntime-gpu"):
        open_backend(tiny_model, "onnxruntime-cuda", threads=1)
    with pytest.raises(MissingComponentError, match=r"1\.31\.1 has no CUDAExecutionProvider"):
        OnnxRuntimeBackend(tiny_model, provider="CUDA")


@pytest.mark.parametrize(
    ("devices", "said"), [(0, "cannot load .* libcuda"), (-1, "found no device")]
)
def test_a_plug_in_without_a_gpu_is_one_line(
    tiny_model: Path, runtime: FakeOnnxRuntime, devices: int, said: str
) -> None:
    runtime.rtx_devices = devices
    with pytest.raises(MissingComponentError, match=said) as caught:
        open_backend(tiny_model, "onnxruntime-rtx", threads=1)
    assert "\n" not in str(caught.value)


def test_a_missing_plug_in_names_the_extra(
    tiny_model: Path, runtime: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, RTX_PACKAGE, None)
    for open_it in (
        lambda: open_backend(tiny_model, "onnxruntime-rtx"),
        lambda: OnnxRuntimeBackend(tiny_model, provider="RTX"),
    ):
        with pytest.raises(MissingComponentError, match=r"pip install 'differseg\[runtime,rtx\]'"):
            open_it()


def test_an_onnx_runtime_before_plug_ins_is_told_so(
    tiny_model: Path, runtime: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FakeOnnxRuntime, "register_execution_provider_library")
    with pytest.raises(MissingComponentError, match="takes no plug-in providers"):
        open_backend(tiny_model, "onnxruntime-rtx", threads=1)
