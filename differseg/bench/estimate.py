"""How long a network may take on a device that is not here, from its roofline.

    time = sum over layers of (least time / efficiency + overhead)

Efficiency and overhead are fitted to published times of nine networks on a Jetson AGX Orin 64GB
(:data:`PUBLISHED`): with 0.49 and 5.4 us the formula is within 5 % of all nine, and of any three
within 8 % when it is fitted to the other six.  They are float16.  Two detectors on other Orins are
within the range in float32 and float16; in INT8 they reach less of their roof, so that int8 layers
have an efficiency of their own.  Nothing of it is a measurement.
``benchmarks/roofline_calibration.py`` repeats fit and checks; docs/roofline.md tells the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from differseg.bench.devices import Device
from differseg.bench.layer_costs import Layer
from differseg.bench.roofline import roofline

CALIBRATED_ON = "agx-orin-64gb"
"""Device of the published times."""


@dataclass(frozen=True)
class Assumption:
    """What is taken for everything that a roof leaves out.

    Attributes:
        efficiency: Part of its roof that a layer of floating-point numbers reaches.
        int8_efficiency: The same of convolutions and products in INT8.
        overhead_us: What starting and ending a layer adds.
    """

    efficiency: float
    int8_efficiency: float
    overhead_us: float


FAST, FIT, SLOW = (
    Assumption(0.60, 0.49, 4.0),
    Assumption(0.49, 0.30, 5.4),
    Assumption(0.35, 0.20, 8.0),
)
"""Ends of the range, and the fit between them."""

PUBLISHED = {
    ("efficientvit_b1", 224): 1.48, ("efficientvit_b1", 256): 1.57, ("efficientvit_b1", 288): 1.82,
    ("efficientvit_b2", 224): 2.63, ("efficientvit_b2", 256): 2.84, ("efficientvit_b2", 288): 3.30,
    ("efficientvit_b3", 224): 4.36, ("efficientvit_b3", 256): 4.74, ("efficientvit_b3", 288): 5.63,
}  # fmt: skip
"""timm's name and size -> ms on a Jetson AGX Orin, TensorRT, fp16, batch 1, copies included
(mit-han-lab/efficientvit@33e23b0:applications/cls.md)."""


@dataclass(frozen=True)
class Estimate:
    """An estimate, not a measurement.

    Attributes:
        device: Of which device.
        ideal_ms: The least time.
        fast_ms, typical_ms, slow_ms: The range and the fit.
        memory_share: Part of the least time in layers bound by memory, 0..1.
    """

    device: Device
    ideal_ms: float
    fast_ms: float
    typical_ms: float
    slow_ms: float
    memory_share: float


def estimate(layers: Sequence[Layer], device: Device, reference_mhz: float) -> Estimate:
    """Estimate the time of one run.

    Args:
        layers: From :func:`differseg.bench.layer_costs.layers_of`.
        device: Its two roofs.
        reference_mhz: Clock of the device that the overhead was fitted on.  At the slow end of the
            range the overhead grows as the clock falls; at the fast end it does not.
    """
    result = roofline(layers, device)
    slower = max(1.0, reference_mhz / device.clock_mhz) if device.clock_mhz else 1.0

    int8_s = sum(time.ideal_s for time in result.layers if time.layer.precision == "int8")

    def total_ms(assumed: Assumption, slower: float = 1.0) -> float:
        kernels_s = (
            result.ideal_s - int8_s
        ) / assumed.efficiency + int8_s / assumed.int8_efficiency
        return kernels_s * 1e3 + len(layers) * assumed.overhead_us * slower / 1e3

    return Estimate(
        device,
        ideal_ms=result.ideal_s * 1e3,
        fast_ms=total_ms(FAST),
        typical_ms=total_ms(FIT),
        slow_ms=total_ms(SLOW, slower),
        memory_share=result.memory_share,
    )
