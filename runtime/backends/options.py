"""Options of the inference engine, shared by every command that runs a model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from differseg.options import option
from differseg.runtime.backends import BackendName, CpuPrecision


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Which engine runs a model file, and how."""

    backend: BackendName = "auto"
    """Inference engine; auto takes the fastest that is installed and says why."""
    threads: int | None = option(None, metavar="N")
    """Processor threads of the engine; one per usable core when left out."""
    cpu_precision: CpuPrecision | None = None
    """What OpenVINO computes float32 parts in; f32 when left out."""
    engine_key: Path | None = option(None, metavar="KEY")
    """Run only engines that this key signed: the secret of --sign-key, or its public half."""
