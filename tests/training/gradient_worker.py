"""Three steps of one process among several; the first one saves gradients and weights.

``python gradient_worker.py OUT.pt SCENES BATCH PIECES MODEL``
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from differseg import create_model
from differseg.checkpoints import load_checkpoint
from differseg.data.loader import Share, make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.training.loop import Recipe, Trainer
from differseg.training.processes import Processes, join_processes

SIZE_HW = (64, 96)
SHIPPED = Path(__file__).parents[2] / "differseg" / "weights" / "differseg-edge.safetensors"


def three_steps(processes: Processes, scenes: str, batch: int, pieces: int) -> dict[str, object]:
    """Return the first step's gradient, the losses, and the weights after three steps."""
    torch.manual_seed(0)
    model = create_model("differseg-edge")
    load_checkpoint(SHIPPED, model)
    how = Recipe(1e-3, 5e-4, 0.9, warmup_steps=0, total_steps=9, freeze_norm=True)
    trainer = Trainer(model, how, torch.device("cpu"), "fp32", processes=processes)
    samples = SyntheticDataset(24, size_hw=SIZE_HW, cache_dir=scenes)
    share = Share(pieces, processes.count, processes.rank)
    parts = iter(make_loader(samples, model.spec, SIZE_HW, batch, 0, 0, True, 0, share=share))
    losses, gradient = [], {}
    for step in range(3):
        losses.append(trainer.step(*[next(parts) for _ in range(pieces)]))
        if step == 0:
            gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    return {"losses": losses, "gradient": gradient, "weights": model.state_dict()}


def main() -> None:
    """Take the steps; the first process saves what came of them."""
    out, scenes, batch, pieces = sys.argv[1:]
    torch.set_num_threads(1)
    processes = join_processes("cpu")
    found = three_steps(processes, scenes, int(batch), int(pieces))
    if processes.first:
        torch.save(found, out)
    processes.leave()


if __name__ == "__main__":
    main()
