"""Synthetic scenes, drawn into their cache before the first step so that no epoch has to wait."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from differseg.data.loader import leave_group, one_opencv_thread
from differseg.data.synthetic_dataset import SAMPLES_PER_SCENE, SyntheticDataset
from differseg.errors import DifferSegError, InputError
from differseg.training.interruption import StopRequest


class _Scenes(Dataset[DifferSegError | None]):
    """One item per scene: taking it draws all samples of the scene; a mistake comes as a value.

    An error that left a worker process would arrive wrapped in that process's traceback.
    """

    def __init__(self, samples: SyntheticDataset, cache: Path) -> None:
        self._samples, self._cache = samples, cache

    def __len__(self) -> int:
        return -(-len(self._samples) // SAMPLES_PER_SCENE)

    def __getitem__(self, scene: int) -> DifferSegError | None:
        try:
            self._samples[scene * SAMPLES_PER_SCENE]
        except DifferSegError as error:
            return error
        except OSError as error:
            return InputError(
                f"--synthetic-cache {self._cache}: cannot be used ({error.strerror or error}); "
                "give a folder that you may write to"
            )
        return None


def draw_scenes(
    samples: SyntheticDataset, cache: Path, workers: int, console: Console, stop: StopRequest
) -> bool:
    """Draw what the cache lacks.

    Args:
        samples: The samples; they keep what is drawn in ``cache``.
        cache: Named in messages.
        workers: Processes that draw; 0 draws in this one.
        console: Where progress is shown.
        stop: Read between scenes.

    Returns:
        False where a stop was asked for before all was drawn.

    Raises:
        InputError: Scenes of this kind cannot be drawn, or the cache cannot be written.
    """
    if stop.requested:
        return False
    scenes: DataLoader[DifferSegError | None] = DataLoader(
        _Scenes(samples, cache),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=leave_group,
        generator=torch.Generator().manual_seed(0),  # leave the run's own generator alone
    )
    with one_opencv_thread():
        drawn = iter(scenes)
    shown = track(
        drawn,
        f"synthetic scenes of seed {samples.seed}",
        total=len(scenes),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    for error in shown:
        if error is not None:
            raise error
        if stop.requested:
            return False
    return True
