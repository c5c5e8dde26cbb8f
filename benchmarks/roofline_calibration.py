"""Fit the estimate of ``differseg bench --device`` to published times, and say how well it fits.

The networks are timm's, with random weights: only their shapes matter.  Times are those of
mit-han-lab/efficientvit@33e23b0:applications/cls.md (B series) and of
mit-han-lab/efficientvit@de7d773:applications/efficientvit_seg/README.md (L series, which have a
segmentation head that timm has not), on a Jetson AGX Orin with TensorRT, fp16, batch 1.  Two
detectors (``detector_shapes.py``) are a check on other Orins and in other precisions; their times
are trtexec's, from Idein/aicast_jetson_benchmark@55ce114:README.md (1000 / FPS) and from
hokwangchoi/jetson-orin-nano-benchmarks@b7d1815:vision-benchmarks/assets/results/.

    python benchmarks/roofline_calibration.py
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import detector_shapes
import numpy as np
import torch

from differseg.backbones.timm_import import import_timm
from differseg.bench.devices import DEVICES
from differseg.bench.estimate import CALIBRATED_ON, PUBLISHED, estimate
from differseg.bench.layer_costs import Layer, Precision, layers_of, totals
from differseg.export.exporter import export_onnx

CITYSCAPES_HW = (1024, 2048)
WHOLE_NETWORKS = {"efficientvit_l1": (45.9, 282.0), "efficientvit_l2": (60.0, 396.0)}
"""timm's backbone -> ms and GMACs of the segmentation network around it, on Cityscapes."""


DETECTORS = {
    "yolox_s": ("orin-nano-8gb", {"fp32": 20.4, "fp16": 10.2, "int8": 7.9}),
    "yolov8n": ("orin-nano-8gb-super", {"fp32": 8.36, "fp16": 4.43, "int8": 3.49}),
}
"""Detector at 640x640 -> device, and precision -> ms."""

_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


def typed_layers(
    module: torch.nn.Module, size_hw: tuple[int, int], precision: Precision, folder: Path
) -> list[Layer]:
    """Return the layers of a float32 network as if all of it were of another precision."""
    path = folder / "network.onnx"
    example = {"image": torch.zeros(1, 3, *size_hw)}
    export_onnx(module.eval(), example, path, output_names=["scores"], verify=False)
    return [
        dataclasses.replace(
            layer, precision=precision, bytes=layer.bytes * _BYTES[precision] // _BYTES["fp32"]
        )
        for layer in layers_of(path)
    ]


def half_layers(name: str, size_hw: tuple[int, int], folder: Path) -> list[Layer]:
    """Return the layers of one of timm's networks, as if it were typed fp16."""
    timm = import_timm("the calibration")
    return typed_layers(timm.create_model(name, pretrained=False), size_hw, "fp16", folder)


def fitted(rows: np.ndarray, published_ms: np.ndarray) -> np.ndarray:
    """Return the factors of least time and layer count, least squares of relative errors."""
    weighted = rows / published_ms[:, None]
    return np.linalg.lstsq(weighted, np.ones(len(weighted)), rcond=None)[0]


def main() -> None:
    """Print the fit, the fits that leave one network out, and the check on the large ones."""
    device = DEVICES[CALIBRATED_ON]
    reference_mhz = device.clock_mhz or 0.0
    names, published_ms = list(PUBLISHED), np.array(list(PUBLISHED.values()))
    with tempfile.TemporaryDirectory() as folder:
        networks = [half_layers(name, (size, size), Path(folder)) for name, size in names]
        large = {n: half_layers(n, CITYSCAPES_HW, Path(folder)) for n in WHOLE_NETWORKS}
    made = [estimate(layers, device, reference_mhz) for layers in networks]
    rows = np.array([[e.ideal_ms, len(layers)] for e, layers in zip(made, networks, strict=True)])
    factors = fitted(rows, published_ms)
    print(f"efficiency {1 / factors[0]:.3f}, overhead {1e3 * factors[1]:.2f} us a layer\n")
    print("| network | size | published ms | layers | roof ms | fit ms | fit / published |")
    print("|---|---|---|---|---|---|---|")
    fit_ms = rows @ factors
    for (name, size), ms, row, fit in zip(names, published_ms, rows, fit_ms, strict=True):
        print(
            f"| {name} | {size} | {ms:.2f} | {row[1]:.0f} | {row[0]:.2f} | {fit:.2f} "
            f"| {fit / ms:.2f} |"
        )
    print()
    for left_out in sorted({name for name, _ in names}):
        kept = np.array([name != left_out for name, _ in names])
        other = fitted(rows[kept], published_ms[kept])
        worst = (rows[~kept] @ other) / published_ms[~kept] - 1
        print(
            f"without {left_out}: efficiency {1 / other[0]:.3f}, overhead {1e3 * other[1]:.2f} us, "
            f"its times {min(worst):+.0%} to {max(worst):+.0%}"
        )
    for name, (ms, gmacs) in WHOLE_NETWORKS.items():
        e = estimate(large[name], device, reference_mhz)
        part = totals(large[name])[0] / 2e9 / gmacs
        print(
            f"{name} at {CITYSCAPES_HW[0]}x{CITYSCAPES_HW[1]}, {part:.0%} of the network's "
            f"operations: {e.fast_ms:.1f} - {e.slow_ms:.1f} ms (fit {e.typical_ms:.1f}); "
            f"published for the whole {ms:.1f}"
        )
    check_detectors()


def check_detectors() -> None:
    """Print the two detectors' estimates beside their published times."""
    print("\n| network | device | precision | roof ms | estimate ms (fit) | published ms |")
    print("|---|---|---|---|---|---|")
    for name, (device_name, times) in DETECTORS.items():
        device = DEVICES[device_name]
        for precision, ms in times.items():
            with tempfile.TemporaryDirectory() as folder:
                module = getattr(detector_shapes, name)()
                layers = typed_layers(module, (640, 640), precision, Path(folder))  # type: ignore[arg-type]
            e = estimate(layers, device, DEVICES[CALIBRATED_ON].clock_mhz or 0.0)
            print(
                f"| {name} | {device.label} | {precision} | {e.ideal_ms:.2f} "
                f"| {e.fast_ms:.1f} - {e.slow_ms:.1f} ({e.typical_ms:.1f}) | {ms:.1f} |"
            )


if __name__ == "__main__":
    main()
