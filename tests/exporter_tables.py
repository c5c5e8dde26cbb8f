"""PyTorch's table of exportable operators, built once a process instead of once an export.

Building it takes more than half of the time of a small network's export, and hundreds of tests
export one.  An export adds its own operators to the table, so each one gets a copy.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest


def keep_exporter_tables(patch: pytest.MonkeyPatch) -> None:
    """Let the exporter copy its table; where PyTorch has it elsewhere, all stays as it is."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        build = ONNXRegistry.from_torchlib
    except (ImportError, AttributeError):
        return
    built = functools.cache(build)

    def copied(cls: type[Any], *arguments: Any, **options: Any) -> Any:
        table = copy.copy(built(*arguments, **options))
        table.functions = {target: list(found) for target, found in table.functions.items()}
        return table

    patch.setattr(ONNXRegistry, "from_torchlib", classmethod(copied))
