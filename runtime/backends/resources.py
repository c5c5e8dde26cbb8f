"""What every engine takes from the machine: threads, and buffers that are allocated once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.manifest import InputSpec, OutputSpec


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def buffers(specs: Iterable[InputSpec | OutputSpec]) -> dict[str, npt.NDArray[Any]]:
    """Return a buffer of zeros for each tensor, by its name; all sizes are fixed."""
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}
