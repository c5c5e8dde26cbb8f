"""A network of two convolutions for more than two classes, registered like a real one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from differseg.manifest import ClassSpec
from differseg.models import registry
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.spec import MODALITIES, ModelSpec
from differseg.models.system import ModelInfo, System, plain

NAME = "classes-net"
SYSTEM = "classes_net"
SIZE_HW = (64, 96)
CLASSES = (
    ClassSpec(0, "unlabeled", (0, 0, 0)),
    ClassSpec(1, "car", (64, 0, 128)),
    ClassSpec(2, "person", (255, 64, 32)),
    ClassSpec(3, "bike", (0, 128, 192)),
)


class ClassesNet(SegmentationModel):
    """Logits (N, K, H, W) and, in training, a side output of half the size."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        channels = sum(modality.channels for modality in spec.modalities)
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.last = nn.Conv2d(8, spec.logit_channels, 3, padding=1)
        self.side = nn.Conv2d(8, spec.logit_channels, 1)

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor | list[torch.Tensor]]:
        hidden = torch.relu(self.first(torch.cat(inputs, dim=1)))
        logits = self.last(hidden)
        if not self.training:
            return {"logits": logits}
        return {"logits": logits, "aux": [self.side(F.avg_pool2d(hidden, 2))]}


@dataclass(frozen=True)
class ClassesConfig:
    """No settings but the size."""

    size_hw: tuple[int, int] = SIZE_HW


def spec_of(classes: tuple[ClassSpec, ...] = CLASSES, task: str = "rgbt") -> ModelSpec:
    return ModelSpec(NAME, SYSTEM, task, MODALITIES[task], classes, SIZE_HW)  # type: ignore


def classes_module(classes: tuple[ClassSpec, ...] = CLASSES) -> DeploymentModule:
    """Return one with decided, seeded weights: every class wins somewhere."""
    torch.manual_seed(3)
    network = ClassesNet(spec_of(classes))
    with torch.no_grad():
        network.last.weight *= 6
    return DeploymentModule(network)


def _resolve(name: str, settings: ClassesConfig) -> tuple[ModelSpec, ClassesConfig]:
    height, width = settings.size_hw
    spec = ModelSpec(
        NAME,
        SYSTEM,
        "rgbt",
        MODALITIES["rgbt"],
        CLASSES,
        (height, width),
        config=plain(settings),
    )
    return spec, settings


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let ``create_model`` know the network; returns its name."""
    module = ModuleType(f"differseg.models.{SYSTEM}")
    module.build = lambda spec, config: ClassesNet(spec)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    info = ModelInfo(NAME, SYSTEM, "rgbt", "for tests", ("rgb", "thermal"), SIZE_HW, 1, 0.0)
    system = System(SYSTEM, ClassesConfig, (info,), _resolve)
    monkeypatch.setattr(registry, "SYSTEMS", (*registry.SYSTEMS, system))
    monkeypatch.setitem(registry._MODELS, NAME, (system, info))
    return NAME
