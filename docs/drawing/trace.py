"""A network's blocks and what flows between them, found by running it without memory.

The network runs on PyTorch's meta device, where tensors have shapes and no values.  Blocks are its
top-level modules; one that takes or gives several maps, such as an encoder or a decoder, is opened
and its own modules are the blocks.  Every operation between blocks passes on which blocks its
operands came from, so edges are those of the code and not of names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from differseg.models.base import SegmentationModel
from differseg.models.registry import create_model

OUTPUT = "logits"


@dataclass
class Block:
    """A box of the picture.

    Attributes:
        name: Path of the module in the network, or the name of an input or output.
        kind: Its class; "" for inputs and outputs.
        params: Number of parameters.
        shapes: (C, H, W) of every map that it gives, each once, in order.
        shared: Whether it is a later run of a block whose parameters are counted there.
        count: Blocks of a list that are drawn as this one.
        training_only: Whether it runs in training alone.
    """

    name: str
    kind: str = ""
    params: int = 0
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    shared: bool = False
    count: int = 1
    training_only: bool = False


@dataclass(frozen=True)
class Architecture:
    """Blocks in the order of their first run, and pairs (from, to) of their names."""

    model: str
    size_hw: tuple[int, int]
    params: int
    blocks: tuple[Block, ...]
    edges: frozenset[tuple[str, str]]


def trace_architecture(name: str, closed: Sequence[str] = (), **config: Any) -> Architecture:
    """Find the blocks of a network and their connections at its own input size.

    Args:
        name: As for :func:`differseg.create_model`.
        closed: Top-level modules to show as one block whatever they take and give.
        **config: Settings that differ.

    Returns:
        The blocks of a pass in eval mode, then the side outputs that only run in training.

    Raises:
        InputError: Unknown name or setting.
        MissingComponentError: A package that the network needs is absent.
    """
    with torch.device("meta"):
        model = create_model(name, **config)
    opened = _opened(model) - set(closed)
    blocks, edges = _run(model.eval(), opened)
    # Two images: batch statistics of a single pixel exist then.
    more, more_edges = _run(model.train(), opened, batch=2)
    side: list[tuple[Block, set[str]]] = []
    inner = {source for source, _ in more_edges}
    for key in [key for key in more if key not in blocks and key not in inner]:
        sources = {source for source, target in more_edges if target == key}
        if sources <= blocks.keys():
            more[key].training_only = True
            side.append((more[key], sources))
    for block, sources in side:
        blocks[block.name] = block
        edges |= {(source, block.name) for source in sources}
    blocks, edges = _chains_joined(blocks, edges)
    return Architecture(
        model=model.spec.name,
        size_hw=model.spec.size_hw,
        params=sum(p.numel() for p in model.parameters()),
        blocks=tuple(blocks.values()),
        edges=frozenset(edges),
    )


def _opened(model: SegmentationModel) -> set[str]:
    """Return the top-level modules that take or give several maps, or whose parts run alone."""
    several: set[str] = set()
    called: set[str] = set()
    handles = []
    for path, module in model.named_modules():
        if not path:
            continue

        def look(_: nn.Module, args: Any, output: Any, path: str = path) -> None:
            called.add(path)
            if any(_is_several(value) for value in (*args, output)):
                several.add(path)

        handles.append(module.register_forward_hook(look))
    with torch.no_grad():
        model.eval()(*_inputs(model, 1))
    for handle in handles:
        handle.remove()
    run_in_parts = {path.partition(".")[0] for path in called} - called
    return {key for key, part in model.named_children() if list(part.children())} & (
        several | run_in_parts
    )


def _is_several(value: Any) -> bool:
    """Whether an argument or a result holds more than one tensor."""
    return sum(isinstance(leaf, Tensor) for leaf in tree_leaves(value)) > 1


def _inputs(model: SegmentationModel, batch: int) -> list[Tensor]:
    spec = model.spec
    return [torch.empty(batch, m.channels, *spec.size_hw, device="meta") for m in spec.modalities]


def _units(model: nn.Module, opened: set[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that become blocks, with their paths."""
    for key, module in model.named_children():
        if key in opened or isinstance(module, nn.ModuleList):
            yield from _flat(key, module)
        elif _is_block(module):
            yield key, module


