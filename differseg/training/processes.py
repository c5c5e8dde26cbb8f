"""The processes of one run: alone, or several that learn from one batch together.

Several are started by ``accelerate launch`` or ``torchrun`` and joined by Hugging Face
``accelerate``; gradients are summed by PyTorch's ``DistributedDataParallel``.  The first process
(rank 0) alone writes files and speaks.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from differseg.errors import (
    CheckFailedError,
    DifferSegError,
    InputError,
    MissingComponentError,
)

T = TypeVar("T")

_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
_PATIENCE = timedelta(days=7)  # the first process may draw scenes, and judges, while others wait
_OTHER_SNAPSHOT = (
    "--out: the processes of this run do not find the same snapshot there; put it on a file system "
    "that all of them see"
)
_STREAM = 4  # of random numbers; the loader has 1 to 3


class Processes:
    """The processes of a run as one of them sees them; made by :func:`join_processes`.

    Args:
        accelerator: Of ``accelerate``; None for a process alone.
    """

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator
        self.rank: int = 0 if accelerator is None else accelerator.process_index
        self.count: int = 1 if accelerator is None else accelerator.num_processes

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device | None:
        """The device of this process; None where the user chooses it."""
        return None if self._accelerator is None else self._accelerator.device

    @property
    def on_this_machine(self) -> int:
        """How many of them share this machine's cores."""
        if self._accelerator is None:
            return 1
        told = os.environ.get("LOCAL_WORLD_SIZE", "")  # by torchrun and accelerate
        return int(told) if told.isdecimal() and int(told) else self.count

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a small tensor over all processes; it is not modified."""
        if self._accelerator is None:
            return values
        moved = values.to(self._accelerator.device, copy=True)
        torch.distributed.all_reduce(moved)
        return moved.to(values.device)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self._accelerator is None:
            return flag
        return bool(self.total(torch.tensor(float(flag))) > 0)

    def told(self, value: T) -> T:
        """Return what the first process hands over, in all of them."""
        if self._accelerator is None:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self._accelerator.device)
        return box[0]

    @contextlib.contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process do the block before the others.

        What makes it fail there fails everywhere, and is said once.
        """
        if self._accelerator is None:
            yield
            return
        if not self.first:
            status: int | None = self.told(None)
            if status is not None:
                raise SystemExit(status)
            yield
            return
        failed: int | None = 1
        try:
            yield
            failed = None
        except DifferSegError as error:
            failed = error.exit_code
            raise
        finally:
            self.told(failed)

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """Let an error of one process, inside the block, end all of them; it alone says why."""
        if self._accelerator is None:
            yield
            return
        try:
            yield
        except DifferSegError:
            self.any(True)
            raise
        if self.any(False):
            raise SystemExit(1)

    @contextlib.contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Let the end of another process, inside the block, be one line.

        Raises:
            CheckFailedError: Another process has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self._accelerator is None or not any(text in str(error) for text in _LOST):
                raise
            self.refuse(
                CheckFailedError(
                    "train: another process of this run has ended, and its own message says why; "
                    "repeat the command to go on from the last snapshot"
                )
            )

    def refuse(self, error: DifferSegError) -> None:
        """Raise an error that every process finds; the first one says it."""
        if not self.first:
            raise SystemExit(error.exit_code)
        raise error

    def joined(self, network: nn.Module, unused: bool) -> nn.Module:
        """Return the network such that a backward pass leaves the mean gradient everywhere.

        Args:
            network: The network, on the device of this process.
            unused: Whether it has parameters that get no gradient.
        """
        if self._accelerator is None:
            return network
        from accelerate import DistributedDataParallelKwargs

        # of kernels with one channel, whose two layouts are the same numbers in the same places
        warnings.filterwarnings("ignore", message="Grad strides do not match")
        how = DistributedDataParallelKwargs(find_unused_parameters=unused)
        self._accelerator.ddp_handler = how
        return self._accelerator.prepare_model(network)

    def share_values(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give parameters beside the joined network the first process's values."""
        if self._accelerator is None:
            return
        for parameter in parameters:
            torch.distributed.broadcast(parameter.data, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Leave the mean gradient in parameters beside the joined network, which has its own."""
        if self._accelerator is None:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = self.total(parameter.grad) / self.count

    def keeping_gradients(self, network: Any) -> contextlib.AbstractContextManager[object]:
        """Return a context in which a backward pass leaves gradients in the process."""
        if self._accelerator is None:
            return contextlib.nullcontext()
        return network.no_sync()

    def seed_step(self, seed: int, step: int) -> None:
        """Make the random numbers of a step a function of seed, step and process.

        Then no process but the first needs a state of its own in the snapshot.  A process alone
        goes on with its generators.
        """
        if self._accelerator is None:
            return
        words = np.random.SeedSequence([seed, _STREAM, step, self.rank]).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))

    def require_alone(self, flag: str) -> None:
        """Refuse an option that several processes do not share.

        Raises:
            InputError: There are several.
        """
        if self.count > 1:
            raise InputError(f"{flag}: this is for one process, and the run has {self.count}")

    def require_gpus(self, flag: str) -> None:
        """Refuse an option that needs several processes with a GPU each.

        Raises:
            InputError: There is one process, or they compute on CPUs.
        """
        if self.device is None or self.device.type != "cuda":
            raise InputError(
                f"{flag}: this needs several processes with a GPU each; leave it away, or start "
                "the run with accelerate launch"
            )

    def require_everywhere(self, found: bool) -> None:
        """Check that all processes find the snapshot that the first one goes on from.

        Raises:
            InputError: They do not.
        """
        if self.any(not found):
            self.refuse(InputError(_OTHER_SNAPSHOT))

    def require_same_step(self, step: int) -> None:
        """Check that all processes took up the same snapshot.

        Raises:
            InputError: They did not.
        """
        if self.any(step != self.told(step)):
            self.refuse(InputError(_OTHER_SNAPSHOT))

    def leave(self) -> None:
        """End the group of processes."""
        if self._accelerator is None:
            return
        from accelerate.state import AcceleratorState

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)


def launched() -> tuple[int, int]:
    """Return how many processes a launcher started, and which of them this is; (1, 0) alone."""
    count, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "0")
    if not (count + rank).isdecimal() or int(count) < 2 or "LOCAL_RANK" not in os.environ:
        return 1, 0
    return int(count), int(rank)


def join_processes(device: str) -> Processes:
    """Join the processes that a launcher started; a process alone where there was none.

    Args:
        device: ``auto``, or ``cpu``.

    Raises:
        InputError: One GPU for several processes.
        MissingComponentError: ``accelerate`` is not installed.
    """
    count, _ = launched()
    if count == 1:
        return Processes()
    if device not in ("auto", "cpu"):
        raise InputError(
            f"--device {device}: this run has {count} processes, and each takes a GPU of its own; "
            "leave --device away, or use --device cpu"
        )
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ModuleNotFoundError:
        raise MissingComponentError(
            "train: a run of several processes needs the package 'accelerate', which is not "
            "installed; install it with: pip install 'differseg[train]'"
        ) from None
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if not on_cpu and int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise InputError(
            f"train: process {os.environ['LOCAL_RANK']} of this machine finds "
            f"{torch.cuda.device_count()} GPU(s); start one process a GPU"
        )
    handlers = [InitProcessGroupKwargs(timeout=_PATIENCE)]
    return Processes(Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=handlers))
