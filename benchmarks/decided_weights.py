"""Random weights whose masks are neither empty nor full, for networks without published weights.

    python benchmarks/decided_weights.py --model differseg-rgbt --data DIR --out F.safetensors

Batch statistics are those of the images, layer scales that start near zero are enlarged, and the
convolution that gives the logits is scaled and shifted so that each class's logits over the images
have standard deviation 1.  About one pixel in twenty is foreground or, of more than two classes,
of another class than the first, each of them about as often.  So masks look like those of small
objects, and a comparison of two engines has outlines to disagree about.  Every threshold lies in
the widest gap of the logits that is near: random weights put pixels so close to any other place
that the rounding of float32 decides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from differseg.checkpoints import save_checkpoint
from differseg.errors import CheckFailedError, InputError
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity_data import load_samples
from differseg.manifest import WeightsRecord
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.options import option, parse, run_main

LOGIT_STD = 1.0
"""Spread of the logits: the middle two thirds of the probabilities lie between 0.27 and 0.73."""

LAYER_SCALE = 0.1
"""What layer scales that start near zero become: otherwise a trunk's blocks would not be seen."""

FOREGROUND = 0.05
"""Share of the pixels that are foreground, or of another class than the first, by default."""

_NEARBY = 0.02
"""How far from that share the gap may lie."""

_NEAR_ZERO = 0.02
_STEPS = 10  # one, where what follows the convolution does not look at the logits
_KEPT = 0.25  # of a gap that what follows the convolution leaves
_SCALES = ("layer_scale", "gamma", "grn.weight")
_BRANCH_NORM = ".bn3.weight"
Batches = Sequence[tuple[Tensor, ...]]


@dataclass(frozen=True)
class DecidedOptions:
    """Write random weights whose masks are neither empty nor full."""

    out: Path = option(metavar="F.safetensors")
    """The file to write."""
    data: Path | None = option(None, metavar="DIR")
    """Folder with rgb/ and, by the network's task, thermal/, depth/ or flow/; synthetic scenes
    where it is left out."""
    model: str = option("differseg-rgbt", metavar="NAME")
    """Configuration, see 'differseg models'."""
    images: int = 4
    """Images to take the statistics from."""
    foreground: float = FOREGROUND
    """Share of the pixels that are foreground, or of another class than the first."""
    gap: bool = True
    """Put the threshold into the widest gap nearby; otherwise where the share is exact."""
    seed: int = 0
    """Seed of the random weights."""

    def __post_init__(self) -> None:
        if not _NEARBY < self.foreground < 1 - _NEARBY:
            raise InputError(f"--foreground {self.foreground}: expected {_NEARBY} to {1 - _NEARBY}")


def decided_network(
    name: str,
    data: Path | None,
    images: int,
    *,
    foreground: float = FOREGROUND,
    gap: bool = True,
    seed: int = 0,
) -> SegmentationModel:
    """Return a network with such weights.

    Args:
        name: A named configuration.
        data: Folder of images; None takes synthetic scenes.
        images: How many of them.
        foreground: See :class:`DecidedOptions`.
        gap: Likewise.
        seed: Of the random weights.
    """
    torch.manual_seed(seed)
    model = create_model(name)
    manifest = build_manifest(model.spec, model.spec.size_hw, weights=WeightsRecord("random"))
    classes = model.spec.classes
    samples = load_samples(manifest.inputs, data, images, label_rule="none", classes=classes)
    raw = [tuple(map(torch.from_numpy, sample.arrays.values())) for sample in samples]
    decide(model, raw, foreground, gap)
    return model


def decide(model: SegmentationModel, batches: Batches, foreground: float, gap: bool) -> None:
    """Set batch statistics, layer scales and the logits' convolution of ``model``, in place.

    Args:
        model: Its logits come from one convolution, after which maps are resampled or smoothed.
        batches: Positional inputs of :class:`DeploymentModule`, one image each.
        foreground: See :class:`DecidedOptions`.
        gap: Likewise.

    Raises:
        CheckFailedError: The logits are not what was asked for: they come from elsewhere.
    """
    enlarge_layer_scales(model)
    _measure_batch_statistics(model, batches)
    wanted, placed = 0.0, False
    find = partial(_threshold, nearby=_NEARBY if gap else 0.0)
    for _ in range(_STEPS):
        names: list[str] = []
        values = _logits(model, batches, names)
        spread = values.std(1)
        even = 0.9 * LOGIT_STD < float(spread.mean()) < 1.1 * LOGIT_STD
        if even and placed and _distance(values) >= _KEPT * wanted:
            return
        shift, gain = torch.zeros_like(spread), torch.ones_like(spread)
        if even and placed:  # what looks at the logits has moved them, a little
            offset = _offsets(values, partial(_nearest_gap, half=wanted))
        else:
            shift, gain = -values.median(1).values, LOGIT_STD / spread
            values = (values + shift[:, None]) * gain[:, None]
            offset = _offsets(values, find, foreground)
            wanted = _distance(values + offset[:, None]) if gap else 0.0
            placed = True
        _rescale(model, names[-1], gain, shift, offset)
        _measure_batch_statistics(model, batches)  # of what follows and looks at the logits
    raise CheckFailedError(
        f"{model.spec.name}: after {_STEPS} steps at {names[-1]} the logits have a standard "
        f"deviation of {float(spread.mean()):.2f}, expected {LOGIT_STD}, and come as near as "
        f"{_distance(values):.1e} to a threshold, expected {wanted:.1e}; they come from elsewhere"
    )


def _margins(values: Tensor) -> Iterator[Tensor]:
    """Yield, class after class, by how much (pixels,) it exceeds the best of those before it.

    Where no margin is near zero, the largest logit of no pixel is near the second largest.
    """
    best = torch.zeros_like(values[0]) if len(values) == 1 else values[0]
    for row in values if len(values) == 1 else values[1:]:
        yield row - best
        best = torch.maximum(best, row)


