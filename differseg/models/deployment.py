"""The exact module that is exported: raw camera frames in, probability out, always in eval mode.

PyTorch's side of parity, evaluation and validation runs this module too, so that all of them
judge the same arithmetic as the exported file.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.models.base import SegmentationModel, counted_inputs
from differseg.models.spec import ModelSpec


class Normalize(nn.Module):
    """Apply each modality's mean and standard deviation per channel.

    Computed as one multiply and one add, ``x * (1 / std) + (-mean / std)``.

    Args:
        spec: Whose ``modalities`` give the names, means and standard deviations.
        from_bytes: Three-channel modalities come in 0..255 instead of 0..1.

    Shapes: a dict from modality name to ``(N, C, H, W)`` float in 0..1, to a dict with the same
    keys and shapes; keys that ``spec`` does not know are left out.
    """

    def __init__(self, spec: ModelSpec, *, from_bytes: bool = False) -> None:
        super().__init__()
        self.names = tuple(modality.name for modality in spec.modalities)
        for modality in spec.modalities:
            mean, std = (
                torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
                for values in (modality.mean, modality.std)
            )
            full_range = 255.0 if from_bytes and modality.channels == 3 else 1.0
            scale, offset = (1 / (full_range * std)).float(), (-mean / std).float()
            self.register_buffer(f"{modality.name}_scale", scale, persistent=False)
            self.register_buffer(f"{modality.name}_offset", offset, persistent=False)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Normalise every known modality of ``inputs``."""
        return {
            name: inputs[name] * getattr(self, f"{name}_scale") + getattr(self, f"{name}_offset")
            for name in self.names
            if name in inputs
        }


class DeploymentModule(nn.Module):
    """A network with its input normalisation and output head.

    Holds a copy of the network in eval mode without gradients and stays in eval mode: the
    caller's network keeps its own state, and calling ``train()`` here changes nothing.

    Args:
        model: A network with ``spec``.

    Inputs, positional, in the order of ``spec.modalities``: rgb and flow (N, H, W, 3) uint8,
    0..255, in RGB order; thermal and depth (N, 1, H, W) float32 in 0..1.
    Output, float32 in 0..1: of a binary network the probability of its foreground (N, 1, H, W);
    of a network with K > 2 classes the probability of each, (N, K, H, W), which sum to 1.
    """

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.spec = model.spec
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.normalize = Normalize(self.spec, from_bytes=True)
        self.train(False)

    def train(self, mode: bool = True) -> DeploymentModule:
        """Stay in eval mode whatever ``mode`` says."""
        super().train(False)
        return self

    def forward(self, rgb: Tensor, second: Tensor | None = None) -> Tensor:
        """Return the probability (N, 1, H, W) or (N, K, H, W) of raw inputs, see the class.

        Raises:
            InputError: A modality is missing or left over, another type of numbers, or the
                network's logits are not what its classes ask for.
        """
        raw = counted_inputs(self.spec, rgb, second)
        planes = {}
        for modality, x in zip(self.spec.modalities, raw, strict=True):
            image = modality.channels == 3
            # Types are known while tracing, so the check stands in no graph.
            if x.dtype != (torch.uint8 if image else torch.float32):
                expected = "uint8 in 0..255" if image else "float32 in 0..1"
                raise InputError(
                    f"{self.spec.name}: input '{modality.name}': expected {expected}, got "
                    f"{str(x.dtype).removeprefix('torch.')}; give it as raw_inputs_example() does"
                )
            planes[modality.name] = _planes(x) if image else x
        return probability_of(self.spec, self.model(*self.normalize(planes).values())["logits"])

    def raw_inputs_example(
        self, size_hw: tuple[int, int] | None = None, batch: int = 1
    ) -> dict[str, Tensor]:
        """Return raw inputs of the right shapes and types by modality name, in call order.

        Args:
            size_hw: Height and width in pixels; the spec's own size when None.
            batch: N.

        Returns:
            Seeded noise over the full value range; ``module(*example.values())`` runs.
        """
        generator = torch.Generator().manual_seed(0)
        height, width = size_hw or self.spec.size_hw
        example: dict[str, Tensor] = {}
        for modality in self.spec.modalities:
            if modality.channels == 3:
                shape = (batch, height, width, 3)
                x = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            else:
                x = torch.rand((batch, 1, height, width), generator=generator)
            example[modality.name] = x
        return example


def probability_of(spec: ModelSpec, logits: Tensor) -> Tensor:
    """Turn a network's logits into probability: the output head of every form of a network.

    Args:
        spec: Whose classes say which head it is.
        logits: (N, 1, H, W) of a binary network, else (N, K, H, W).

    Returns:
        The sigmoid, or the softmax over the classes; same shape and type.

    Raises:
        InputError: Another number of channels.
    """
    if logits.shape[1] != spec.logit_channels:
        raise InputError(
            f"{spec.name}: logits: expected {spec.logit_channels} channel(s) for "
            f"{len(spec.classes)} classes, got {tuple(logits.shape)}; name the classes in its spec"
        )
    return torch.sigmoid(logits) if spec.binary else torch.softmax(logits, dim=1)


def _planes(image: Tensor) -> Tensor:
    """Bring (N, H, W, 3) uint8 to (N, 3, H, W) float32, still in 0..255."""
    return image.permute(0, 3, 1, 2).to(torch.float32)


def lowered_for_export(module: nn.Module, size_hw: tuple[int, int]) -> nn.Module:
    """Return a copy for export at one size: every part that knows a better form takes it.

    A submodule with ``for_export(size_hw) -> nn.Module`` is replaced by what that returns (for
    example a channel FFT folded into a linear layer, or a position embedding resized once).
    Children are lowered before their parents.

    Args:
        module: Any module; it is not changed.
        size_hw: Height and width of the network's input in pixels.

    Returns:
        The copy, in eval mode, without gradients.
    """
    lowered = _lower(copy.deepcopy(module), size_hw)
    return lowered.eval().requires_grad_(False)


def _lower(module: nn.Module, size_hw: tuple[int, int]) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _lower(child, size_hw))
    for_export = getattr(module, "for_export", None)
    return module if for_export is None else for_export(size_hw)
