"""Time of the thermal corrections at 640x512: python benchmarks/thermal_corrections.py.

A moving scene with dead pixels, stripes and a shutter jump, 30 frames a second.  Processor time of
one thread, so that other work on the machine does not count.  The mean includes the looks for dead
pixels and stripes, which come a few times a second; p95 is a frame with such a look.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from differseg.bench.machine import cpu_name
from differseg.runtime.thermal_correction import CorrectionOptions, ThermalCorrector

SIZE_WH = (640, 512)
FRAMES = 900
VARIANTS = {
    "all": CorrectionOptions(stripes=True),
    "default": CorrectionOptions(),
    "dead pixels alone": CorrectionOptions(jump_smoothing_s=0),
    "stripes alone": CorrectionOptions(dead_pixels=False, stripes=True, jump_smoothing_s=0),
    "jump alone": CorrectionOptions(dead_pixels=False),
}


def frames() -> list[np.ndarray]:
    """Return a scene that moves, as a sensor with faults sees it: (512, 640) uint16 each."""
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.normal(0, 1, (512, 1100)), (0, 0), 8)
    wall = 30_000 + 300 * wall / wall.std()
    stripes = rng.normal(0, 8, SIZE_WH[0])
    dead = rng.integers(0, 512 * 640, 300)
    made = []
    for k in range(60):
        x = k - (k >= 30)  # still while the shutter is closed
        image = wall[:, 7 * x : 7 * x + SIZE_WH[0]] + stripes + rng.normal(0, 4, (512, 640))
        image += 60 if k >= 30 else 0
        image = image.astype(np.uint16)
        image.ravel()[dead] = 65_535
        made.append(image)
    return made


def main() -> None:
    """Print one line for each variant."""
    cv2.setNumThreads(1)
    scene = frames()
    print(f"{cpu_name()}, one OpenCV thread, {SIZE_WH[0]}x{SIZE_WH[1]}")
    for name, options in VARIANTS.items():
        corrector = ThermalCorrector(options)
        times_ms = []
        for k in range(FRAMES):
            start_s = time.thread_time()
            corrector.apply(scene[k % len(scene)], k / 30)
            times_ms.append(1e3 * (time.thread_time() - start_s))
        mean, p50, p95 = np.mean(times_ms), np.median(times_ms), np.percentile(times_ms, 95)
        found = f"{len(corrector.dead.xy)} dead pixels, {corrector.jumps} jumps"
        print(f"{name}: mean {mean:.2f} ms, p50 {p50:.2f} ms, p95 {p95:.2f} ms ({found})")


if __name__ == "__main__":
    main()
