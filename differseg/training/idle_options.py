"""Options that were given and play no part in a run, so that nobody waits for their effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from differseg.data.datasets.definition import VAL
from differseg.data.datasets.registry import parse_data
from differseg.training.learning import Learning, StepSettings
from differseg.training.options import TrainOptions, flag_of, was_given
from differseg.training.samples import SYNTHETIC

_OF_SCENES = ("synthetic_count", "synthetic_size", "synthetic_cache")
_WEIGHED = ("cross_entropy", "dice", "hardest")
_STEP_DEFAULTS = StepSettings()


def idle_options(options: TrainOptions, learning: Learning) -> list[str]:
    """Return a note for each kind of option that has no effect in this run, with the reason.

    Args:
        options: Of the run, valid.
        learning: What its recipe says beside options.
    """
    return [
        f"note: without effect: {', '.join(names)}; {reason}"
        for names, reason in [*_of_data(options), *_of_learning(options, learning)]
        if names
    ]


def _of_data(options: TrainOptions) -> list[tuple[list[str], str]]:
    if options.data == SYNTHETIC:
        reason = "synthetic scenes have labels, and held-out scenes, of their own"
        return [(_given(options, ("holdout", "label_rule")), reason)]
    rows = [(_given(options, _OF_SCENES), "--data is not synthetic")]
    info, _ = parse_data(options.data)
    if info is not None and VAL in info.splits:
        reason = f"{info.name} publishes what is held out, its split {VAL}"
        rows.append((_given(options, ("holdout",)), reason))
    return rows


def _of_learning(options: TrainOptions, learning: Learning) -> list[tuple[list[str], str]]:
    rows = []
    if options.patience is not None and options.patience >= options.epochs:
        rows.append((["--patience"], f"the run has {options.epochs} epochs"))
    if options.teacher is not None and options.teacher_weight == 0:
        names = _given(options, ("teacher_temperature",))
        rows.append((names, "--teacher-weight is 0"))
    momentum, means = ("momentum",), ("betas", "eps")
    numbers = means if options.optimizer == "sgd" else momentum
    rows.append((_from_recipe(learning, numbers), f"the optimiser is {options.optimizer}"))
    falls = {"poly": ("poly_power",), "exponential": ("flat_epochs", "half_life_epochs")}
    others = [name for kind, names in falls.items() if kind != options.schedule for name in names]
    rows.append((_from_recipe(learning, others), f"the schedule is {options.schedule}"))
    if options.class_weights is not None and learning.loss is not None:
        terms = (learning.loss.terms, learning.loss.side_terms)
        if not any(getattr(part, name) for part in terms if part for name in _WEIGHED):
            reason = "no term of the recipe's loss weighs classes"
            rows.append((["--class-weights"], reason))
    return rows


def _given(options: TrainOptions, names: Sequence[str]) -> list[str]:
    return [flag_of(name) for name in names if was_given(options, name)]


def _from_recipe(learning: Learning, names: Sequence[str]) -> list[str]:
    own, default = dataclasses.asdict(learning.learning), dataclasses.asdict(_STEP_DEFAULTS)
    return [f"{name} of the recipe" for name in names if own[name] != default[name]]
