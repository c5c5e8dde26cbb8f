"""cuda-python with short names, for the test-bed's own tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from contract.install import Bed

NBYTES = 128


class Cuda:
    """cuda-python with short names; every call returns ``(code, result...)``."""

    def __init__(self, bed: Bed) -> None:
        from cuda.bindings import runtime

        self.bed, self.api = bed, runtime
        kinds = runtime.cudaMemcpyKind
        self.into, self.out = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost
        self.across = kinds.cudaMemcpyDeviceToDevice

    def ask(self, name: str, *given: Any) -> Any:
        """The result; the call must succeed."""
        error, *results = getattr(self.api, name)(*given)
        assert error == self.api.cudaError_t.cudaSuccess, (name, error)
        return results[0] if len(results) == 1 else results or None

    def code(self, name: str, *given: Any) -> int:
        """The error's number."""
        return getattr(self.api, name)(*given)[0].value

    def stream(self, blocking: bool = False) -> Any:
        return self.ask("cudaStreamCreateWithFlags", 0 if blocking else 1)

    def pinned(self, value: int, size: int = NBYTES, flags: int = 0) -> tuple[int, np.ndarray]:
        """Address and view of page-locked memory."""
        address = self.ask("cudaHostAlloc", size, flags)
        view = self.bed.machine.memory.host_view(address, size)
        view[:] = value
        return address, view

    def device(self, value: int, size: int = NBYTES) -> int:
        """Device memory filled with a value."""
        address = self.ask("cudaMalloc", size)
        self.ask("cudaMemset", address, value, size)
        return address

    def holds(self, address: int) -> int:
        """First byte on the device."""
        return self.bed.machine.memory.read(address, 1)[0]
