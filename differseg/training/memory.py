"""One line where the memory does not suffice."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator

import torch

from differseg.errors import InputError

_GIB = 2**30
_WORKER = "DataLoader worker (pid"
_CPU_TEXTS = ("can't allocate memory", "not enough memory")


@contextlib.contextmanager
def naming_the_memory(
    device: torch.device, batch: int, accumulate: int, precision: str, where: Callable[[], str]
) -> Iterator[None]:
    """Let a lack of memory inside the block be one line that says what needs less.

    A process that prepares data ends without a word where there is too little, of the machine's
    memory or of the part that processes share, which containers keep small.

    Args:
        device: Where the run computes.
        batch: Its images at a time.
        accumulate: Its batches a step.
        precision: Its numbers.
        where: Returns how far it has come, for the message.

    Raises:
        InputError: The memory does not suffice, or a process that prepares data has ended.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if _WORKER in str(error) and not isinstance(error, torch.OutOfMemoryError):
            raise InputError(
                f"train: a process that prepares data ended {where()}: something ended it, or the "
                "memory did not suffice, also that in /dev/shm, of which a container has little "
                "(docker run --shm-size); repeat the command with fewer --workers, of which 0 "
                "needs none. The last snapshot is kept"
            ) from None
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        on_cpu = isinstance(error, MemoryError) or any(text in str(error) for text in _CPU_TEXTS)
        if not (on_gpu or on_cpu):
            raise
        place, peak = (str(device), _peak_of_gpu(device)) if on_gpu else ("CPU", _peak_of_cpu())
        less = "a smaller --size"
        if batch > 1:
            part = next(n for n in range(batch // 2, 0, -1) if batch % n == 0)
            split = f"--batch {part} --accumulate {accumulate * batch // part}"
            less = f"{split} (as many images a step in less memory), or {less}"
        if on_gpu and precision == "fp32":
            less += ", or --precision bf16"
        raise InputError(
            f"train: out of memory on {place} {where()} ({peak}); start again with --restart and "
            f"{less}. The last snapshot is kept: where other programs held the memory, end them "
            "and repeat the command"
        ) from None


def _peak_of_gpu(device: torch.device) -> str:
    peak = torch.cuda.max_memory_reserved(device) / _GIB
    _, total = torch.cuda.mem_get_info(device)
    return f"peak {peak:.1f} of {total / _GIB:.1f} GiB"


def _peak_of_cpu() -> str:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIB
    return f"peak of this process {peak:.1f} GiB"
