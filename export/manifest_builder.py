"""Fill in the manifest of an export from the network's spec and the checkpoint's own words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from typing import Literal

from torch import nn

from differseg import __version__
from differseg.manifest import (
    Decision,
    Manifest,
    OutputSpec,
    ThermalPolicy,
    WeightsRecord,
)
from differseg.models.inputs import input_specs
from differseg.models.spec import ModelSpec

_TOOLS = ("torch", "onnx", "onnxscript", "onnx-ir")


def build_manifest(
    spec: ModelSpec,
    size_hw: tuple[int, int],
    *,
    weights: WeightsRecord,
    thermal_policy: ThermalPolicy | None = None,
    opset: int = 17,
    operator_form: Literal["portable", "function", "plugin"] = "portable",
    decisions: Sequence[Decision] = (),
) -> Manifest:
    """Return the manifest of a network exported at one size.

    Args:
        spec: The network's contract.
        size_hw: Height and width of the inputs in pixels.
        weights: Where the weights came from.
        thermal_policy: What mapped thermal images in training; the default policy when None.
        opset: Opset of the file.
        operator_form: How the frequency operators are spelled in it.
        decisions: Automatic choices with their reasons.
    """
    policy = thermal_policy or ThermalPolicy()
    if spec.task == "rgbt":
        reason = (
            "stored with the checkpoint" if thermal_policy else "default: works with any camera"
        )
        decisions = (*decisions, Decision("thermal policy", policy.kind, reason))
    return Manifest(
        model=spec.name,
        system=spec.system,
        task=spec.task,
        inputs=input_specs(spec, size_hw, policy),
        outputs=(output_spec(spec, size_hw),),
        classes=spec.classes,
        threshold=spec.threshold,
        weights=weights,
        opset=opset,
        operator_form=operator_form,
        model_config=dict(spec.config),
        tools={"differseg": __version__, **{tool: metadata.version(tool) for tool in _TOOLS}},
        decisions=tuple(decisions),
    )


def output_spec(spec: ModelSpec, size_hw: tuple[int, int]) -> OutputSpec:
    """Describe what the deployment module gives at one size.

    Two classes: ``probability`` (1, 1, H, W) of the foreground.  K > 2 classes:
    ``class_probability`` (1, K, H, W), in the order of the manifest's classes.
    """
    kind: Literal["probability", "class_probability"]
    kind = "probability" if spec.binary else "class_probability"
    return OutputSpec(kind, kind, (1, spec.logit_channels, *size_hw))


def lowering_decisions(module: nn.Module) -> list[Decision]:
    """Say which parts take another form at export, in the words of their ``for_export``."""
    counts: Counter[type[nn.Module]] = Counter()
    reasons: dict[type[nn.Module], str] = {}
    for part in module.modules():
        form = getattr(part, "for_export", None)
        if callable(form):
            counts[type(part)] += 1
            reasons[type(part)] = (form.__doc__ or "").strip().splitlines()[0]
    return [
        Decision(f"{kind.__name__} ({count})", "export form", reasons[kind])
        for kind, count in counts.items()
    ]
