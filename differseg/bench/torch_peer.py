"""The PyTorch peer: the same network and weights, eager, on the inputs the runtime prepares."""

from __future__ import annotations

import numpy as np
import torch

from differseg.bench.worker import Burst, WorkerOptions, timed
from differseg.checkpoints import load_checkpoint
from differseg.errors import InputError
from differseg.models.deployment import DeploymentModule


def torch_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Load the checkpoint; return bursts of single inferences and the peer's description."""
    if options.checkpoint is None:
        raise InputError("bench: the PyTorch peer needs --checkpoint, the weights of the ONNX file")
    torch.set_num_threads(options.threads)
    module = DeploymentModule(load_checkpoint(options.checkpoint))
    with np.load(options.frames) as frames:
        names = [name for name in frames.files if name.startswith("input_")]
        inputs = [torch.from_numpy(frames[name]) for name in names]

    @torch.inference_mode()
    def step() -> None:
        module(*inputs)

    return timed(step), f"PyTorch {torch.__version__} eager"
