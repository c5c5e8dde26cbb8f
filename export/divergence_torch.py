"""The results of a network's modules in PyTorch, by the paths that a graph's nodes carry.

The network runs as it is exported (:func:`differseg.models.deployment.lowered_for_export`), so that
its modules are those that the nodes are named after.  Batch normalisation is folded into the layer
before it on export (:mod:`differseg.export.batchnorm`): that layer is compared by what comes out of
its batch normalisation.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from differseg.export.divergence_match import ModuleTensor
from differseg.models.deployment import lowered_for_export

if TYPE_CHECKING:
    from differseg.export.divergence_run import Infer
    from differseg.models.deployment import DeploymentModule

_WRAPPER = "model."
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class TorchLayers:
    """A network whose modules' results can be asked for by path.

    Args:
        module: As it is exported; a copy is lowered for the size and run.
        size_hw: Height and width of its input in pixels.
        inputs: Names of its inputs, in the order of its arguments.
    """

    def __init__(
        self, module: DeploymentModule, size_hw: tuple[int, int], inputs: Sequence[str]
    ) -> None:
        self._module = lowered_for_export(module, size_hw)
        self._inputs = tuple(inputs)
        self._device = next(iter(self._module.state_dict().values())).device
        self._paths = {
            path.removeprefix(_WRAPPER): part for path, part in self._module.named_modules()
        }
        self._normed: dict[str, str] = {}  # a layer -> the batch normalisation behind it

    def modules(self, feed: Mapping[str, npt.NDArray[Any]]) -> list[ModuleTensor]:
        """Run once and return the modules that give one float tensor, in the order of the calls."""
        shapes: dict[str, tuple[int, ...]] = {}
        calls: dict[str, int] = {}
        made: dict[str, weakref.ref[Tensor]] = {}

        def note(path: str, part: nn.Module, args: Any, result: Any) -> None:
            if not isinstance(result, Tensor) or not result.is_floating_point():
                return
            calls[path] = calls.get(path, 0) + 1
            shapes[path] = tuple(result.shape)
            if isinstance(part, _NORMS):
                for layer, output in made.items():
                    if output() is args[0] and layer not in self._normed:
                        self._normed[layer] = path
            made[path] = weakref.ref(result)

        with self._hooked(note, self._paths):
            self._run(feed)
        found = [ModuleTensor(path, shapes[path], calls[path]) for path in calls]
        return [module for module in found if not isinstance(self._paths[module.path], _NORMS)]

    @contextlib.contextmanager
    def opened(self, names: Sequence[str]) -> Iterator[Infer]:
        """Get ready to give these modules' results; a name of an input gives the input."""
        wanted: dict[str, list[str]] = {}
        for name in names:
            wanted.setdefault(self._normed.get(name, name), []).append(name)

        def infer(feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
            found = {name: np.asarray(feed[name]) for name in names if name in feed}

            def keep(path: str, part: nn.Module, args: Any, result: Tensor) -> None:
                values = result.detach().cpu().numpy().copy()  # the next module may write to it
                found.update(dict.fromkeys(wanted[path], values))

            with self._hooked(keep, [path for path in wanted if path in self._paths]):
                self._run(feed)
            return found

        yield infer

    @contextlib.contextmanager
    def _hooked(self, hook: Any, paths: Any) -> Iterator[None]:
        handles = [
            self._paths[path].register_forward_hook(
                lambda part, args, result, path=path: hook(path, part, args, result)
            )
            for path in paths
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _run(self, feed: Mapping[str, npt.NDArray[Any]]) -> None:
        tensors = [torch.from_numpy(feed[name]).to(self._device) for name in self._inputs]
        with torch.inference_mode():
            self._module(*tensors)
