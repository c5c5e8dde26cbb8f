"""PyTorch to ONNX and the proof: export, checks against each target, parity and its report.

The names below load on first use, so that importing this package loads no torch and no onnx::

    differseg.export.export_onnx(module, {"image": tensor}, "model.onnx")
    differseg.export.check("model.onnx", "jetpack6", real=True)
    differseg.export.parity("weights.safetensors", "model.onnx")
    differseg.export.divergence("model.onnx", "model.int8.onnx")
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from differseg.export.check import check
    from differseg.export.divergence import divergence
    from differseg.export.exporter import export_onnx
    from differseg.export.lowering.registry import register_lowering
    from differseg.export.parity import parity

__all__ = ["check", "divergence", "export_onnx", "parity", "register_lowering"]

_LAZY = {
    "check": "differseg.export.check",
    "divergence": "differseg.export.divergence",
    "export_onnx": "differseg.export.exporter",
    "parity": "differseg.export.parity",
    "register_lowering": "differseg.export.lowering.registry",
}


def __getattr__(name: str) -> Any:
    """Load a public function from its module when it is first asked for."""
    if name in _LAZY:
        from differseg.extras import naming_the_extra  # here: rtx_worker imports this package

        with naming_the_extra(f"differseg.export.{name}"):
            function = getattr(import_module(_LAZY[name]), name)
        globals()[name] = function
        return function
    raise AttributeError(f"module 'differseg.export' has no attribute {name!r}")


class _Package(ModuleType):
    """This package: a submodule does not take the place of the function that it is named after.

    Python sets a package's attribute when a submodule is imported; without this,
    ``differseg.export.check`` would be the function or the module by the order of imports.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
