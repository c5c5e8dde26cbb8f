"""A network's typed files: float32, float16, int8, and int8 as TensorRT 8 reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from differseg.calibration.calibrated import Calibrated, family_of
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.parity_data import Feeds, load_samples
from differseg.export.precision import typed_half
from differseg.export.targets import find_target
from differseg.export.to_onnx import export_model

TARGETS = {"int8": "jetpack6", "older int8": "jetpack5"}


def typed_forms(
    name: str, folder: Path, size_hw: tuple[int, int], forms: Sequence[str] = ("int8",)
) -> dict[str, Path]:
    """Write the files of a network with random (or shipped) weights.

    Args:
        name: The network.
        folder: Where to.
        size_hw: Height and width of the input in pixels.
        forms: Of int8, those of :data:`TARGETS`.

    Returns:
        Form -> file, ``fp32`` and ``fp16`` among them.
    """
    paths = {form: folder / f"{form}.onnx" for form in ("fp32", "fp16", *forms)}
    export_model(paths["fp32"], model=name, size=size_hw, limit=1, real=False)
    model = read_model(paths["fp32"])
    manifest = manifest_of(model)
    assert manifest is not None
    feeds = Feeds(load_samples(manifest.inputs, None, 2, classes=manifest.classes), 2)
    onnx.save(typed_half(model, feeds)[0], paths["fp16"])
    calibrated = Calibrated.of(model, manifest, feeds, 2, method="min-max")
    for form in forms:
        onnx.save(calibrated.write(family_of(find_target(TARGETS[form]))), paths[form])
    return paths
