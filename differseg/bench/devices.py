"""What devices can do at best: operations and bytes a second, with where each figure is from.

All figures are dense (no structured sparsity) and of the GPU alone (no DLA), at the clocks of the
module's highest power mode.  Rates of an Orin follow from its streaming multiprocessors and clock:
one SM of compute capability 8.7 does 128 FP32 multiply-adds a clock on its CUDA cores, twice that
in FP16, and on its tensor cores 1024 in FP16, half in TF32, twice in INT8 (of which NVIDIA's "TOPS"
with sparsity are four times as many).  ``checked`` says which figures were compared with a public
page; the others are from memory of NVIDIA's data sheets.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from differseg.errors import InputError

if TYPE_CHECKING:
    from differseg.bench.layer_costs import Layer, Precision


@dataclass(frozen=True)
class Device:
    """The two roofs of a device.

    Attributes:
        name: What the command line calls it.
        label: What NVIDIA (or the system) calls it.
        bandwidth_gbs: Bytes of memory a second, in 1e9.
        matrix_tflops: Precision -> operations a second of convolutions and products, in 1e12.
        vector_tflops: The same of everything else.
        clock_mhz: Of the GPU; None where that is not known.
        sources: Where the figures are from.
        checked: What of them was compared with a public page.
        cache_gbs: Bytes of a layer -> measured bandwidth, where caches hold it; ascending.
        estimated: Times are estimates, because nothing was measured on this device here.
    """

    name: str
    label: str
    bandwidth_gbs: float
    matrix_tflops: Mapping[Precision, float]
    vector_tflops: Mapping[Precision, float]
    clock_mhz: float | None = None
    sources: str = ""
    checked: str = ""
    cache_gbs: tuple[tuple[int, float], ...] = field(default=())
    estimated: bool = True

    def compute_s(self, layer: Layer) -> float:
        """Return the least time for a layer's operations."""
        rates = self.matrix_tflops if layer.units == "matrix" else self.vector_tflops
        return layer.flops / (rates[layer.precision] * 1e12)

    def memory_s(self, layer: Layer) -> float:
        """Return the least time for a layer's bytes."""
        rate = self.bandwidth_gbs
        for size, measured in self.cache_gbs:
            if layer.bytes <= size:
                rate = max(rate, measured)
                break
        return layer.bytes / (rate * 1e9)


_ORIN_BRIEF = "NVIDIA Jetson AGX Orin Series Technical Brief v1.2 (TB-10749-001)"


def _orin(
    name: str,
    label: str,
    sms: int,
    clock_mhz: float,
    bandwidth_gbs: float,
    source: str,
    checked: str,
) -> Device:
    """Return an Orin from its multiprocessors, clock and memory."""
    clocks = sms * clock_mhz * 1e6 * 2 / 1e12  # 1e12 operations a second of one unit in every SM
    return Device(
        name,
        label,
        bandwidth_gbs,
        matrix_tflops={"fp32": 512 * clocks, "fp16": 1024 * clocks, "int8": 2048 * clocks},
        vector_tflops={"fp32": 128 * clocks, "fp16": 256 * clocks, "int8": 256 * clocks},
        clock_mhz=clock_mhz,
        sources=f"{source}; {_ORIN_BRIEF}",
        checked=checked,
    )


def _gpu(
    name: str,
    label: str,
    bandwidth_gbs: float,
    rates: tuple[float, float, float, float],
    clock_mhz: float,
    source: str,
    checked: str = "",
) -> Device:
    """Return a GPU from its rates: FP32 on CUDA cores, then TF32, FP16 and INT8 on tensor cores."""
    fp32, tf32, fp16, int8 = rates
    return Device(
        name,
        label,
        bandwidth_gbs,
        matrix_tflops={"fp32": tf32, "fp16": fp16, "int8": int8},
        vector_tflops={"fp32": fp32, "fp16": fp32, "int8": fp32},
        clock_mhz=clock_mhz,
        sources=source,
        checked=checked,
    )


