"""The TensorRT plugins without a GPU: on the emulated kernels, called as TensorRT calls them.

``cuda_emulation/plugin_calls.cpp`` takes a plugin the way that an engine takes it, from creation to
``enqueue``. Needs TensorRT's headers, which ``TENSORRT_ROOT`` names, and skips without it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import emulated_kernels as kernels
import numpy as np
import pytest
from plugin_fields import Fields

_SHARED = ("plugin_base", "attributes", "messages")
_CREATORS = {
    "fourier": ("rfft2", "irfft2"),
    "wavelet": ("dwt2", "idwt2"),
    "reassembly": ("reassemble",),
    "similarity": ("local_similarity",),
}


class _Shape(ctypes.Structure):
    _fields_ = (("extents", ctypes.c_int64 * 5), ("axes", ctypes.c_int32))


@functools.cache
def _library(stem: str) -> ctypes.CDLL:
    """Compile the plugins of one ``.cu`` and link them with its emulation."""
    root = os.environ.get("TENSORRT_ROOT")
    if not root:
        pytest.skip("plugins: set TENSORRT_ROOT to a folder with TensorRT's include/")
    emulated = Path(kernels.library(stem)._name)
    names = (*_SHARED, *(f"{name}_plugin" for name in _CREATORS[stem]))
    sources = [kernels.PLUGINS / f"{name}.cpp" for name in names]
    out = emulated.with_name(f"libplugins_{stem}.so")
    calls = kernels.OPS / "cuda_emulation" / "plugin_calls.cpp"
    flags = ["-O0", "-fPIC", "-shared", "-isystem", str(Path(root, "include"))]
    kernels.compile_sources([*sources, calls], out, *flags, libraries=[emulated])
    library = ctypes.CDLL(str(out))
    library.makePlugin.restype = ctypes.c_void_p
    library.supports.restype = ctypes.c_bool
    return library


def _shapes(shapes: Sequence[Sequence[int]]) -> ctypes.Array[_Shape]:
    whole = (_Shape * len(shapes))()
    for one, shape in zip(whole, shapes, strict=True):
        one.axes, one.extents[: len(shape)] = len(shape), shape
    return whole


class Plugin:
    """One plugin as an engine's context holds it."""

    def __init__(self, name: str, **attributes: Any) -> None:
        (stem,) = (stem for stem, names in _CREATORS.items() if name in names)
        self._library = _library(stem)
        camel = name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:])
        creator = self._library[f"_ZN9differseg{len(camel) + 7}{camel}CreatorEv"]
        creator.restype = ctypes.c_void_p
        fields = Fields.of(attributes)
        address = self._library.makePlugin(
            ctypes.c_void_p(creator()), ctypes.c_void_p(fields.address)
        )
        assert address, f"{name} refuses {attributes}"
        self._plugin = ctypes.c_void_p(address)

    def __del__(self) -> None:
        if hasattr(self, "_plugin"):
            self._library.deletePlugin(self._plugin)

    def configure(self, least: Sequence[Sequence[int]], most: Sequence[Sequence[int]]) -> bool:
        """Return whether it takes a profile: the smallest and the largest shape of each input."""
        bounds = _shapes(least), _shapes(most)
        return self._library.configure(self._plugin, 0, *bounds, len(least)) == 0

    def supports(self, position: int, first_type: int, type_: int, format_: int = 0) -> bool:
        """Return whether the tensor at a position may have this type and format."""
        return bool(self._library.supports(self._plugin, position, first_type, type_, format_))

    def status(self, *inputs: np.ndarray, out: np.ndarray) -> int:
        """Run it; returns 0 or why it does not."""
        addresses = (ctypes.c_void_p * len(inputs))(*(x.ctypes.data for x in inputs))
        return int(
            self._library.run(
                self._plugin, kernels.dtype_code(inputs[0]), _shapes([x.shape for x in inputs]),
                len(inputs), addresses, _shapes([out.shape]), ctypes.c_void_p(out.ctypes.data),
            )
        )  # fmt: skip

    def agrees(self, expected: np.ndarray, *inputs: np.ndarray) -> bool:
        """Return whether it writes the same as the kernel did, to the bit."""
        out = kernels.output(*expected.shape, dtype=expected.dtype)
        assert self.status(*inputs, out=out) == 0
        return out.tobytes() == expected.tobytes()
