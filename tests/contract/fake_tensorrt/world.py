"""What all objects of one fake ``tensorrt`` module share."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from contract.fake_tensorrt.generations import Generation
from contract.machine import Machine

SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


@dataclass
class World:
    """State and counters of one module.

    Attributes:
        generation: The release.
        machine: The device.
        classes: All classes and enumerations by Python name.
        messages: ``(severity, text)`` of everything that was logged.
        deserialisations: How often ``deserialize_cuda_engine`` was reached.
        builds: Header of every plan that was built.
        enqueues: How often work was enqueued, captured or not.
        timing_hits: Layers whose timing came from a cache.
        timing_misses: Layers that were timed.
        dla_cores: Deep-learning accelerators of the device.
        creators: Plugin creators: ``(name, version, namespace)`` -> what stands for it.
        resolved: Node of a domain of its own -> ``plugin`` or ``function``.
        builtin_plugins: Whether ``init_libnvinfer_plugins`` was called.
    """

    generation: Generation
    machine: Machine
    classes: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, str]] = field(default_factory=list)
    deserialisations: int = 0
    builds: list[dict[str, Any]] = field(default_factory=list)
    enqueues: int = 0
    timing_hits: int = 0
    timing_misses: int = 0
    dla_cores: int = 0
    creators: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    resolved: dict[str, str] = field(default_factory=dict)
    builtin_plugins: bool = False

    def log(self, logger: Any, severity: str, text: str) -> None:
        """Tell the program's logger; what its ``log`` raises is swallowed, as in the bindings."""
        self.messages.append((severity, text))
        try:
            logger.log(self.classes["Severity"].__members__[severity], text)
        except Exception as problem:
            print(f"[ERROR] Exception caught in log(): {problem}", file=sys.stderr)

    def error(self, logger: Any, code: int, text: str) -> None:
        """An error in TensorRT's form."""
        kind = {
            1: "Cuda Runtime",
            2: "Internal Error",
            3: "API Usage Error",
            4: "API Usage Error",
            6: "API Usage Error",
            9: "Internal Error",
        }[code]
        self.log(logger, "ERROR", f"Error Code {code}: {kind} ({text})")

    def errors(self) -> list[str]:
        """Texts of all errors so far."""
        return [text for severity, text in self.messages if severity in SEVERITIES[:2]]

    @property
    def major(self) -> int:
        """Major version."""
        return self.generation.major
