"""The API generations of TensorRT that the test-bed follows.

Sources: NVIDIA/TensorRT at the tags named in ``surface/*.json``; versions of CUDA from the release
notes (8.5: JetPack 5 with 11.4, 8.6: CUDA 11 and 12, 10.3: JetPack 6.1 with 12.6, 10.16: 13.2,
11.x: 13.3).
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SURFACES = Path(__file__).parents[1] / "surface"


@dataclass(frozen=True)
class Generation:
    """One release.

    Attributes:
        name: Major and minor version.
        version: ``tensorrt.__version__``.
        cuda: CUDA runtime that it comes with, ``1000 * major + 10 * minor``.
        int64_io: Whether INT64 inputs and outputs exist; before 9 they became INT32.
        functions: How the parser finds custom nodes: model-local functions are ``ignored``; the
            ``function`` hides a plugin; the ``plugin if named`` by the attribute
            ``plugin_namespace``, else the function (onnx-tensorrt ModelImporter.cpp at 8.6-GA,
            10.1-GA and the submodules of 10.15 and later).
        weak_typing: Whether networks may be weakly typed (precision by flags).
    """

    name: str
    version: str
    cuda: int
    int64_io: bool
    functions: str
    weak_typing: bool

    @property
    def major(self) -> int:
        """Major version."""
        return int(self.name.partition(".")[0])

    @property
    def numbers(self) -> tuple[int, ...]:
        """Version as numbers, to compare; ``10.3.0.post1`` is 10.3.0."""
        parts = itertools.takewhile(str.isdigit, self.version.split("."))
        return tuple(map(int, parts))

    @property
    def surface(self) -> dict[str, Any]:
        """What exists."""
        return _surface(self.name)


@cache
def _surface(name: str) -> dict[str, Any]:
    path = SURFACES / f"tensorrt_{name.replace('.', '_')}.json"
    return json.loads(path.read_text(encoding="utf-8"))


GENERATIONS = {
    generation.name: generation
    for generation in (
        Generation("8.6", "8.6.1", 12020, False, "ignored", True),
        Generation("10.3", "10.3.0", 12060, True, "function", True),
        Generation("10.16", "10.16.0.72", 13020, True, "plugin if named", True),
        Generation("11.4", "11.4.1", 13030, True, "plugin if named", False),
    )
}
"""The four that the project promises: what the fixtures run through."""

JETPACK_5 = Generation("8.5", "8.5.2", 11040, False, "ignored", True)
"""JetPack 5's, for tests that ask for it by name."""

BY_NAME = {JETPACK_5.name: JETPACK_5} | GENERATIONS
