"""Memory, streams, events and graphs of the fake device keep CUDA's rules."""

from __future__ import annotations

import numpy as np
import pytest
from contract.install import fake_tensorrt
from contract.pybind import NotModelledError
from contract.short_cuda import NBYTES, Cuda

# laziness ----------------------------------------------------------------------------------------


def test_nothing_happens_before_somebody_waits(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    host, view = cuda.pinned(7)
    result, read = cuda.pinned(0)
    cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, stream)
    cuda.ask("cudaMemcpyAsync", result, device, NBYTES, cuda.out, stream)
    assert (cuda.holds(device), read[0]) == (0, 0)
    view[:] = 9  # overwritten too early: the copy takes what is there when it runs
    cuda.ask("cudaStreamSynchronize", stream)
    assert (cuda.holds(device), read[0]) == (9, 9)


def test_pageable_memory_is_staged_one_way_and_waited_for_the_other(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    source, target = np.full(NBYTES, 5, np.uint8), np.zeros(NBYTES, np.uint8)
    cuda.ask("cudaMemcpyAsync", device, source.ctypes.data, NBYTES, cuda.into, stream)
    source[:] = 6
    cuda.ask("cudaMemcpyAsync", target.ctypes.data, device, NBYTES, cuda.out, stream)
    assert target[0] == 5


def test_streams_do_not_wait_for_each_other(cuda: Cuda) -> None:
    first, second = cuda.stream(), cuda.stream()
    device, other = cuda.device(1), cuda.device(0)
    host, _ = cuda.pinned(2)
    cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, first)
    cuda.ask("cudaMemcpyAsync", other, device, NBYTES, cuda.across, second)
    cuda.ask("cudaStreamSynchronize", second)
    assert cuda.holds(other) == 1


def test_an_event_orders_two_streams(cuda: Cuda) -> None:
    first, second = cuda.stream(), cuda.stream()
    device, other = cuda.device(1), cuda.device(0)
    host, _ = cuda.pinned(2)
    event = cuda.ask("cudaEventCreateWithFlags", 2)
    cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, first)
    cuda.ask("cudaEventRecord", event, first)
    cuda.ask("cudaStreamWaitEvent", second, event, 0)
    cuda.ask("cudaMemcpyAsync", other, device, NBYTES, cuda.across, second)
    cuda.ask("cudaStreamSynchronize", second)
    assert cuda.holds(other) == 2


def test_the_default_stream_waits_for_blocking_streams_only(cuda: Cuda) -> None:
    for blocking, seen in ((True, 2), (False, 1)):
        device, other = cuda.device(1), cuda.device(0)
        host, _ = cuda.pinned(2)
        stream = cuda.stream(blocking)
        cuda.ask("cudaMemcpyAsync", device, host, NBYTES, cuda.into, stream)
        cuda.ask("cudaMemcpy", other, device, NBYTES, cuda.across)
        assert cuda.holds(other) == seen


