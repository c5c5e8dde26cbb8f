"""Lets ``import timm`` work beside a CPU build of torch and a CUDA build of torchvision.

The package registry holds torchvision as a CUDA build only.  Beside a CPU torch its compiled
library does not load, its operators are never declared, and importing it (which timm does) fails
with "operator torchvision::nms does not exist".  The tests call none of these operators, so
declaring their names is enough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_FORWARD = ("nms", "qnms", "qroi_align", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool")
_BACKWARD = ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
# The library object must outlive the tests: operators vanish with it.
_DECLARED: list[object] = []


def declare_missing_operators() -> bool:
    """Declare torchvision's operators when its own library cannot; say whether that was needed."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _DECLARED:
        return bool(_DECLARED)
    import torch

    # Newer releases call their library _C_stable.so; loading both names twice would abort.
    compiled = next(iter(sorted(Path(spec.origin).parent.glob("_C*.so"))), None)
    if compiled is None:
        return False
    try:
        torch.ops.load_library(str(compiled))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        names = (*_FORWARD, "deform_conv2d", *(f"_{name}_backward" for name in _BACKWARD))
        for name in names:
            library.define(f"{name}(Tensor unused) -> Tensor")
        _DECLARED.append(library)
    return bool(_DECLARED)
