"""A network's inputs as a manifest describes them; no torch needed."""

from __future__ import annotations

from differseg.manifest import InputSpec, ThermalPolicy
from differseg.models.spec import ModalitySpec, ModelSpec


def input_specs(
    spec: ModelSpec, size_hw: tuple[int, int], policy: ThermalPolicy
) -> tuple[InputSpec, ...]:
    """Describe the raw inputs of the deployment module at one size, in call order.

    Args:
        spec: The network's contract.
        size_hw: Height and width in pixels.
        policy: How thermal images become 0..1.
    """
    return tuple(_input_spec(modality, size_hw, policy) for modality in spec.modalities)


def _input_spec(
    modality: ModalitySpec, size_hw: tuple[int, int], policy: ThermalPolicy
) -> InputSpec:
    height, width = size_hw
    if modality.channels == 3:
        return InputSpec(
            name=modality.name,
            modality=modality.name,
            shape=(1, height, width, 3),
            dtype="uint8",
            layout="NHWC",
            value_range=(0.0, 255.0),
            mean=modality.mean,
            std=modality.std,
            color_order="RGB",
        )
    return InputSpec(
        name=modality.name,
        modality=modality.name,
        shape=(1, 1, height, width),
        dtype="float32",
        layout="NCHW",
        value_range=(0.0, 1.0),
        mean=modality.mean,
        std=modality.std,
        thermal_policy=policy if modality.name == "thermal" else None,
    )
