"""Power and heat: what the board measures, when it throttles, and when a smaller model helps.

``sysfs``, ``zones``, ``rails``, ``clocks`` and ``nvpmodel`` read files of the kernel and
``tegrastats`` reads NVIDIA's tool; ``board`` makes one reading of them.  ``throttling`` finds what
slows the board down, ``monitor`` samples once a second, and ``report`` and ``command`` say it to
people and to Prometheus.  ``stepdown`` decides which model to run, ``swap`` changes it between two
frames and ``stepping`` joins both to a run.  Standard library only; ``/metrics`` needs
``prometheus_client``.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``differseg power``; returns the exit status."""
    from differseg.runtime.power.command import main as command

    return command(argv)