def _flat(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module's blocks; lists, which never run, are walked through."""
    for key, child in module.named_children():
        path = f"{prefix}.{key}"
        if isinstance(child, nn.ModuleList):
            yield from _flat(path, child)
        elif _is_block(child):
            yield path, child


def _is_block(module: nn.Module) -> bool:
    """Whether a module has weights, or is of this package and computes something without them."""
    own = type(module).__module__.startswith("differseg.")
    return own or any(True for _ in module.parameters())


class _Origins(TorchDispatchMode):
    """Knows of every tensor which blocks it came from, through all operations between blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0  # blocks that are running
        self._of: dict[int, frozenset[str]] = {}
        self._alive: list[Tensor] = []  # an id is unique among the living

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if self.depth == 0:
            self.mark(output, self.of((args, kwargs)))
        return output

    def of(self, values: Any) -> frozenset[str]:
        """Return the blocks behind all tensors in a structure."""
        leaves = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return frozenset().union(*(self._of.get(id(leaf), frozenset()) for leaf in leaves))

    def mark(self, values: Any, origins: frozenset[str]) -> None:
        """Say where all tensors in a structure come from."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._alive.append(leaf)
                self._of[id(leaf)] = origins


def _run(
    model: SegmentationModel, opened: set[str], batch: int = 1
) -> tuple[dict[str, Block], set[tuple[str, str]]]:
    """Run once; returns the blocks by name, in order, and the edges."""
    origins, edges = _Origins(), set[tuple[str, str]]()
    blocks: dict[str, Block] = {}
    handles = []

    runs: dict[str, int] = {}
    running: list[Block] = []  # a block may hold another one

    def enter(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        runs[path] = runs.get(path, 0) + 1
        name = path if runs[path] == 1 else f"{path} ({runs[path]})"
        params = sum(p.numel() for p in module.parameters())
        block = Block(name, type(module).__name__, params, shared=runs[path] > 1)
        if origins.depth == 0:
            blocks[name] = block
            edges.update((source, name) for source in origins.of((args, kwargs)))
        running.append(block)
        origins.depth += 1

    def leave(output: Any) -> None:
        block = running.pop()
        origins.depth -= 1
        if origins.depth == 0:
            origins.mark(output, frozenset({block.name}))
            _add_shapes(block, output)

    for path, module in _units(model, opened):
        before = module.register_forward_pre_hook(
            lambda m, args, kwargs, path=path: enter(path, m, args, kwargs), with_kwargs=True
        )
        handles += [before, module.register_forward_hook(lambda _, args, out: leave(out))]
    inputs = _inputs(model, batch)
    for modality, x in zip(model.spec.modalities, inputs, strict=True):
        blocks[modality.name] = Block(modality.name)
        _add_shapes(blocks[modality.name], x)
        origins.mark(x, frozenset({modality.name}))
    with torch.no_grad(), origins:
        logits = model(*inputs)["logits"]
    for handle in handles:
        handle.remove()
    blocks[OUTPUT] = Block(OUTPUT)
    _add_shapes(blocks[OUTPUT], logits)
    edges.update((source, OUTPUT) for source in origins.of(logits))
    return blocks, edges


def _chains_joined(
    blocks: dict[str, Block], edges: set[tuple[str, str]]
) -> tuple[dict[str, Block], set[tuple[str, str]]]:
    """Draw neighbours in a list as one block, where nothing enters or leaves between them."""
    into: dict[str, str] = {}  # block -> the first one of its chain
    for name, block in blocks.items():
        sources = [a for a, b in edges if b == name]
        if len(sources) != 1 or [b for a, b in edges if a == sources[0]] != [name]:
            continue
        before = blocks[sources[0]]
        stem, _, number = name.rpartition(".")
        alike = (before.kind, before.shapes) == (block.kind, block.shapes)
        if alike and number.isdigit() and sources[0] == f"{stem}.{int(number) - 1}":
            into[name] = into.get(sources[0], sources[0])
    joined = {name: block for name, block in blocks.items() if name not in into}
    for name, first in into.items():
        joined[first].params += blocks[name].params
        joined[first].count += 1
    moved = {(into.get(a, a), into.get(b, b)) for a, b in edges}
    return joined, {(a, b) for a, b in moved if a != b}


def _add_shapes(block: Block, values: Any) -> None:
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor) and leaf.ndim == 4:
            shape = tuple(leaf.shape[1:])
            if shape not in block.shapes:
                block.shapes.append(shape)


def stride_of(shape: tuple[int, ...], size_hw: tuple[int, int]) -> int:
    """Return the power of two by which a map (C, H, W) is smaller than the input."""
    return 2 ** max(0, round(math.log2(size_hw[0] / max(1, shape[1]))))
