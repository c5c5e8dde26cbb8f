"""Training with the rounding of an int8 file: the network learns around what int8 takes away.

Whatever the file reads as int8 is rounded to its codes on the way forward, with the file's scale;
a weight by the scale of its present numbers.  Backward the rounding passes gradients as they are,
and none where a number lies beyond the last code (Jacob et al., arXiv 1712.05877).

A batch normalisation behind a convolution needs no folding for it: it multiplies whole output
channels, each of which has a scale of its own, so the codes are the same but for their sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from differseg.errors import DifferSegError, InputError
from differseg.models.base import SegmentationModel
from differseg.training.exported_names import ExportedNames

if TYPE_CHECKING:
    from differseg.training.qdq_file import QdqFile, SumCall

_LEVELS = 127
_KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_IN_PLACE = {Tensor.add_, Tensor.__iadd__}
_ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *_IN_PLACE}


class FakeQuantization:
    """A network's forward with the rounding of an int8 file.

    Only calls of this object round; the network itself, its parameters and what is saved of it stay
    as they are.

    Args:
        model: The network that the file was exported from, with any weights.
        file: What to round.

    Attributes:
        kernels: How many convolutions and products are rounded.
        sums: How many operands of sums are.
        skipped: What the file rounds and this does not, each with the reason.

    Raises:
        InputError: The file is of another network, or of other classes.
    """

    def __init__(self, model: SegmentationModel, file: QdqFile) -> None:
        _check_fit(model, file)
        self._model, self._levels = model, file.levels
        self._paths = {part: path for path, part in model.named_modules()}
        self._names = ExportedNames(model)
        self._taken_in = frozenset(self._names.norms.values())
        self._before: dict[str, Tensor] = {}  # what these normalisations read
        self._inside: list[str] = []
        self._calls: Counter[str] = Counter()
        self._additions: Counter[str] = Counter()
        self._active = False
        self._inputs: dict[str, tuple[float | None, ...]] = {}
        self._axes: dict[str, int | None] = {}  # of output channels; None where there is one scale
        self._sums: dict[str, tuple[SumCall, ...]] = {}
        for part in self._paths:
            part.register_forward_pre_hook(self._enter)
            part.register_forward_hook(self._leave, always_call=True)
        made, added = self._count()
        self.skipped = (*self._plan_kernels(file, made), *self._plan_sums(file, added))
        self.kernels = sum(scale is not None for s in self._inputs.values() for scale in s)
        self.sums = sum(
            scale is not None for calls in self._sums.values() for c in calls for scale in c.scales
        )

    def __call__(self, *inputs: Tensor) -> dict[str, Any]:
        """Run the network on normalised inputs, in the mode that it is in."""
        rounded = {}
        for path, axis in self._axes.items():
            weight = self._model.get_parameter(f"{path}.weight")
            rounded[f"{path}.weight"] = self._rounded_weight(path, weight, axis)
        return self._run(lambda: functional_call(self._model, rounded, inputs))

    def _run(self, forward: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._calls.clear()
        self._additions.clear()
        self._active = True
        try:
            with _Additions(self._add):
                return forward()
        finally:
            self._active = False
            self._inside.clear()
            self._before.clear()

    def _count(self) -> tuple[Counter[str], Counter[str]]:
        """Return how often one image calls every module, and how many sums each makes."""
        spec, was_training = self._model.spec, self._model.training
        device = next(self._model.parameters()).device
        inputs = [
            torch.zeros(1, part.channels, *spec.size_hw, device=device) for part in spec.modalities
        ]
        self._model.eval()
        with torch.no_grad():
            self._run(lambda: self._model(*inputs))
        self._model.train(was_training)
        return self._calls.copy(), self._additions.copy()

    def _plan_kernels(self, file: QdqFile, made: Counter[str]) -> list[str]:
        modules, skipped = {path: part for part, path in self._paths.items()}, []
        for exported, calls in file.kernels.items():
            if all(call.scale is None for call in calls):
                continue
            path = self._names.in_training(exported)
            part, count = modules.get(path), made[path]
            if not isinstance(part, _KINDS):
                kind = "no module" if part is None else f"a {type(part).__name__}"
                skipped.append(f"{calls[0].node}: {kind}, which is not rounded")
            elif count != len(calls):
                skipped.append(f"{calls[0].node}: called {count} times, {len(calls)} in the file")
            else:
                self._inputs[path] = tuple(call.scale for call in calls)
                axis = 1 if isinstance(part, nn.ConvTranspose2d) else 0
                self._axes[path] = axis if calls[0].per_channel else None
        return skipped

    def _plan_sums(self, file: QdqFile, added: Counter[str]) -> list[str]:
        skipped = []
        for exported, calls in file.sums.items():
            if all(call.scales == (None, None) for call in calls):
                continue
            path = self._names.in_training(exported)
            if added[path] == len(calls):
                self._sums[path] = calls
            else:
                skipped.append(f"{calls[0].node}: {added[path]} sums, {len(calls)} in the file")
        return skipped

    def _rounded_weight(self, path: str, weight: Tensor, axis: int | None) -> Tensor:
        """Round a weight; with the normalisation before it inside where the file has it there."""
        factor = self._folded_factor(path)
        if factor is None:
            return round_weight(weight, axis, self._levels)
        return round_weight(weight * factor, axis, self._levels) / factor

    def _folded_factor(self, path: str) -> Tensor | None:
        """Return what the normalisation that a convolution takes in multiplies by: (C, 1, 1)."""
        before = self._names.norms.get(path)
        if before is None:
            return None
        norm = self._model.get_submodule(before)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        return torch.where(factor == 0, 1, factor)[:, None, None]

    def _enter(self, part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Note the module, and round what a kernel reads."""
        if not self._active:
            return None
        path = self._paths[part]
        self._inside.append(path)
        call, self._calls[path] = self._calls[path], self._calls[path] + 1
        if path in self._taken_in:
            self._before[path] = args[0]
        scales = self._inputs.get(path)
        if scales is None:
            return None
        if len(scales) > 1 and call >= len(scales):
            raise DifferSegError(
                f"train: --qat: '{path}' is called more than the {len(scales)} times of the file"
            )
        scale = scales[min(call, len(scales) - 1)]
        if scale is None:
            return None
        factor = self._folded_factor(path)
        if factor is None:
            return (_rounded(args[0], scale), *args[1:])
        before = self._before.pop(self._names.norms[path])  # which the file's node reads
        return (args[0] + factor * (_rounded(before, scale) - before), *args[1:])

    def _leave(self, part: nn.Module, args: object, output: object) -> None:
        if self._active and self._inside:
            self._inside.pop()

    def _add(self, operation: Callable[..., Any], first: Tensor, second: Tensor) -> Any:
        """Count a sum of the module at work, and round its operands."""
        path = self._inside[-1] if self._inside else ""
        call, self._additions[path] = self._additions[path], self._additions[path] + 1
        calls = self._sums.get(path)
        if calls is None or call >= len(calls):
            return operation(first, second)
        before, after = calls[call].scales
        if before is not None:
            rounded = _rounded(first, before)
            if call == 0 and path in self._names.shortcuts:
                wide = self._names.shortcuts[path]() * first
                rounded = first + _rounded(wide, before) - wide
            first = first.copy_(rounded) if operation in _IN_PLACE else rounded
        return operation(first, second if after is None else _rounded(second, after))