def _distance(values: Tensor) -> float:
    """Return how near any logit (K, pixels) comes to deciding otherwise."""
    return min(float(margins.abs().min()) for margins in _margins(values))


def _offsets(
    values: Tensor, find: Callable[[Tensor, float], Tensor], foreground: float = FOREGROUND
) -> Tensor:
    """Return what to add to the logits (K, pixels); (K,).

    Args:
        values: The logits.
        find: From the margins of a class, and the share that it shall have, to its threshold.
        foreground: Share of all classes but the first.
    """
    values = values.clone()
    first = 0 if len(values) == 1 else 1
    share = foreground / (len(values) - first)
    offset = torch.zeros(len(values))
    # A margin is read when it is asked for: by then the classes before it have been moved.
    for number, margins in enumerate(_margins(values), start=first):
        offset[number] = -find(margins, share)
        values[number] += offset[number]
    return offset


def _nearest_gap(margins: Tensor, share: float, half: float) -> Tensor:
    """Return the middle of the gap nearest to 0 that leaves so much on both sides."""
    ordered = margins.double().sort().values
    middles = (ordered[1:] + ordered[:-1]) / 2
    wide = middles[ordered.diff() >= 2 * _KEPT * half]
    return wide[wide.abs().argmin()].to(margins.dtype)


def _threshold(margins: Tensor, share: float, nearby: float) -> Tensor:
    """Return the middle of the widest gap of the margins (pixels,) that so many exceed.

    Args:
        margins: Any order.
        share: Of the pixels that exceed it.
        nearby: How far from that share the gap may lie, at most two fifths of the share.
    """
    ordered = margins.double().sort().values
    last, nearby = len(ordered) - 2, min(nearby, 0.4 * share)
    low, high = (round((1 - share + side * nearby) * last) for side in (-1, 1))
    low, high = max(0, min(low, last)), max(0, min(high, last))
    widest = low + int(ordered[low : high + 2].diff().argmax())
    return ordered[widest : widest + 2].mean().to(margins.dtype)


def _rescale(
    model: SegmentationModel, name: str, gain: Tensor, shift: Tensor, offset: Tensor
) -> None:
    """Let the convolution of this name give ``(logits + shift) * gain + offset``; all (K,)."""
    last = model.get_submodule(name)
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    side_by_side = last.out_channels // model.spec.logit_channels
    gain, shift, offset = (x.repeat_interleave(side_by_side) for x in (gain, shift, offset))
    with torch.no_grad():
        last.weight.mul_(gain.view(-1, 1, 1, 1))
        last.bias.copy_((last.bias + shift) * gain + offset)


def enlarge_layer_scales(model: nn.Module) -> None:
    """Set every layer scale that starts near zero to ``LAYER_SCALE``, in place.

    So too what the last normalisation of a ResNet's branch multiplies by.  Training starts it at 0
    (Goyal et al., arXiv 1706.02677); at 1 a random ResNet turns rounding into another picture.
    """
    with torch.no_grad():
        for name, value in model.named_parameters():
            starts = any(part in name for part in _SCALES) and value.abs().max() <= _NEAR_ZERO
            if starts or name.endswith(_BRANCH_NORM):
                value.fill_(LAYER_SCALE)


def _measure_batch_statistics(model: SegmentationModel, batches: Batches) -> None:
    """Let every normalisation take the mean over the images of what it is given."""
    taken: dict[nn.Module, int] = {}

    def measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].transpose(0, 1).flatten(1)
        if x.shape[1] == 1:  # one value a channel has no variance
            return
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        taken[norm] = taken.get(norm, 0) + 1
        norm.running_mean.lerp_(x.mean(1), 1 / taken[norm])
        norm.running_var.lerp_(x.var(1), 1 / taken[norm])

    _run(model, batches, nn.BatchNorm2d, lambda name: measure)


def _logits(model: SegmentationModel, batches: Batches, names: list[str]) -> Tensor:
    """Return the logits of all pixels, (K, pixels); the last of ``names`` is what gave them."""
    channels = model.spec.logit_channels
    logits: list[Tensor] = []

    def note(name: str, conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        # Of two classes, several logits a pixel may come side by side as channels.
        fits = conv.out_channels == channels or (channels == 1 and conv.out_channels == 16)
        if fits and conv.bias is not None:
            names.append(name)

    for output in _run(model, batches, nn.Conv2d, lambda name: partial(note, name)):
        logits.append(output.transpose(0, 1).flatten(1))
    return torch.cat(logits, 1)


def _run(
    model: SegmentationModel,
    batches: Batches,
    kind: type[nn.Module],
    watch: Callable[[str], Callable[[nn.Module, tuple[Tensor, ...]], None]],
) -> list[Tensor]:
    """Run every image; ``watch`` of a part's name is called before each part of this kind.

    Returns:
        The logits of each image.
    """
    deployed = DeploymentModule(model)
    logits: list[Tensor] = []
    deployed.model.register_forward_hook(lambda *call: logits.append(call[2]["logits"]))
    for name, part in deployed.model.named_modules():
        if isinstance(part, kind):
            part.register_forward_pre_hook(watch(name))
    with torch.inference_mode():
        for raw in track(batches, "running the images", transient=True):
            deployed(*raw)
    buffers = dict(deployed.model.named_buffers())
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return logits


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(DecidedOptions, argv, "decided_weights")
    model = decided_network(
        options.model,
        options.data,
        options.images,
        foreground=options.foreground,
        gap=options.gap,
        seed=options.seed,
    )
    save_checkpoint(options.out, model, extra={"trained_on": "nothing; random weights, decided"})
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
