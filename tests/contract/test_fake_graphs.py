"""Captures and graphs of the fake device keep CUDA's rules, with inference in them too."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from contract.building import built, engine_of
from contract.install import Bed, fake_tensorrt
from contract.short_cuda import NBYTES, Cuda
from contract.small_models import doubled


def capture(cuda: Cuda, stream: Any, mode: str = "ThreadLocal") -> None:
    modes = cuda.api.cudaStreamCaptureMode
    cuda.ask("cudaStreamBeginCapture", stream, modes[f"cudaStreamCaptureMode{mode}"])


def test_a_graph_repeats_what_was_captured(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    host, view = cuda.pinned(1)
    capture(cuda, stream)
    cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, stream)
    graph = cuda.ask("cudaStreamEndCapture", stream)
    cuda.ask("cudaStreamSynchronize", stream)
    assert cuda.holds(device) == 0  # captured, not run
    executable = cuda.ask("cudaGraphInstantiate", graph, 0)
    cuda.ask("cudaGraphDestroy", graph)
    for value in (3, 4):
        view[:] = value
        cuda.ask("cudaGraphLaunch", executable, stream)
        cuda.ask("cudaStreamSynchronize", stream)
        assert cuda.holds(device) == value
    cuda.ask("cudaGraphExecDestroy", executable)
    assert cuda.code("cudaGraphLaunch", executable, stream) == 1
    assert cuda.bed.machine.graph_launches == 2


def test_what_is_not_given_back_is_counted(cuda: Cuda) -> None:
    assert cuda.bed.machine.left() == {}
    stream = cuda.stream()
    event = cuda.ask("cudaEventCreate")
    capture(cuda, stream)
    graph = cuda.ask("cudaStreamEndCapture", stream)
    executable = cuda.ask("cudaGraphInstantiate", graph, 0)
    assert cuda.bed.machine.left() == {"streams": 1, "events": 1, "graphs": 2}
    cuda.ask("cudaGraphExecDestroy", executable)
    cuda.ask("cudaGraphDestroy", graph)
    cuda.ask("cudaEventDestroy", event)
    cuda.ask("cudaStreamDestroy", stream)
    assert cuda.bed.machine.left() == {}


def test_a_graph_keeps_its_addresses(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    host, _ = cuda.pinned(1)
    capture(cuda, stream)
    cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, stream)
    executable = cuda.ask("cudaGraphInstantiate", cuda.ask("cudaStreamEndCapture", stream), 0)
    cuda.ask("cudaFree", device)
    cuda.ask("cudaGraphLaunch", executable, stream)
    assert cuda.code("cudaStreamSynchronize", stream) == 700


FORBIDDEN = [
    ("synchronise with the stream", 900, lambda c, s: c.code("cudaStreamSynchronize", s)),
    ("synchronise with the device", 900, lambda c, s: c.code("cudaDeviceSynchronize")),
    ("ask the stream", 900, lambda c, s: c.code("cudaStreamQuery", s)),
    ("allocate", 900, lambda c, s: c.code("cudaMalloc", 4)),
    ("allocate host memory", 900, lambda c, s: c.code("cudaHostAlloc", 4, 0)),
    ("free", 900, lambda c, s: c.code("cudaFree", 0)),
]


@pytest.mark.parametrize(("what", "code", "call"), FORBIDDEN, ids=[row[0] for row in FORBIDDEN])
def test_forbidden_calls_break_the_capture(cuda: Cuda, what: str, code: int, call: Any) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    status = cuda.api.cudaStreamCaptureStatus
    capture(cuda, stream)
    assert call(cuda, stream) == code, what
    found = cuda.ask("cudaStreamIsCapturing", stream)
    assert found == status.cudaStreamCaptureStatusInvalidated
    assert cuda.code("cudaMemsetAsync", device, 1, NBYTES, stream) == 901
    assert cuda.code("cudaStreamEndCapture", stream) == 901
    assert cuda.code("cudaMemsetAsync", device, 1, NBYTES, stream) == 0  # the stream works again


def test_pageable_memory_cannot_be_captured(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    pageable = np.zeros(NBYTES, np.uint8)
    capture(cuda, stream)
    address = pageable.ctypes.data
    assert cuda.code("cudaMemcpyAsync", device, address, NBYTES, cuda.into, stream) == 900
    assert cuda.code("cudaStreamEndCapture", stream) == 901


def test_the_default_stream_and_captures_of_blocking_streams(cuda: Cuda) -> None:
    for blocking, code in ((True, 906), (False, 0)):
        stream, device = cuda.stream(blocking), cuda.device(0)
        capture(cuda, stream, "Relaxed")
        assert cuda.code("cudaMemsetAsync", device, 1, NBYTES, 0) == code
        cuda.api.cudaStreamEndCapture(stream)
    assert cuda.code("cudaStreamBeginCapture", 0, cuda.api.cudaStreamCaptureMode(1)) == 900


def test_the_mode_says_whose_calls_are_watched(cuda: Cuda) -> None:
    def other_thread() -> int:
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(cuda.code("cudaMalloc", 4)))
        thread.start()
        thread.join()
        return codes[0]

    for mode, mine, theirs in (
        ("Global", 900, 900),
        ("ThreadLocal", 900, 0),
        ("Relaxed", 0, 0),
    ):
        for ask, expected in ((lambda: cuda.code("cudaMalloc", 4), mine), (other_thread, theirs)):
            stream = cuda.stream()
            capture(cuda, stream, mode)
            assert ask() == expected, mode
            cuda.api.cudaStreamEndCapture(stream)


def test_another_stream_joins_by_events(cuda: Cuda) -> None:
    stream, helper = cuda.stream(), cuda.stream()
    device, other = cuda.device(0), cuda.device(0)
    fork, join = (cuda.ask("cudaEventCreateWithFlags", 2) for _ in range(2))
    for joined, code in ((False, 904), (True, 0)):
        capture(cuda, stream)
        cuda.ask("cudaMemsetAsync", device, 1, NBYTES, stream)
        cuda.ask("cudaEventRecord", fork, stream)
        cuda.ask("cudaStreamWaitEvent", helper, fork, 0)
        cuda.ask("cudaMemsetAsync", other, 2, NBYTES, helper)
        if joined:
            cuda.ask("cudaEventRecord", join, helper)
            cuda.ask("cudaStreamWaitEvent", stream, join, 0)
        error, graph = cuda.api.cudaStreamEndCapture(stream)
        assert error.value == code
    cuda.ask("cudaGraphLaunch", cuda.ask("cudaGraphInstantiate", graph, 0), stream)
    cuda.ask("cudaStreamSynchronize", stream)
    assert (cuda.holds(device), cuda.holds(other)) == (1, 2)
    assert cuda.code("cudaEventSynchronize", join) == 907  # it lies in a graph
    assert cuda.code("cudaStreamWaitEvent", helper, join, 0) == 907


def test_work_outside_of_the_capture_cannot_be_waited_for(cuda: Cuda) -> None:
    stream, outside = cuda.stream(), cuda.stream()
    event = cuda.ask("cudaEventCreate")
    cuda.ask("cudaEventRecord", event, outside)
    capture(cuda, stream)
    assert cuda.code("cudaStreamWaitEvent", stream, event, 0) == 905
    assert cuda.code("cudaStreamEndCapture", stream) == 901


def test_instantiation_takes_what_its_cuda_takes() -> None:
    with fake_tensorrt("8.6", binding="cuda-python-old") as bed:
        from cuda import cudart

        assert bed.machine.device is not None
        assert bed.machine.device.runtime == 11080
        stream = cudart.cudaStreamCreate()[1]
        cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureMode(1))
        graph = cudart.cudaStreamEndCapture(stream)[1]
        with pytest.raises(TypeError):
            cudart.cudaGraphInstantiate(graph, 0)
        assert len(cudart.cudaGraphInstantiate(graph, b"", 0)) == 3
        assert len(cudart.cudaGraphInstantiateWithFlags(graph, 0)) == 2
        with pytest.raises(ModuleNotFoundError):
            import cuda.bindings
    with fake_tensorrt("10.16"), pytest.raises(ModuleNotFoundError):  # CUDA 13
        import cuda.cudart  # noqa: F401


# TensorRT in a graph -----------------------------------------------------------------------------


def enqueue_setup(bed: Bed) -> tuple[Cuda, Any, Any, np.ndarray, np.ndarray, tuple[int, int]]:
    cuda = Cuda(bed)
    plan = built(bed, doubled())
    assert plan is not None
    context = engine_of(bed, plan).create_execution_context()
    source, x = cuda.pinned(0)
    target, y = cuda.pinned(0)
    addresses = cuda.device(0), cuda.device(0)
    for name, address in zip(("x", "y"), addresses, strict=True):
        context.set_tensor_address(name, address)
    return cuda, context, cuda.stream(), x, y, (source, target)


def test_inference_in_a_graph_needs_one_run_before(tensorrt_bed: Bed) -> None:
    cuda, context, stream, x, y, (source, target) = enqueue_setup(tensorrt_bed)
    capture(cuda, stream)
    assert context.execute_async_v3(stream) is False
    assert cuda.code("cudaStreamEndCapture", stream) == 901
    assert context.execute_async_v3(stream) is True
    cuda.ask("cudaStreamSynchronize", stream)
    capture(cuda, stream)
    device_x, device_y = context.get_tensor_address("x"), context.get_tensor_address("y")
    cuda.ask("cudaMemcpyAsync", device_x, source, NBYTES, cuda.into, stream)
    assert context.execute_async_v3(stream) is True
    cuda.ask("cudaMemcpyAsync", target, device_y, NBYTES, cuda.out, stream)
    executable = cuda.ask("cudaGraphInstantiate", cuda.ask("cudaStreamEndCapture", stream), 0)
    x.view(np.float32)[:] = np.arange(32) - 16
    cuda.ask("cudaGraphLaunch", executable, stream)
    cuda.ask("cudaStreamSynchronize", stream)
    np.testing.assert_array_equal(y.view(np.float32), 2 * np.maximum(np.arange(32) - 16, 0))


def test_a_graph_dies_with_its_context(tensorrt_bed: Bed) -> None:
    cuda, context, stream, *_ = enqueue_setup(tensorrt_bed)
    context.execute_async_v3(stream)
    cuda.ask("cudaStreamSynchronize", stream)
    capture(cuda, stream)
    context.execute_async_v3(stream)
    executable = cuda.ask("cudaGraphInstantiate", cuda.ask("cudaStreamEndCapture", stream), 0)
    del context
    cuda.ask("cudaGraphLaunch", executable, stream)
    assert cuda.code("cudaStreamSynchronize", stream) == 700