def test_queries_are_not_ready_at_first(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    event = cuda.ask("cudaEventCreate")
    cuda.ask("cudaMemsetAsync", device, 3, NBYTES, stream)
    cuda.ask("cudaEventRecord", event, stream)
    assert cuda.code("cudaEventQuery", event) == 600
    assert cuda.code("cudaEventQuery", event) == 0
    assert cuda.holds(device) == 3
    assert cuda.code("cudaStreamQuery", stream) == 0


def test_elapsed_time_needs_two_reached_events_with_timing(cuda: Cuda) -> None:
    stream = cuda.stream()
    start, end = cuda.ask("cudaEventCreate"), cuda.ask("cudaEventCreate")
    assert cuda.code("cudaEventElapsedTime", start, end) == 400
    cuda.ask("cudaEventRecord", start, stream)
    cuda.ask("cudaEventRecord", end, stream)
    assert cuda.code("cudaEventElapsedTime", start, end) == 600
    cuda.ask("cudaEventSynchronize", end)
    assert cuda.ask("cudaEventElapsedTime", start, end) >= 0
    silent = cuda.ask("cudaEventCreateWithFlags", 2)
    cuda.ask("cudaEventRecord", silent, stream)
    cuda.ask("cudaEventSynchronize", silent)
    assert cuda.code("cudaEventElapsedTime", start, silent) == 400


# memory ------------------------------------------------------------------------------------------


def test_copies_outside_of_an_allocation_are_refused(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    host, _ = cuda.pinned(1)
    for target, source, size in (
        (device, host, NBYTES + 1),
        (device + 8, host, NBYTES),
        (0, host, NBYTES),
        (device, 0, NBYTES),
        (host, host, NBYTES * 2),
        (12345 << 20, host, NBYTES),
    ):
        assert cuda.code("cudaMemcpyAsync", target, source, size, cuda.into, stream) == 1
    assert cuda.code("cudaMemcpyAsync", host, device, NBYTES, cuda.into, stream) == 1  # direction
    assert len(cuda.bed.machine.faults) == 7


def test_freed_memory_is_refused_and_looks_like_nothing(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(1)
    host, view = cuda.pinned(1)
    cuda.ask("cudaFree", device)
    assert cuda.code("cudaMemcpyAsync", device, host, NBYTES, cuda.into, stream) == 1
    assert cuda.code("cudaFree", device) == 1
    assert cuda.code("cudaFree", 0) == 0
    cuda.ask("cudaFreeHost", host)
    assert view[0] == 0xDD
    assert cuda.code("cudaFreeHost", host) == 1


def test_fresh_memory_looks_like_nothing(cuda: Cuda) -> None:
    assert cuda.holds(cuda.ask("cudaMalloc", 4)) == 0xCD


def test_allocations_are_aligned(cuda: Cuda) -> None:
    addresses = [cuda.ask("cudaMalloc", size) for size in (1, 3, 700)]
    assert [address % 256 for address in addresses] == [0, 0, 0]


def test_memory_runs_out(cuda: Cuda) -> None:
    free, total = cuda.ask("cudaMemGetInfo")
    assert free == total
    assert cuda.code("cudaMalloc", total + 1) == 2
    cuda.ask("cudaMalloc", total // 2)
    assert cuda.ask("cudaMemGetInfo")[0] == total - total // 2
    cuda.bed.machine.memory.others_use = total // 2
    assert cuda.code("cudaMalloc", 1 << 20) == 2


def test_a_jetson_has_one_memory_for_both() -> None:
    for integrated in (True, False):
        with fake_tensorrt("10.3", integrated=integrated) as bed:
            cuda = Cuda(bed)
            whole = cuda.ask("cudaMemGetInfo")[0]
            cuda.pinned(0, size=4096)
            assert (cuda.ask("cudaMemGetInfo")[0] < whole) is integrated


def test_a_destroyed_stream_still_does_its_work(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    cuda.ask("cudaMemsetAsync", device, 5, NBYTES, stream)
    cuda.ask("cudaStreamDestroy", stream)
    assert cuda.holds(device) == 0
    cuda.ask("cudaDeviceSynchronize")
    assert cuda.holds(device) == 5


def test_mapped_memory_is_one_memory() -> None:
    for unified in (True, False):
        with fake_tensorrt("10.3", unified_addressing=unified) as bed:
            cuda = Cuda(bed)
            host, _ = cuda.pinned(4, flags=cuda.api.cudaHostAllocMapped)
            device = cuda.ask("cudaHostGetDevicePointer", host, 0)
            assert (device == host) is unified
            assert cuda.holds(device) == 4
            plain, _ = cuda.pinned(4)
            assert cuda.code("cudaHostGetDevicePointer", plain, 0) == (0 if unified else 1)


def test_python_types_are_those_of_the_bindings(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    host, _ = cuda.pinned(1)
    with pytest.raises(AttributeError):  # a plain integer is no cudaMemcpyKind
        cuda.api.cudaMemcpyAsync(device, host, NBYTES, 1, stream)
    with pytest.raises(TypeError):
        cuda.api.cudaMemcpyAsync(device, "host", NBYTES, cuda.into, stream)
    array = np.full(NBYTES, 8, np.uint8)
    cuda.ask("cudaMemcpyAsync", device, array, NBYTES, cuda.into, stream)  # its buffer
    cuda.ask("cudaStreamSynchronize", int(stream))
    assert cuda.holds(device) == 8
    with pytest.raises(NotModelledError):
        _ = cuda.api.cudaMalloc3D


# errors ------------------------------------------------------------------------------------------


def test_a_fault_of_the_work_stays(cuda: Cuda) -> None:
    stream, device = cuda.stream(), cuda.device(0)
    cuda.ask("cudaMemsetAsync", device, 1, NBYTES, stream)
    cuda.bed.machine.memory.release(device, "device")  # as if it were freed behind CUDA's back
    assert cuda.code("cudaStreamSynchronize", stream) == 700
    assert cuda.code("cudaMemGetInfo") == 700


def test_errors_have_names(cuda: Cuda) -> None:
    error = cuda.api.cudaMalloc(1 << 60)[0]
    assert cuda.ask("cudaGetErrorName", error) == b"cudaErrorMemoryAllocation"
    assert cuda.ask("cudaGetErrorString", error) == b"out of memory"


def test_calls_can_be_told_to_fail(cuda: Cuda) -> None:
    cuda.bed.machine.fail("cudaMalloc", 2, after=1)
    assert [cuda.code("cudaMalloc", 4) for _ in range(3)] == [0, 2, 0]


def test_an_old_driver_is_the_answer_to_everything() -> None:
    with fake_tensorrt("10.16", driver=12080) as bed:  # the runtime is 13.2
        cuda = Cuda(bed)
        assert cuda.code("cudaGetDeviceCount") == 35
        error = cuda.api.cudaMalloc(4)[0]
        assert b"driver version is insufficient" in cuda.ask("cudaGetErrorString", error)


def test_unknown_handles(cuda: Cuda) -> None:
    stream = cuda.stream()
    cuda.ask("cudaStreamDestroy", stream)
    assert cuda.code("cudaStreamSynchronize", stream) == 400
    assert cuda.code("cudaEventRecord", 77, 0) == 400
    assert cuda.code("cudaGraphLaunch", 77, 0) == 1


def test_no_device_is_the_answer_to_everything() -> None:
    with fake_tensorrt("10.3", has_device=False) as bed:
        assert Cuda(bed).code("cudaGetDeviceCount") == 100


def test_what_the_device_says_of_itself() -> None:
    for runtime, clocks in ((12060, True), (13020, False)):
        with fake_tensorrt("10.16", sm=(11, 0), cuda=runtime) as bed:
            cuda = Cuda(bed)
            found = cuda.ask("cudaGetDeviceProperties", 0)
            assert (found.major, found.minor, found.integrated) == (11, 0, 1)
            assert found.name == b"NVIDIA Thor"
            assert hasattr(found, "clockRate") is clocks
            attribute = cuda.api.cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor
            assert cuda.ask("cudaDeviceGetAttribute", attribute, 0) == 11
            assert cuda.code("cudaSetDevice", 1) == 101
            assert cuda.ask("cudaRuntimeGetVersion") == runtime
