"""What every network here is: a module with a spec that takes one tensor per modality."""

from __future__ import annotations

from torch import Tensor, nn

from differseg.errors import InputError
from differseg.models.spec import ModelSpec

Output = dict[str, Tensor | list[Tensor]]
"""``logits`` and, in training mode, ``aux``."""


class SegmentationModel(nn.Module):
    """A network with a contract.

    ``forward`` takes normalised float tensors (N, C, H, W), one per modality and in the order of
    ``spec.modalities``: call it as ``model(*tensors)``.  It returns ``{"logits": (N, K, H, W)}``
    with K = ``spec.logit_channels`` (1 of a binary network) and, in training mode, the side
    outputs ``"aux"``, a list of such logits; those of more than two classes may be smaller.

    Attributes:
        spec: Inputs, classes, size and configuration.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec


def checked_inputs(spec: ModelSpec, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
    """Check number, channels and sizes of a network's inputs; returns those present as a list.

    Sizes that are not plain integers (dynamic shapes under ``torch.export``) are not checked.

    Raises:
        InputError: Names the network, the input, what was got and what was expected.
    """
    streams = counted_inputs(spec, rgb, second)
    for modality, x in zip(spec.modalities, streams, strict=True):
        where, shape = f"{spec.name}: input '{modality.name}'", tuple(x.shape)
        if x.ndim != 4 or _differs(x.shape[1], modality.channels):
            raise InputError(f"{where}: expected (N, {modality.channels}, H, W), got {shape}")
        if not x.is_floating_point():
            raise InputError(
                f"{where}: expected normalised floating point, got {x.dtype}; raw frames go to "
                "differseg.models.deployment.DeploymentModule"
            )
        if any(isinstance(side, int) and side % spec.multiple for side in x.shape[2:]):
            raise InputError(
                f"{where}: height and width must be multiples of {spec.multiple}, got "
                f"{shape[2]}x{shape[3]}; resize the image first"
            )
        if any(_differs(x.shape[axis], rgb.shape[axis]) for axis in (0, 2, 3)):
            raise InputError(
                f"{where}: expected the batch and size of 'rgb' {tuple(rgb.shape)}, got {shape}"
            )
    return streams


def counted_inputs(spec: ModelSpec, rgb: Tensor, second: Tensor | None) -> list[Tensor]:
    """Return the inputs as a list of one for each modality.

    Raises:
        InputError: One is missing or left over.
    """
    streams = [rgb] if second is None else [rgb, second]
    names = [modality.name for modality in spec.modalities]
    if len(streams) != len(names):
        raise InputError(
            f"{spec.name}: expected {len(names)} input(s), got {len(streams)}; call the network "
            f"as model({', '.join(names)})"
        )
    return streams


def _differs(got: int, expected: int) -> bool:
    """Compare two sizes where both are plain integers."""
    return isinstance(got, int) and isinstance(expected, int) and got != expected
