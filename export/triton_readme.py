"""The README inside a Triton model folder: what clients send and get, and how to serve it."""

from __future__ import annotations

from collections.abc import Sequence

from differseg.engine_sidecar import EngineSidecar
from differseg.export.triton_config import Served, Serving, is_batched
from differseg.manifest import InputSpec, Manifest, OutputSpec

_MEANINGS = {
    "rgb": "camera frame as it is, in RGB order",
    "flow": "optical flow as a colour picture",
    "thermal": "thermal frame after the thermal policy below",
    "depth": "depth after scaling to 0..1",
}


def readme_text(
    name: str,
    version: int,
    manifest: Manifest,
    served: Served,
    serving: Serving,
    sidecar: EngineSidecar | None = None,
) -> str:
    """Return the text; figures and names come from the manifest and the sidecar."""
    model_lines = [
        f"# {name}",
        "",
        f"{manifest.model} ({manifest.task}, {manifest.precision}), weights: "
        f"{manifest.weights.source}. Written by `differseg triton`; the whole contract is in "
        f"`{version}/manifest.json` and in the parameter `differseg` that the server gives with "
        "the model's configuration.",
        "",
        *_tables(manifest),
        "",
        "Batches of any size are taken." if is_batched(manifest) else "One frame a request.",
        "",
        "Classes: "
        + ", ".join(f"{c.id} {c.name}" for c in manifest.classes)
        + ". "
        + _rule(manifest),
        "",
        "## Serve it",
        "",
        "```",
        *serve_lines(name, version, served, serving, sidecar),
        "```",
        "",
        *_notes(served, sidecar),
    ]
    return "\n".join(model_lines).rstrip() + "\n"


def serve_lines(
    name: str,
    version: int,
    served: Served,
    serving: Serving,
    sidecar: EngineSidecar | None = None,
) -> list[str]:
    """Return the command that serves a repository, run from the folder that holds it."""
    gpus = "" if serving.device == "cpu" else "--gpus all "
    lines = [
        f"docker run --rm {gpus}-p 8000:8000 -p 8001:8001 -p 8002:8002 \\",
        '  -v "$PWD/REPO:/models:ro" nvcr.io/nvidia/tritonserver:YY.MM-py3 \\',
        "  tritonserver --model-repository=/models",
    ]
    plugins = sidecar.plugins if sidecar is not None else ()
    if plugins:
        paths = ";".join(f"/models/{name}/{version}/{plugin.name}" for plugin in plugins)
        lines[-1] += " \\"
        lines.append(f'  --backend-config=tensorrt,plugins="{paths}"')
    if sidecar is not None and sidecar.built_for.version_compatible:
        lines[-1] += " \\"
        lines.append("  --backend-config=tensorrt,version-compatible=true")
    return lines


def _tables(manifest: Manifest) -> list[str]:
    lines = ["| input | type | shape | values |", "|---|---|---|---|"]
    for spec in manifest.inputs:
        low, high = spec.value_range
        values = f"{_MEANINGS[spec.modality]}, {low:g} to {high:g}, {spec.layout}"
        lines.append(f"| `{spec.name}` | {spec.dtype} | {_shape(spec)} | {values} |")
    lines += ["", "| output | type | shape | values |", "|---|---|---|---|"]
    for output in manifest.outputs:
        words = output.kind.replace("_", " ")
        lines.append(f"| `{output.name}` | {output.dtype} | {_shape(output)} | {words} |")
    thermal = manifest.input("thermal")
    if thermal is not None and thermal.thermal_policy is not None:
        policy = thermal.thermal_policy
        range_words = {
            "fixed": f"{policy.low_ck:g} to {policy.high_ck:g} centikelvin become 0 to 1",
            "percentile": f"percentiles {policy.low_percentile:g} to "
            f"{policy.high_percentile:g} of the frame become 0 to 1",
            "full": "codes 0 to 255 become 0 to 1",
        }[policy.kind]
        lines += ["", f"Thermal policy `{policy.kind}`: {range_words}."]
    return lines


def _shape(spec: InputSpec | OutputSpec) -> str:
    return "x".join("any" if size == -1 else str(size) for size in spec.shape)


def _rule(manifest: Manifest) -> str:
    if manifest.outputs[0].kind == "mask":
        return (
            "The mask holds places in this order; the mean is finite when all that was compared is."
        )
    if manifest.outputs[0].kind == "probability":
        return (
            f"A pixel is {manifest.classes[-1].name} where its probability is at least "
            f"{manifest.threshold:g}."
        )
    return "The mask is the class of the largest value, in this order."


def _notes(served: Served, sidecar: EngineSidecar | None) -> Sequence[str]:
    if served == "onnx" or sidecar is None:
        return ["Any recent release of the image serves an ONNX file."]
    built = sidecar.built_for
    gpu = f" and a GPU of compute capability {built.sm}" if built.sm else ""
    notes = [
        f"The engine needs TensorRT {built.version}"
        + (" or newer" if built.version_compatible else "")
        + f"{gpu}: take the release of the image that has it (NVIDIA's support matrix)."
    ]
    if sidecar.plugins:
        notes.append(
            "Plugin libraries are code that the server loads; their hashes stand in "
            "`model.plan.json`."
        )
    return notes
