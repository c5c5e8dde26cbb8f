"""How many processes prepare data, with the reason.

``torch.utils.data`` itself warns of more than one a core; timm takes 4 and Ultralytics up to 8 for
each GPU.  Where the processor learns, too, workers take from it what they give
(``benchmarks/loader_speed.py``).
"""

from __future__ import annotations

from differseg.manifest import Decision
from differseg.runtime.backends.resources import usable_cores

FEW_CORES = 4
"""Cores up to which training on the CPU prepares data itself."""

_MOST = {"cpu": 4, "cuda": 8}
_MOST_DRAWING = 16


def choose_workers(asked: int | None, device: str, processes: int) -> Decision:
    """Resolve ``--workers`` to a number of processes.

    Args:
        asked: What the user said; None where nothing was said.
        device: ``cpu`` or ``cuda``.
        processes: Processes of the run on this machine, which share its cores.
    """
    if asked is not None:
        return Decision("data workers", str(asked), "asked for")
    share = max(1, usable_cores() // processes)
    each = "" if processes == 1 else " for each process"
    if device == "cpu" and share <= FEW_CORES:
        return Decision(
            "data workers", "0", f"training on the CPU needs the {_cores(share)}{each} itself"
        )
    count = min(share, _MOST[device])
    limit = f", {count} at most on a {'GPU' if device == 'cuda' else 'CPU'}"
    why = f"one a core, of {_cores(share)}{each}{limit if count < share else ''}"
    return Decision("data workers", str(count), why)


def drawing_workers(asked: int | None) -> int:
    """Return how many processes draw scenes before the training, which then needs no core.

    Args:
        asked: What the user said; None where nothing was said.
    """
    if asked is not None:
        return asked
    cores = usable_cores()
    return 0 if cores == 1 else min(cores, _MOST_DRAWING)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
