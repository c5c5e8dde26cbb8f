"""Commands in several processes that learn together, on the CPU, without a launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def start_processes(command: Sequence[str], count: int = 2) -> list[subprocess.Popen[str]]:
    """Start ``python COMMAND`` as often, with what a launcher would tell each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip


def finish(
    processes: list[subprocess.Popen[str]], timeout_s: float = 240
) -> list[tuple[int, str, str]]:
    """Wait for all; returns exit status, standard output and standard error of each."""
    ended = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            for other in processes:
                other.kill()
            raise
        ended.append((process.returncode, out, err))
    return ended


WORKER = Path(__file__).with_name("gradient_worker.py")
