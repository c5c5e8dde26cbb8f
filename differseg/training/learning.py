"""What a recipe file may say of learning beyond the options of the command line.

The tables of such a file are these dataclasses: ``[learning]``, ``[loss]``, ``[[groups]]`` and
``[augmentation]`` (:class:`differseg.data.transforms.Augmentation`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from differseg.data.transforms import Augmentation
from differseg.errors import ManifestError

Optimizer = Literal["adamw", "sgd", "adaxw"]
Schedule = Literal["cosine", "poly", "exponential"]


def _require_not_negative(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not value >= 0:
            raise ManifestError(f"{name}: expected 0 or more, got {value:g}")


@dataclass(frozen=True)
class StepSettings:
    """Numbers of optimiser, schedule and gradient."""

    betas: tuple[float, float] | None = None
    """Decay of AdamW's and AdaXW's means; those of the optimiser when not given."""
    eps: float | None = None
    """What keeps their division finite; that of the optimiser when not given."""
    momentum: float = 0.9
    """Of SGD."""
    clip_norm: float = 5.0
    """Gradients are scaled down to this norm, a rare bad batch must not throw the weights away;
    0 leaves them."""
    clip_value: float = 0.0
    """Then every element of the gradient is held within this; 0 leaves them."""
    poly_power: float = 0.9
    """Power of the polynomial schedule."""
    flat_epochs: float = 0.0
    """Epochs that the exponential schedule stays at its highest rate, after the warm-up."""
    half_life_epochs: float = 15.0
    """Epochs in which the exponential schedule then halves the rate."""

    def __post_init__(self) -> None:
        _require_not_negative(self, "momentum", "clip_norm", "clip_value", "flat_epochs")
        for name in ("poly_power", "half_life_epochs"):
            if not getattr(self, name) > 0:
                raise ManifestError(f"{name}: expected more than 0, got {getattr(self, name):g}")
        for beta in self.betas or ():
            if not 0 <= beta < 1:
                raise ManifestError(f"betas: expected 0 or more and less than 1, got {beta:g}")
        if self.eps is not None:
            _require_not_negative(self, "eps")


@dataclass(frozen=True)
class Terms:
    """Weights of the terms of an output's loss; 0 leaves a term out."""

    cross_entropy: float = 0.0
    """Mean cross-entropy; of several classes by their weights."""
    edge_iou: float = 0.0
    """Two classes: soft IoU that weighs pixels near an edge more (DifferSeg's)."""
    dice: float = 0.0
    """Several classes: soft Dice of each over the batch, by the weights of the classes."""
    sorted_errors: float = 0.0
    """Several classes: errors in falling order, each weighing less (RGB-thermal fusion's)."""
    hardest: float = 0.0
    """Several classes: cross-entropy of the hardest pixels alone (OHEM)."""

    def __post_init__(self) -> None:
        _require_not_negative(self, *vars(self))
        if not any(vars(self).values()):
            raise ManifestError(f"expected one of {', '.join(vars(self))} above 0")


@dataclass(frozen=True)
class LossSettings:
    """The loss of the main output and of the side outputs."""

    terms: Terms
    """Of the main output."""
    side_terms: Terms | None = None
    """Of each side output; those of the main one when not given."""
    main: float = 1.0
    """Weight of the main output."""
    sides: tuple[float, ...] = ()
    """Weight of each side output, in the network's order; a network may have fewer."""
    sides_end: float = 1.0
    """Factor that the weights of the side outputs reach."""
    sides_epochs: int = 0
    """Epochs until then, linearly; 0 keeps them as they are."""

    def __post_init__(self) -> None:
        _require_not_negative(self, "main", "sides_end", "sides_epochs")
        for place, weight in enumerate(self.sides):
            if not weight >= 0:
                raise ManifestError(f"sides[{place}]: expected 0 or more, got {weight:g}")
        if not self.main and not any(self.sides):
            raise ManifestError("main: is 0, and no side output weighs anything: nothing is learnt")
        if (self.sides_end == 1) != (self.sides_epochs == 0):
            raise ManifestError("sides_end, sides_epochs: one has no effect without the other")


@dataclass(frozen=True)
class Group:
    """Parameters that learn in their own way; the first group that fits a parameter has it."""

    match: str
    """Pattern of the parameter's name with ``*``, such as ``decode_head.*``."""
    lr: float = 1.0
    """Factor of the learning rate."""
    weight_decay: float | None = None
    """Weight decay; the run's when not given."""

    def __post_init__(self) -> None:
        _require_not_negative(self, "lr")
        if self.weight_decay is not None:
            _require_not_negative(self, "weight_decay")


@dataclass(frozen=True)
class Learning:
    """All that a recipe file may say beside options; the defaults are those of a run without."""

    learning: StepSettings = field(default_factory=StepSettings)
    """Numbers of optimiser, schedule and gradient."""
    loss: LossSettings | None = None
    """The loss; the one in docs/training.md when not given."""
    groups: tuple[Group, ...] = ()
    """Parameters that learn in their own way."""
    augmentation: Augmentation | None = None
    """How samples are changed; the defaults when not given."""
