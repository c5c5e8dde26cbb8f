"""The runtime must start on a device that has no torch, onnx or timm."""

from __future__ import annotations

import subprocess
import sys

WALK = """
import importlib, pkgutil, sys
import differseg.runtime
names = ["differseg.runtime"]
for module in pkgutil.walk_packages(differseg.runtime.__path__, "differseg.runtime."):
    importlib.import_module(module.name)
    names.append(module.name)
from differseg.runtime import Registration, Result, Segmenter, ThermalMapper
heavy = sorted({"torch", "onnx", "timm", "torchvision", "onnxscript"} & set(sys.modules))
print(len(names), *heavy)
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_module_of_the_runtime_loads_torch_onnx_or_timm() -> None:
    count, *heavy = run(WALK)
    assert int(count) > 10
    assert heavy == []


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = (
        "import sys, differseg.runtime; "
        "print(*({'numpy', 'cv2', 'onnxruntime', 'rich'} & set(sys.modules)))"
    )
    assert run(code) == []
