"""Memory of the fake device: every byte belongs to an allocation, and every access is checked.

Convention: an address of ``cudaMalloc`` is not an address of this process.  The bytes lie in an
array that only the test-bed reaches, so a program that reads a device pointer on the host crashes
here as it does on a graphics card.  Pinned memory has its real address; under unified addressing
(every 64-bit system, Jetson too) the device sees it under the same one, else under another.

Fresh memory holds 0xCD, freed memory 0xDD: neither looks like a result.  Freed blocks stay
reserved until the bed closes, so that a late access is found out instead of hitting somebody
else's memory.

Sources: CUDA Runtime API, "Memory Management" (``cudaMalloc``: at least 256-byte aligned;
``cudaHostAlloc``, ``cudaHostGetDevicePointer``, ``cudaFree``), "Unified Addressing".
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from contract.cuda_status import INVALID_VALUE, OUT_OF_MEMORY, CudaFault

Kind = Literal["device", "pinned"]
Bytes = npt.NDArray[np.uint8]

_FIRST_DEVICE_ADDRESS = 0x30_2000_0000
_GUARD = 1 << 20  # between two allocations: running off one never lands in the next
_PAGE = 4096
_FRESH, _FREED = 0xCD, 0xDD


@dataclass
class Block:
    """One allocation.

    Attributes:
        address: Where the device sees it.
        host_address: Where the program sees it, None for device memory.
        size: Bytes that were asked for.
        kind: Device memory or pinned host memory.
        mapped: Whether the device may use it (pinned memory allocated as mapped, or any under UVA).
        content: The bytes.
        alive: False once freed.
    """

    address: int
    host_address: int | None
    size: int
    kind: Kind
    mapped: bool
    content: Bytes
    alive: bool = True


class DeviceMemory:
    """All allocations.

    Args:
        total: Bytes of the device's memory.
        unified: Whether pinned memory has one address for host and device.
        shared: Whether pinned memory is taken from the same memory (Jetson).
    """

    def __init__(self, total: int, unified: bool, shared: bool = False) -> None:
        self.shared = shared
        self.total = total
        self.unified = unified
        self.blocks: list[Block] = []
        self.others_use = 0
        self._next = _FIRST_DEVICE_ADDRESS

    @property
    def used(self) -> int:
        """Bytes of the device's memory that are taken."""
        mine = [b for b in self.blocks if b.alive and (self.shared or b.kind == "device")]
        return sum(block.size for block in mine) + self.others_use

    @property
    def free(self) -> int:
        """Bytes left."""
        return max(self.total - self.used, 0)

    def _reserve(self, size: int) -> int:
        address = self._next
        self._next += -(-(size + _GUARD) // _GUARD) * _GUARD
        return address

    def allocate(self, size: int) -> Block:
        """Device memory, as ``cudaMalloc``."""
        if size > self.free:
            raise CudaFault(OUT_OF_MEMORY, f"{size} bytes asked for, {self.free} free")
        content = np.full(size, _FRESH, np.uint8)
        block = Block(self._reserve(size), None, size, "device", True, content)
        self.blocks.append(block)
        return block

    def allocate_pinned(self, size: int, mapped: bool) -> Block:
        """Page-locked host memory, as ``cudaHostAlloc``."""
        if self.shared and size > self.free:
            raise CudaFault(OUT_OF_MEMORY, f"{size} bytes asked for, {self.free} free")
        raw = np.full(size + _PAGE, _FRESH, np.uint8)
        start = -raw.ctypes.data % _PAGE
        content = raw[start : start + size]
        host = content.ctypes.data
        address = host if self.unified else self._reserve(size)
        block = Block(address, host, size, "pinned", mapped or self.unified, content)
        self.blocks.append(block)
        return block

    def release(self, address: int, kind: Kind) -> None:
        """``cudaFree`` and ``cudaFreeHost``; null is no error."""
        if address == 0:
            return
        for block in self.blocks:
            start = block.address if kind == "device" else block.host_address
            if start == address and block.kind == kind and block.alive:
                block.alive = False
                block.content[:] = _FREED
                return
        raise CudaFault(INVALID_VALUE, f"free of {address:#x}, which is no {kind} allocation")

    def seen_by_device(self, address: int, size: int) -> tuple[Block | None, str]:
        """The live block in which the device may use these bytes, or None and the reason."""
        if address == 0:
            return None, "null address"
        for block in self.blocks:
            if block.address <= address < block.address + max(block.size, 1):
                if not block.alive:
                    return None, f"{address:#x} was freed"
                if address + size > block.address + block.size:
                    return None, f"{size} bytes at {address:#x} run off a block of {block.size}"
                if not block.mapped:
                    return None, f"{address:#x} is host memory that was not mapped"
                return block, ""
        return None, f"{address:#x} is not an address of the device"

    def device_view(self, address: int, size: int, fault: int) -> Bytes:
        """Bytes as the device sees them; :class:`CudaFault` with code ``fault`` if it cannot."""
        block, why = self.seen_by_device(address, size)
        if block is None:
            raise CudaFault(fault, why)
        start = address - block.address
        return block.content[start : start + size]

    def pinned_block(self, address: int, size: int) -> Block | None:
        """The live pinned block that holds these host bytes, None for pageable memory.

        Raises:
            CudaFault: Inside of a pinned block but not whole, or freed.
        """
        for block in self.blocks:
            if block.host_address is None:
                continue
            if block.host_address <= address < block.host_address + max(block.size, 1):
                if not block.alive:
                    raise CudaFault(INVALID_VALUE, f"host memory {address:#x} was freed")
                if address + size > block.host_address + block.size:
                    raise CudaFault(INVALID_VALUE, f"{size} bytes run off a block of {block.size}")
                return block
        return None

    def host_view(self, address: int, size: int) -> Bytes:
        """Bytes of this process.

        Raises:
            CudaFault: Null, or an address of the device.
        """
        if address == 0:
            raise CudaFault(INVALID_VALUE, "null host address")
        if _FIRST_DEVICE_ADDRESS <= address < self._next:
            raise CudaFault(INVALID_VALUE, f"{address:#x} belongs to the device, not to the host")
        block = self.pinned_block(address, size)
        if block is not None and block.host_address is not None:
            start = address - block.host_address
            return block.content[start : start + size]
        return np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)

    def read(self, address: int, size: int) -> bytes:
        """For tests: what the device holds there."""
        return self.device_view(address, size, INVALID_VALUE).tobytes()
