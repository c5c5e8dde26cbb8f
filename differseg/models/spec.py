"""What a network takes and gives, as plain data; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from differseg.manifest import ClassSpec

Task = Literal["rgb", "rgbd", "rgbt", "video"]
"""Modalities of a network: RGB alone, or with depth, thermal or colour-coded optical flow."""


@dataclass(frozen=True)
class ModalitySpec:
    """One input of a network: ``(N, channels, H, W)`` float, normalised with mean and std.

    ``mean`` and ``std`` are per channel in units of 0..1; the network takes ``(x - mean) / std``.
    """

    name: Literal["rgb", "thermal", "depth", "flow"]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A network's contract.

    ``modalities`` stand in the order of the positional arguments of ``forward``; both sides of
    an input are multiples of ``multiple``; ``size_hw`` is the size that the configuration was
    made for; ``threshold`` turns the probability of a binary network into a mask; ``config``
    rebuilds the network by ``create_model(spec.name, **spec.config)``.
    """

    name: str
    system: str
    task: Task
    modalities: tuple[ModalitySpec, ...]
    classes: tuple[ClassSpec, ...]
    size_hw: tuple[int, int]
    multiple: int = 32
    threshold: float = 0.5
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def binary(self) -> bool:
        """Whether there are two classes: one logit a pixel and a sigmoid, in place of a softmax."""
        return len(self.classes) == 2

    @property
    def logit_channels(self) -> int:
        """Channels of the logits: 1 of a binary network, else one for each class."""
        return 1 if self.binary else len(self.classes)


_RGB = ModalitySpec("rgb", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MODALITIES: dict[Task, tuple[ModalitySpec, ...]] = {
    "rgb": (_RGB,),
    "rgbd": (_RGB, ModalitySpec("depth", 1, (0.5,), (0.5,))),
    "rgbt": (_RGB, ModalitySpec("thermal", 1, (0.5,), (0.5,))),
    "video": (_RGB, ModalitySpec("flow", 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
}
"""Inputs of each task with the authors' normalisation."""

BINARY_CLASSES = (ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "object", (255, 64, 32)))
"""Classes of a binary network."""
