"""The fake pycuda: contexts, exceptions, lifetimes, and no graphs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from contract.building import built, engine_of
from contract.install import Bed, fake_tensorrt
from contract.small_models import doubled


@pytest.fixture
def bed() -> Iterator[Bed]:
    with fake_tensorrt("10.3", binding="pycuda") as installed:
        yield installed


@pytest.fixture
def cuda(bed: Bed) -> Iterator[Any]:
    import pycuda.driver

    pycuda.driver.init()
    context = pycuda.driver.Device(0).retain_primary_context()
    context.push()
    yield pycuda.driver
    pycuda.driver.Context.pop()


def test_it_must_be_initialised_and_have_a_context(bed: Bed) -> None:
    import pycuda.driver as cuda

    with pytest.raises(cuda.LogicError, match="initialization"):
        cuda.Device(0)
    cuda.init()
    assert cuda.Device.count() == 1
    with pytest.raises(cuda.LogicError, match="invalid device context"):
        cuda.mem_alloc(4)
    context = cuda.Device(0).retain_primary_context()
    with pytest.raises(cuda.LogicError):  # retained is not current
        cuda.Stream()
    context.push()
    cuda.Stream()
    context.pop()


def test_a_context_is_current_in_one_thread(cuda: Any) -> None:
    problems: list[Exception] = []

    def elsewhere() -> None:
        try:
            cuda.mem_alloc(4)
        except cuda.LogicError as problem:
            problems.append(problem)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "invalid device context" in str(problems[0])


def test_autoinit_and_autoprimaryctx_make_one_current(bed: Bed) -> None:
    import pycuda.driver as cuda

    for name in ("autoinit", "autoprimaryctx"):
        module = __import__(f"pycuda.{name}", fromlist=["context"])
        assert module.device.compute_capability() == (8, 7)
        assert cuda.mem_get_info()[1] == bed.machine.memory.total
        cuda.Context.pop()


def test_copies_are_lazy_here_too(cuda: Any) -> None:
    stream, device = cuda.Stream(), cuda.mem_alloc(16)
    source = cuda.pagelocked_empty(4, np.float32)
    source[:] = 3
    target = cuda.pagelocked_zeros((2, 2), np.float32)
    cuda.memcpy_htod_async(device, source, stream)
    cuda.memcpy_dtoh_async(target, device, stream)
    assert target[0, 0] == 0
    event = cuda.Event().record(stream)
    event.synchronize()
    assert target[0, 0] == 3
    cuda.memcpy_dtoh(source, int(device))


def test_page_locked_arrays_know_their_allocation(cuda: Any) -> None:
    array = cuda.pagelocked_empty((2, 3), np.float16, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    assert array.shape == (2, 3)
    assert array.dtype == np.float16
    assert array.base.get_device_pointer() == array.ctypes.data
    assert array.base.get_flags() == 2


def test_memory_lives_as_long_as_its_object(cuda: Any, bed: Bed) -> None:
    address = int(cuda.mem_alloc(16))  # the allocation is gone with its object
    with pytest.raises(cuda.LogicError, match="freed"):
        cuda.memcpy_htod(address, np.zeros(4, np.float32))
    assert cuda.Stream().handle
    assert bed.machine.left() == {}
    kept = cuda.mem_alloc(16)
    kept.free()
    with pytest.raises(cuda.LogicError):
        kept.free()
    assert bed.machine.memory.used == 0


def test_memory_is_freed_in_its_contexts_thread_or_where_it_is_current(cuda: Any) -> None:
    memory, other = cuda.mem_alloc(16), cuda.mem_alloc(16)
    context = cuda.Context.get_current()
    problems: list[str] = []

    def elsewhere() -> None:
        try:
            memory.free()
        except RuntimeError as problem:
            problems.append(str(problem))
        context.push()
        memory.free()
        cuda.Context.pop()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert problems == ["cannot activate out-of-thread context"]
    cuda.Context.pop()
    other.free()
    context.push()


def test_cudas_errors_are_pycudas_exceptions(cuda: Any) -> None:
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        cuda.mem_alloc(1 << 60)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(0, np.zeros(4))
    assert issubclass(cuda.MemoryError, cuda.Error)
    with pytest.raises(TypeError):
        cuda.memcpy_htod_async("address", np.zeros(4))
    with pytest.raises(ValueError, match="contiguous"):
        cuda.memcpy_htod(cuda.mem_alloc(64), np.zeros((4, 4))[:, 1])


def test_there_are_no_graphs(cuda: Any) -> None:
    assert not hasattr(cuda, "Graph")
    assert not hasattr(cuda.Stream(), "begin_capture")


def test_the_device_has_attributes(cuda: Any) -> None:
    device = cuda.Device(0)
    assert device.get_attribute(cuda.device_attribute.INTEGRATED) == 1
    assert device.integrated == 1
    assert device.name() == "Orin"
    assert cuda.get_version()[0] == 12
    with pytest.raises(cuda.LogicError, match="invalid device ordinal"):
        cuda.Device(1)


def test_tensorrt_runs_on_its_streams(cuda: Any, bed: Bed) -> None:
    plan = built(bed, doubled())
    assert plan is not None
    context = engine_of(bed, plan).create_execution_context()
    stream, x = cuda.Stream(), cuda.mem_alloc(128)
    y = cuda.pagelocked_empty((1, 2, 4, 4), np.float32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    cuda.memcpy_htod(x, np.arange(32, dtype=np.float32))
    assert context.set_tensor_address("x", int(x))
    assert context.set_tensor_address("y", y.base.get_device_pointer())
    assert context.execute_async_v3(stream.handle)
    stream.synchronize()
    np.testing.assert_array_equal(y.ravel(), 2 * np.arange(32, dtype=np.float32))