_NANO = "NVIDIA Jetson Orin Nano Series data sheet (DS-11105-001)"
_NANO_SUPER = "NVIDIA Jetson Orin Nano Super Developer Kit data sheet; JetPack 6.2, MAXN SUPER"
_NX = "NVIDIA Jetson Orin NX Series data sheet (DS-10712-001)"
_AGX = "NVIDIA Jetson AGX Orin Series data sheet (DS-10662-001)"
_THOR = "NVIDIA Jetson Thor Series Modules data sheet"
_ADA = "NVIDIA Ada GPU Architecture white paper, appendix"
_BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture white paper, appendix"

DEVICES = {
    device.name: device
    for device in (
        _orin("orin-nano-4gb", "Jetson Orin Nano 4GB", 4, 625, 34, _NANO,
              "10 dense INT8 TOPS, 625 MHz, 64-bit memory: the data sheet"),
        _orin("orin-nano-8gb", "Jetson Orin Nano 8GB", 8, 625, 68, _NANO,
              "20 dense INT8 TOPS, 625 MHz, 128-bit memory: the data sheet"),
        _orin("orin-nano-4gb-super", "Jetson Orin Nano 4GB, MAXN SUPER", 4, 1020, 51, _NANO_SUPER,
              ""),
        _orin("orin-nano-8gb-super", "Jetson Orin Nano 8GB, MAXN SUPER", 8, 1020, 102, _NANO_SUPER,
              "67 sparse TOPS, 1020 MHz, 102 GB/s: brojogopalsapui.com, quoting the data sheet"),
        _orin("orin-nx-8gb", "Jetson Orin NX 8GB", 8, 765, 102.4, _NX, ""),
        _orin("orin-nx-16gb", "Jetson Orin NX 16GB", 8, 918, 102.4, _NX,
              "8 SMs at 918 MHz: deviceQuery, gist atinfinity/8cede915; 102.4 GB/s: TechPowerUp"),
        _orin("agx-orin-32gb", "Jetson AGX Orin 32GB", 14, 930, 204.8, _AGX, ""),
        _orin("agx-orin-64gb", "Jetson AGX Orin 64GB", 16, 1300, 204.8, _AGX,
              "171 sparse INT8 TOPS of the GPU: NVIDIA/Deep-Learning-Accelerator-SW README; "
              "about 200 GB/s: NVIDIA/TensorRT-Edge-LLM issue 60"),
        _gpu("thor-t4000", "Jetson T4000", 273, (4.7, 75, 150, 300), 1530, _THOR),
        _gpu("thor-t5000", "Jetson T5000 (AGX Thor)", 273, (8.1, 129, 259, 517), 1575, _THOR,
             "20 SMs of 128 CUDA cores: NVIDIA developer forum 356355"),
        _gpu("rtx-4060", "GeForce RTX 4060", 272, (15.1, 15.1, 60.5, 121), 2460, _ADA),
        _gpu("rtx-4090", "GeForce RTX 4090", 1008, (82.6, 82.6, 330.3, 660.6), 2520, _ADA,
             "all rates and 1.01 TB/s: hmc-tech.com, RTX 4090 against RTX PRO 5000"),
        _gpu("rtx-5090", "GeForce RTX 5090", 1792, (104.8, 104.8, 419.2, 838.4), 2407, _BLACKWELL,
             "838 sparse FP16 TFLOPS, 105 FP32 TFLOPS, 1792 GB/s: spheron.network, RTX 5090 specs"),
    )
}  # fmt: skip
"""Name -> device.  FP32 convolutions and products are taken to run in TF32, as in the published
times that the estimates are fitted to; ``differseg build`` allows it with ``--tf32``."""


def device_named(name: str) -> Device:
    """Return a device by its name.

    Raises:
        InputError: There is none; names the nearest.
    """
    if name not in DEVICES:
        near = difflib.get_close_matches(name, DEVICES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(DEVICES)}"
        raise InputError(f"bench: --device: there is no figure for '{name}'; {hint}")
    return DEVICES[name]
