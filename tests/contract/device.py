"""What the fake device is.

Source of the attributes' numbers: CUDA Driver API, ``CUdevice_attribute``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """What the device says of itself.

    Attributes:
        name: Product name.
        sm: Compute capability.
        integrated: Whether it shares the processor's memory (Jetson).
        memory_bytes: Size of its memory.
        multiprocessors: Number of streaming multiprocessors.
        clock_khz: Its clock.
        memory_clock_khz: Clock of its memory.
        memory_bus_bits: Width of the way to the memory.
        l2_bytes: Its second-level cache.
        driver: Version of the driver API, ``1000 * major + 10 * minor``.
        runtime: Version of the CUDA runtime, likewise.
        unified_addressing: Whether pinned memory has one address for host and device.
    """

    name: str = "Orin"
    sm: tuple[int, int] = (8, 7)
    integrated: bool = True
    memory_bytes: int = 256 << 20
    multiprocessors: int = 8
    clock_khz: int = 918_000
    memory_clock_khz: int = 918_000
    memory_bus_bits: int = 128
    l2_bytes: int = 4 << 20
    driver: int = 12060
    runtime: int = 12060
    unified_addressing: bool = True

    def attributes(self) -> dict[int, int]:
        """Number of an attribute -> its value."""
        return {
            13: self.clock_khz,
            16: self.multiprocessors,
            18: int(self.integrated),
            19: 1,  # can map host memory
            36: self.memory_clock_khz,
            37: self.memory_bus_bits,
            38: self.l2_bytes,
            41: int(self.unified_addressing),
            75: self.sm[0],
            76: self.sm[1],
        }
