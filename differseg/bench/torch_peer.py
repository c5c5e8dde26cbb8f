"""The PyTorch peer: the same network and weights, eager, on the inputs the runtime prepares."""

from __future__ import annotations

import numpy as np
import torch

from differseg.bench.worker import Step, WorkerOptions
from differseg.checkpoints import load_checkpoint
from differseg.errors import InputError
from differseg.models.deployment import DeploymentModule


def torch_step(options: WorkerOptions) -> tuple[Step, str]:
    """Load the checkpoint and return a step that runs one inference, and the peer's description."""
    if options.checkpoint is None:
        raise InputError("bench: the PyTorch peer needs --checkpoint, the weights of the ONNX file")
    torch.set_num_threads(options.threads)
    module = DeploymentModule(load_checkpoint(options.checkpoint))
    with np.load(options.frames) as frames:
        names = [name for name in frames.files if name.startswith("input_")]
        inputs = [torch.from_numpy(frames[name]) for name in names]

    def step() -> dict[str, float]:
        with torch.inference_mode():
            module(*inputs)
        return {}

    return step, f"PyTorch {torch.__version__} eager"
