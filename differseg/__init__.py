"""differseg: frequency-aware, multimodal segmentation from PyTorch to a camera on an edge GPU.

What lives here: the PyTorch side (:mod:`differseg.models`, :mod:`differseg.modules`,
:mod:`differseg.backbones`, :mod:`differseg.data`, training and evaluation) and two light modules
that everything shares, :mod:`differseg.manifest` and :mod:`differseg.errors`.  Beside it stand
:mod:`differseg.export` (PyTorch to ONNX, checks and parity), :mod:`differseg.calibration` and
:mod:`differseg.runtime` (what runs on the device).

Importing this package loads no torch, onnx, cv2 or tensorrt; the names below load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from differseg import calibration, export, runtime
    from differseg.models import create_model, list_models

__version__ = "0.1.0"
__all__ = ["__version__", "calibration", "create_model", "export", "list_models", "runtime"]

_LAZY = {"create_model": "differseg.models", "list_models": "differseg.models"}
_PACKAGES = ("calibration", "export", "runtime")


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first asked for."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _PACKAGES:
        return import_module(f"differseg.{name}")
    raise AttributeError(f"module 'differseg' has no attribute {name!r}")
