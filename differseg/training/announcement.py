"""What a run says of itself before its first step."""

from __future__ import annotations

import torch

from differseg.checkpoints import read_info
from differseg.manifest import ThermalPolicy
from differseg.models.base import SegmentationModel
from differseg.schema import to_plain
from differseg.training.choices import Choices
from differseg.training.determinism import COST
from differseg.training.epochs import gave_up
from differseg.training.fake_quantization import FakeQuantization
from differseg.training.idle_options import idle_options
from differseg.training.loop import Trainer
from differseg.training.norms import norm_state
from differseg.training.options import TrainOptions
from differseg.training.samples import TrainingData
from differseg.training.start import StartWeights

_MUCH_FROZEN = 0.05
"""Share of frozen parameters from which a start without trained weights is pointed out."""
_STARTING_PAGE = "docs/models/differseg.md"
_SHOWN = 4
"""How many of the tensors that are not rounded are named."""
_MUCH_REMEMBERED = 0.2
"""Share of the start in the averaged weights at the end of a run from which it is pointed out."""


def announcement(
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    choices: Choices,
    start: StartWeights | None,
) -> list[str]:
    """Return the lines that tell what is about to happen, and what to look out for."""
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    norms = norm_state(trainer.model, trainer.frozen_norms, choices.freeze_norm)
    lines = [
        f"{_state(options, trainer)}: {options.model} ({trainable / 1e6:.2f} M trainable "
        f"parameters) on {data.description['train']} samples, {data.description['held_out']} held "
        f"out; {trainer.device}, {trainer.precision}, run folder {options.out}",
        f"statistics of batch normalisation are {norms}",
        *_sharing(options, trainer),
    ]
    for choice in (choices.workers, choices.thermal_policy, choices.label_rule):
        if choice is not None:
            lines.append(f"{choice.what}: {choice.value} ({choice.reason})")
    if choices.weight_values is not None:
        lines.append(f"class weights: {choices.class_weights.value}")
    lines += _teaching(options, trainer, data)
    lines += idle_options(options, trainer.recipe.learning)
    if options.warmup >= options.epochs:
        lines.append(
            f"note: with --warmup {options.warmup:g} the learning rate still rises when the run "
            f"ends, after --epochs {options.epochs}"
        )
    if options.deterministic:
        lines.append(COST)
    if isinstance(trainer.network, FakeQuantization):
        lines += _rounding(trainer.network, options)
    if start is not None and start.fresh:
        lines.append(
            f"--init {options.init} is for other classes; these start anew: "
            f"{', '.join(start.fresh)}"
        )
    if start is None and trainer.position.step == 0:
        lines += _random_frozen_parts(trainer.model)
    remembered = options.ema**trainer.recipe.total_steps
    if trainer.recipe.trained_start and remembered > _MUCH_REMEMBERED:
        lines.append(
            f"note: with --ema {options.ema:g} the averaged weights are still {remembered:.0%} "
            f"those of --init after {trainer.recipe.total_steps} steps; a lower --ema follows "
            "the training sooner"
        )
    return lines


def _state(options: TrainOptions, trainer: Trainer) -> str:
    position = trainer.position
    over = gave_up(position, options.epochs, options.patience)
    if position.epoch >= options.epochs or over:  # its last steps may still wait to be judged
        return "already complete"
    return f"resuming at step {position.step}" if position.step else "starting"


def _sharing(options: TrainOptions, trainer: Trainer) -> list[str]:
    """Tell how a step's images are shared, and what this changes."""
    count = trainer.processes.count
    if count * options.accumulate == 1:
        return []
    whole = options.batch * options.accumulate * count
    lines = [
        f"a step takes {whole} images: {count} process(es), each {options.accumulate} times "
        f"{options.batch}"
    ]
    norms = [
        part
        for part in trainer.model.modules()
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)
    ]
    learning = len(trainer.frozen_norms) < len(norms)
    if options.sync_norm and not learning:
        lines.append("note: without effect: --sync-norm; no batch normalisation learns statistics")
    if learning:
        seen = options.batch * (count if options.sync_norm else 1)
        lines.append(f"note: batch normalisation sees {seen} of them at a time")
    if not trainer.objective.splits:
        lines.append(
            f"note: dice, sorted_errors and hardest look at {options.batch} of them at a time, "
            "and their mean is taken"
        )
    return lines


def _teaching(options: TrainOptions, trainer: Trainer, data: TrainingData) -> list[str]:
    """Tell who teaches and what, and where the teacher sees other images than it learnt from."""
    if options.teacher is None or trainer.distillation is None:
        return []
    spec = trainer.distillation.spec
    logits = f"its logits (weight {options.teacher_weight:g})"
    maps = f", maps {options.teacher_features} (weight {options.feature_weight:g})"
    learnt = f"{logits}{maps if options.teacher_features else ''}"
    lines = [f"teacher: {spec.name}, {options.teacher}; learnt from are {learnt}"]
    seen = {part.name for part in spec.modalities}
    info = read_info(options.teacher)
    policy = info.thermal_policy if info else None
    if "thermal" in seen and policy is not None and policy != data.policy:
        lines.append(
            f"note: the teacher learnt from thermal images mapped by {_mapping(policy)}, and is "
            f"shown them by {_mapping(data.policy)}"
        )
    lost = [name for name in data.lost_cameras if name in seen]
    if lost:
        lines.append(f"note: where {' or '.join(lost)} is lost, the teacher lacks it, too")
    return lines


def _mapping(policy: ThermalPolicy) -> str:
    """Return a policy's kind with all that differs from the defaults of its kind."""
    plain, usual = to_plain(policy), to_plain(ThermalPolicy(kind=policy.kind))
    own = [f"{name} {value}" for name, value in plain.items() if value != usual[name]]
    return f"{policy.kind} ({', '.join(own)})" if own else policy.kind


def _rounding(network: FakeQuantization, options: TrainOptions) -> list[str]:
    lines = [
        f"rounding as in {options.qat}: {network.kernels} convolutions and products, "
        f"{network.sums} operands of sums"
    ]
    skipped = network.skipped
    if skipped:
        more = f"; and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        lines.append(f"note: not rounded: {'; '.join(skipped[:_SHOWN])}{more}")
    return lines


def _random_frozen_parts(model: SegmentationModel) -> list[str]:
    """Warn of frozen parts that nobody trained: without --init they stay noise."""
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    share = frozen / sum(p.numel() for p in model.parameters())
    if share < _MUCH_FROZEN:
        return []
    return [
        f"warning: {share:.0%} of the network is frozen, and random numbers without --init; start "
        f"from trained weights, see {_STARTING_PAGE}"
    ]
