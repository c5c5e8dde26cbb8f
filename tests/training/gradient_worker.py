"""Three steps of one process among several; the first one saves gradients and weights.

``python gradient_worker.py OUT.pt SCENES BATCH PIECES TAUGHT``
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from differseg import create_model
from differseg.checkpoints import load_checkpoint
from differseg.data.loader import Share, make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.models.base import SegmentationModel
from differseg.training.distillation import Distillation, DistillationSettings, load_teacher
from differseg.training.loop import Recipe, Trainer
from differseg.training.processes import Processes, join_processes

SIZE_HW = (64, 96)
SHIPPED = Path(__file__).parents[2] / "differseg" / "weights" / "differseg-edge.safetensors"


def three_steps(
    processes: Processes, scenes: str, batch: int, pieces: int, taught: bool = False
) -> dict[str, object]:
    """Return the first step's gradient, the losses, and the weights after three steps.

    Args:
        processes: Those that learn together.
        scenes: Folder that keeps drawn scenes.
        batch: Images at a time.
        pieces: Batches a step.
        taught: Whether a teacher's answers and one of its maps are learnt as well.
    """
    torch.manual_seed(0)
    model = create_model("differseg-edge")
    load_checkpoint(SHIPPED, model)
    how = Recipe(1e-3, 5e-4, 0.9, warmup_steps=0, total_steps=9, freeze_norm=True)
    taught_by = distillation(model, processes.rank) if taught else None
    trainer = Trainer(
        model, how, torch.device("cpu"), "fp32", processes=processes, distillation=taught_by
    )
    learnt = dict(model.named_parameters())
    if taught_by is not None and taught_by.adapter is not None:
        learnt |= {f"adapter.{name}": p for name, p in taught_by.adapter.named_parameters()}
    samples = SyntheticDataset(24, size_hw=SIZE_HW, cache_dir=scenes)
    share = Share(pieces, processes.count, processes.rank)
    parts = iter(make_loader(samples, model.spec, SIZE_HW, batch, 0, 0, True, 0, share=share))
    losses, gradient = [], {}
    for step in range(3):
        losses.append(trainer.step(*[next(parts) for _ in range(pieces)]))
        if step == 0:
            gradient = {name: p.grad.clone() for name, p in learnt.items()}
    state = trainer.state()
    weights = {**state["model"], **state.get("adapter", {})}
    return {"losses": losses, "gradient": gradient, "weights": weights}


def distillation(student: SegmentationModel, rank: int) -> Distillation:
    """Return a teacher with weights of its own, and an adapter that differs in each process."""
    torch.manual_seed(1)
    other = create_model("differseg-edge").state_dict()
    teacher = load_teacher(SHIPPED, None, student.spec)
    for name, tensor in teacher.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(other[name], 0.2)  # else it would agree with the student
    torch.manual_seed(2 + rank)
    part = "encoder.stages.1"
    settings = DistillationSettings(2.0, features=(part, part), feature_weight=3.0)
    return Distillation(student, teacher, settings, SIZE_HW, torch.device("cpu"))


def main() -> None:
    """Take the steps; the first process saves what came of them."""
    out, scenes, batch, pieces, taught = sys.argv[1:]
    torch.set_num_threads(1)
    processes = join_processes("cpu")
    found = three_steps(processes, scenes, int(batch), int(pieces), taught == "taught")
    if processes.first:
        torch.save(found, out)
    processes.leave()


if __name__ == "__main__":
    main()
