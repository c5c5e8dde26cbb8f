"""Steps that a GPU computes the same way twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from differseg.errors import InputError

COST = (
    "deterministic: slower on a GPU, where convolutions take no faster way and sums are ordered; "
    "on a CPU runs repeat without it"
)
"""What a run says of its price."""

_NO_WAY = "does not have a deterministic implementation"


@contextlib.contextmanager
def deterministic(asked: bool) -> Iterator[None]:
    """Refuse, inside the block, what does not repeat bit for bit.

    Order, augmentation and the seeds of data workers are functions of the run's seed either way.

    Args:
        asked: Whether to; nothing changes where False.

    Raises:
        InputError: The network needs an operator that has no such form on this device.
    """
    if not asked:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at cuBLAS's first call
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if _NO_WAY not in str(error):
            raise
        operator = str(error).partition(" ")[0]
        raise InputError(
            f"--deterministic: {operator} has no deterministic form on this device; leave "
            "--deterministic away, or use --device cpu"
        ) from None
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = before[2:]
