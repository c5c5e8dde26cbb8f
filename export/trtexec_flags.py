"""Which ``trtexec`` release knows which flag; an unknown one is an error there, so this is a table.

Data only.  The releases are those in which the flag's literal stands in
``samples/common/sampleOptions.cpp`` of NVIDIA/TensorRT, compared tag by tag from 8.5 to 11.1.
"""

from __future__ import annotations

from differseg.export.targets import Version

FLAGS: dict[str, tuple[Version, Version | None]] = {
    "--onnx": ((8, 5), None),
    "--saveEngine": ((8, 5), None),
    "--minShapes": ((8, 5), None),
    "--optShapes": ((8, 5), None),
    "--maxShapes": ((8, 5), None),
    "--memPoolSize": ((8, 5), None),
    "--noTF32": ((8, 5), None),
    "--profilingVerbosity": ((8, 5), None),
    "--timingCacheFile": ((8, 5), None),
    "--plugins": ((8, 5), (8, 6)),
    "--buildOnly": ((8, 5), (8, 6)),
    "--fp16": ((8, 5), (11, 0)),
    "--int8": ((8, 5), (11, 0)),
    "--precisionConstraints": ((8, 5), (11, 0)),
    "--layerPrecisions": ((8, 5), (11, 0)),
    "--layerOutputTypes": ((8, 5), (11, 0)),
    "--builderOptimizationLevel": ((8, 6), None),
    "--versionCompatible": ((8, 6), None),
    "--hardwareCompatibilityLevel": ((8, 6), None),
    "--dynamicPlugins": ((8, 6), None),
    "--setPluginsToSerialize": ((8, 6), None),
    "--skipInference": ((8, 6), None),
    "--stronglyTyped": ((10, 0), (11, 0)),
}
"""Flag -> the first release that has it, and the first that we do not give it to: it is gone there,
does nothing, or has a better successor (``--plugins``, ``--buildOnly``)."""


def has_flag(flag: str, version: Version) -> bool:
    """Whether a release is given this flag."""
    since, until = FLAGS[flag]
    return since <= version and (until is None or version < until)