class _Additions(TorchFunctionMode):
    """Hands every sum of two computed tensors of one shape to a function."""

    def __init__(self, add: Callable[..., Any]) -> None:
        super().__init__()
        self._added = add

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _ADDITIONS and len(args) == 2 and not kwargs and _computed(*args):
            return self._added(func, *args)
        return func(*args, **(kwargs or {}))


def _computed(first: object, second: object) -> bool:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    if isinstance(first, nn.Parameter) or isinstance(second, nn.Parameter):
        return False
    return first.shape == second.shape and first.is_floating_point()


def round_weight(weight: Tensor, axis: int | None, levels: int) -> Tensor:
    """Round a weight to int8 codes of its present numbers and back.

    Args:
        weight: Of a convolution or product.
        axis: Of its output channels, each of which has a scale; None for one scale.
        levels: Largest code.
    """
    numbers = weight.float()
    sizes = numbers.detach().abs()
    tiny = torch.finfo(torch.float32).tiny
    if axis is None:
        scale = max(float(sizes.max()) / levels, tiny)
        rounded = torch.fake_quantize_per_tensor_affine(numbers, scale, 0, -levels, levels)
    else:
        scales = (sizes.amax([i for i in range(weight.ndim) if i != axis]) / levels).clamp_min(tiny)
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        rounded = torch.fake_quantize_per_channel_affine(
            numbers, scales, zeros, axis, -levels, levels
        )
    return rounded.to(weight.dtype)


def _rounded(numbers: Tensor, scale: float) -> Tensor:
    """Round to codes of -127..127 and back; of the same type."""
    rounded = torch.fake_quantize_per_tensor_affine(numbers.float(), scale, 0, -_LEVELS, _LEVELS)
    return rounded.to(numbers.dtype)


def _check_fit(model: SegmentationModel, file: QdqFile) -> None:
    spec, manifest = model.spec, file.manifest
    if manifest.model != spec.name:
        raise InputError(f"--qat {file.path}: is of {manifest.model}; --model is {spec.name}")
    theirs = [known.name for known in manifest.classes]
    ours = [known.name for known in spec.classes]
    if theirs != ours:
        raise InputError(
            f"--qat {file.path}: finds {', '.join(theirs)}; this run learns {', '.join(ours)}"
        )
