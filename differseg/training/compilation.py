"""``torch.compile`` for the steps of a run, and one line where it cannot be used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from differseg.errors import MissingComponentError

_DETAIL = 200


def compiled(network: Callable[..., Any]) -> Callable[..., Any]:
    """Return the network compiled for batches of one shape; its parameters stay its own."""
    return torch.compile(network, dynamic=False)


@contextlib.contextmanager
def naming_the_compiler() -> Iterator[None]:
    """Let a failure of the compiler inside the block be one line.

    Raises:
        MissingComponentError: There is no C++ compiler (or Triton), or it cannot take the network.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        telling = next((line for line in lines if "error:" in line), lines[0])[:_DETAIL]
        raise MissingComponentError(
            f"--compile: torch.compile cannot compile this network here ({type(error).__name__}: "
            f"{telling}); it needs a C++ compiler, on a GPU Triton, and takes not every network in "
            "every precision: start the run with --restart and without --compile"
        ) from None
