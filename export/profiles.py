"""Sizes of a dynamic graph's inputs: what ``--shapes`` says, else a range that suits most."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import onnx

from differseg.errors import InputError
from differseg.export.graph_view import Shape, shape_of

Shapes = Mapping[str, Sequence[int]]
"""Input name -> its shape, or the numbers in it where the graph takes a shape from it."""

BATCH = (1, 1, 4)
"""Least, usual and largest size of a free first axis."""
SIDE = (256, 256, 512)
"""The same for every other free axis: height and width, pixels."""

_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
_SPELLING = "expected NAME:1x3x240x320"


def read_shapes(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read shapes as trtexec spells them: ``x:1x3x240x320``, several with commas between.

    Raises:
        InputError: A text that is no such shape.
    """
    shapes = {}
    for text in (part for given in texts for part in given.split(",")):
        match = re.fullmatch(r"(.+)[:=](-?\d+(?:x-?\d+)*)", text)
        if match is None:
            raise InputError(f"--shapes {text}: {_SPELLING}")
        shapes[match[1]] = [int(extent) for extent in match[2].split("x")]
    return shapes


def choose_profiles(model: onnx.ModelProto, shapes: Shapes) -> dict[str, list[list[int]]]:
    """Return min, opt and max shapes of the dynamic inputs.

    A given shape stands for all three.  Axes of one name have one size.

    Args:
        model: The graph.
        shapes: As :data:`Shapes`; those that hold numbers of an input are left out.

    Raises:
        InputError: A shape of an input that is not there, or that does not go with its axes.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {info.name: info for info in model.graph.input if info.name not in constants}
    for name in shapes:
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, n=1) or list(inputs)
            raise InputError(f"--shapes {name}: there is no such input; did you mean '{near[0]}'?")
    sizes: dict[str, tuple[int, int, int]] = {}
    profiles = {}
    for name, info in inputs.items():
        axes, kind = shape_of(info), info.type.tensor_type
        free = any(isinstance(extent, str) for extent in axes)
        if name in shapes:
            extents = list(shapes[name])
            if len(axes) < 2 and not free and kind.elem_type in _INTEGERS:
                continue  # these are its numbers
            if kind.HasField("shape") and not _suits(extents, axes):
                raise InputError(
                    f"--shapes {name}:{_text(extents)}: the input has the axes "
                    f"{_text(axes)}; {_SPELLING} of these"
                )
            profiles[name] = [extents] * 3
        elif free:
            profiles[name] = _guess(axes, sizes)
    return profiles


def _suits(extents: Sequence[int], axes: Shape) -> bool:
    return len(extents) == len(axes) and all(
        axis == extent or (isinstance(axis, str) and extent >= 0)
        for extent, axis in zip(extents, axes, strict=True)
    )


def _guess(axes: Shape, sizes: dict[str, tuple[int, int, int]]) -> list[list[int]]:
    """Return three shapes; ``sizes`` keeps what the named axes were given."""
    ranges = []
    for place, extent in enumerate(axes):
        if not isinstance(extent, str):
            ranges.append((extent,) * 3)
        elif extent == "?":
            ranges.append(SIDE if place else BATCH)
        else:
            ranges.append(sizes.setdefault(extent, SIDE if place else BATCH))
    return [list(shape) for shape in zip(*ranges, strict=True)]


def _text(shape: Sequence[int | str]) -> str:
    return "x".join(map(str, shape))
