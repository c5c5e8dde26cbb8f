"""Put the fake modules where ``import`` finds them, and take them away again.

with fake_tensorrt("10.3", sm=(8, 7), integrated=True, binding="cuda-python") as bed:
    ...                                   # import tensorrt; from cuda.bindings import runtime
bed.world.deserialisations, bed.machine.faults, bed.errors()
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from typing import Any, Literal

from contract.device import Device
from contract.fake_cuda_python import cuda_python_modules
from contract.fake_pycuda import AutoInit, pycuda_modules
from contract.fake_tensorrt.generations import BY_NAME
from contract.fake_tensorrt.module import tensorrt_module
from contract.fake_tensorrt.registry import registering_on_load
from contract.fake_tensorrt.world import World
from contract.machine import Machine

Binding = Literal["cuda-python", "cuda-python-old", "pycuda", "both"]
_OURS = ("tensorrt", "tensorrt_rtx", "cuda", "pycuda")


@dataclass
class Bed:
    """The test-bed while it is installed, and afterwards for looking at what happened.

    Attributes:
        world: State of the ``tensorrt`` module: counters, messages, plans built.
        machine: The device: memory, streams, faults, launches.
        tensorrt: The module.
    """

    world: World
    machine: Machine
    tensorrt: types.ModuleType

    def errors(self) -> list[str]:
        """What TensorRT logged as error."""
        return self.world.errors()


def make_device(sm: tuple[int, int], integrated: bool, runtime: int, **changes: Any) -> Device:
    """A device that fits: Orin for 8.7, Thor for 11.0, a graphics card otherwise."""
    name = {(8, 7): "Orin", (11, 0): "NVIDIA Thor"}.get(sm, f"NVIDIA GeForce sm_{sm[0]}{sm[1]}")
    plain = Device(name=name, sm=sm, integrated=integrated, runtime=runtime, driver=runtime)
    return replace(plain, **changes)


@contextmanager
def fake_tensorrt(
    generation: str = "10.3",
    *,
    sm: tuple[int, int] = (8, 7),
    integrated: bool = True,
    binding: Binding | None = "cuda-python",
    cuda: int | None = None,
    has_device: bool = True,
    dla_cores: int = 0,
    module: str = "tensorrt",
    version: str | None = None,
    **device: Any,
) -> Iterator[Bed]:
    """Install the fakes.

    Args:
        generation: ``8.5``, ``8.6``, ``10.3``, ``10.16`` or ``11.4``.
        sm: Compute capability of the device.
        integrated: Whether it shares memory with the processor.
        binding: Python binding of CUDA that is installed; None for none.  ``cuda-python-old`` has
            ``cuda.cudart`` only, ``cuda-python`` ``cuda.bindings``; ``both`` is that and pycuda.
        cuda: CUDA runtime, ``1000 * major + 10 * minor``; None takes the release's.
        has_device: False for a computer without a usable device.
        dla_cores: Deep-learning accelerators.
        module: Name under which TensorRT is installed.
        version: ``__version__``; None takes the release's.
        device: More attributes of :class:`~contract.device.Device`, such as ``memory_bytes``.

    Yields:
        The bed.
    """
    release = BY_NAME[generation]
    if version is not None:
        release = replace(release, version=version)
    runtime = cuda or (
        11080 if binding == "cuda-python-old" and generation == "8.6" else release.cuda
    )
    machine = Machine(make_device(sm, integrated, runtime, **device) if has_device else None)
    world = World(release, machine, dla_cores=dla_cores)
    fake = tensorrt_module(world, module)
    modules: dict[str, types.ModuleType] = {module: fake}
    if binding in ("cuda-python", "cuda-python-old", "both"):
        modules |= cuda_python_modules(machine, old=binding == "cuda-python-old")
    if binding in ("pycuda", "both"):
        modules |= pycuda_modules(machine)
    with installed(modules), registering_on_load(world):
        yield Bed(world, machine, fake)


@contextmanager
def installed(modules: dict[str, types.ModuleType]) -> Iterator[None]:
    """Let ``import`` find these and no other module of the same packages."""
    kept = {name: sys.modules[name] for name in list(sys.modules) if _ours(name)}
    for name in kept:
        del sys.modules[name]
    finder = AutoInit(modules["pycuda.driver"]) if "pycuda.driver" in modules else None
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None, is_package=hasattr(module, "__path__"))
    blocked = {name: None for name in _OURS if name not in modules}
    sys.modules.update(modules | blocked)  # None: import raises ModuleNotFoundError
    if finder is not None:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder is not None:
            sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(kept)


def _ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS
