"""Random weights whose masks are neither empty nor full, for networks without published weights.

    python benchmarks/decided_weights.py --model differseg-rgbt --data DIR --out F.safetensors

Batch statistics are those of the images, and the last convolution is scaled and shifted so that
the logits over the images have median 0 and standard deviation 2: half of the pixels are
foreground, and a comparison of two engines has outlines to disagree about.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from differseg.checkpoints import save_checkpoint
from differseg.errors import InputError
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity_data import load_samples
from differseg.manifest import WeightsRecord
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.options import option, parse, run_main

LOGIT_STD = 2.0
"""Spread of the logits: the middle two thirds of the probabilities lie between 0.12 and 0.88."""


@dataclass(frozen=True)
class DecidedOptions:
    """Write random weights whose masks are neither empty nor full."""

    data: Path = option(metavar="DIR")
    """Folder with rgb/ and, by the network's task, thermal/, depth/ or flow/."""
    out: Path = option(metavar="F.safetensors")
    """The file to write."""
    model: str = option("differseg-rgbt", metavar="NAME")
    """Configuration, see 'differseg models'."""
    images: int = 4
    """Images to take the statistics from."""
    seed: int = 0
    """Seed of the random weights."""


def decide(model: SegmentationModel, batches: Sequence[tuple[Tensor, ...]]) -> None:
    """Set batch statistics and the last convolution of ``model`` from raw inputs, in place.

    Args:
        model: Ends in ``predtrans1``, as every DifferSeg network does.
        batches: Positional inputs of :class:`DeploymentModule`, one image each.
    """
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all images
    _logits(model, batches, norms)
    values = torch.cat([x.flatten() for x in _logits(model, batches, [])])
    last = [part for part in model.predtrans1.modules() if isinstance(part, nn.Conv2d)][-1]
    with torch.no_grad():
        gain = LOGIT_STD / values.std()
        last.weight.mul_(gain)
        last.bias.copy_((last.bias - values.median()) * gain)


def _logits(
    model: SegmentationModel, batches: Sequence[tuple[Tensor, ...]], in_training: list[nn.Module]
) -> list[Tensor]:
    """Run every image; the parts ``in_training`` learn their batch statistics from it."""
    deployed = DeploymentModule(model)
    parts = dict(deployed.model.named_modules())
    names = [name for name, part in model.named_modules() if part in in_training]
    for name in names:
        parts[name].train()
    logits: list[Tensor] = []
    deployed.model.register_forward_hook(lambda *call: logits.append(call[2]["logits"]))
    with torch.inference_mode():
        for raw in track(batches, "running the images", transient=True):
            deployed(*raw)
    for name in names:
        model.get_submodule(name).load_state_dict(parts[name].state_dict())
    return logits


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(DecidedOptions, argv, "decided_weights")
    torch.manual_seed(options.seed)
    model = create_model(options.model)
    if not hasattr(model, "predtrans1"):
        raise InputError(f"--model {options.model}: only DifferSeg networks have such a head")
    manifest = build_manifest(model.spec, model.spec.size_hw, weights=WeightsRecord("random"))
    samples = load_samples(manifest.inputs, options.data, options.images)
    raw = [tuple(map(torch.from_numpy, sample.arrays.values())) for sample in samples]
    decide(model, raw)
    save_checkpoint(options.out, model, extra={"trained_on": "nothing; random weights, decided"})
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
